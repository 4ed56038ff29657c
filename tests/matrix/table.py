"""The truth table in streamproof's README: what edges do with a stream, from the verdicts of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamproof.verdict import Verdict

from tests.matrix.cases import LINES, Line

# The verdicts of each run of each case, by the case's name and the question.
Results = dict[str, list[dict[str, Verdict]]]

README = Path(__file__).parents[2] / "scripts" / "streamproof" / "README.md"
_START, _END = "<!-- truth table: made by make test-full -->\n", "<!-- end of truth table -->\n"
_HEAD = ("edge", "to the app", "app's body", "lag of 384 bytes", "lag of 16 KiB", "absorbed in a stall", "cut noticed")
# What a cell holds where no run could tell.
UNTOLD = "?"
_BODIES = {"chunked": "chunked", "length": "Content-Length", "close": "until close"}


def rendered(readme: str, results: Results) -> str:
    """Return the README with the table as it was measured."""
    before, rest = readme.split(_START)
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(line, results) for line in LINES)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return before + _START + table + _END + rest.split(_END)[1]


def _row(line: Line, results: Results) -> tuple[str, ...]:
    def cell(stream: str, say: Callable[[dict[str, Verdict]], str]) -> str:
        # Where runs differ, that is to be seen; those that could not tell are counted elsewhere.
        said = {say(verdicts) for verdicts in results[line.case(stream)]}
        return " or ".join(sorted(said - {UNTOLD} or {UNTOLD}))

    edge = line.edge.replace("proxy_buffering", "`proxy_buffering`")
    return (
        *(edge, f"HTTP/{line.version}", _BODIES[line.framing]),
        *(cell("small", _lag), cell("large", _lag), cell("fast", _absorbed), cell("cut", _noticed)),
    )


def _lag(verdicts: dict[str, Verdict]) -> str:
    timing = verdicts["timing"]
    if timing.result != "FAIL":
        return "0" if timing.result == "PASS" else UNTOLD
    return "all at the end" if timing.numbers["bursts"] == 1 else "in bursts of 4 KiB"


def _absorbed(verdicts: dict[str, Verdict]) -> str:
    outcome = verdicts["backpressure"].numbers.get("outcome")
    return {"absorb": "everything", "backpressure": "socket buffers"}.get(str(outcome), UNTOLD)


def _noticed(verdicts: dict[str, Verdict]) -> str:
    ends = verdicts["framing"].result, verdicts["completeness"].result
    return {("FAIL", "FAIL"): "yes", ("PASS", "FAIL"): "**no**, a valid end"}.get(ends, UNTOLD)
