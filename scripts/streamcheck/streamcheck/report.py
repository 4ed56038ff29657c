"""Verdicts for people, as plain text, and for programs, as JSON."""

import json
import re
import textwrap
from collections.abc import Sequence

from streamcheck.judge import overall
from streamcheck.observation import Observation
from streamcheck.verdict import Verdict, count, ms, to_ms

_WIDTH = 100


def as_text(observation: Observation, verdicts: Sequence[Verdict]) -> str:
    """Write what came back, one paragraph a question, and what it comes to."""
    lines = [observation.url, *textwrap.wrap(_came_back(observation), _WIDTH), ""]
    for verdict in verdicts:
        start = f"{verdict.result:<12}  {verdict.question:<12}  "
        # A number stays on the same line as its unit.
        sentence = re.sub(r"(\d) (ms|s|KiB)\b", "\\1\0\\2", verdict.sentence)
        wrapped = textwrap.wrap(
            sentence, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
        )
        lines += [line.replace("\0", " ") for line in wrapped]
    lines += ["", f"verdict: {overall(verdicts)}"]
    return "\n".join(_printable(line) for line in lines)


def as_json(observation: Observation, verdicts: Sequence[Verdict]) -> str:
    """Write one JSON object: the verdicts with their numbers, and a summary of the observation."""
    ttfb = observation.ttfb
    return json.dumps(
        {
            "url": observation.url,
            "verdict": overall(verdicts),
            "verdicts": [
                {
                    "question": verdict.question,
                    "result": verdict.result,
                    "sentence": verdict.sentence,
                    "numbers": verdict.numbers,
                }
                for verdict in verdicts
            ],
            "observation": {
                "http_version": observation.http_version,
                "status": observation.status,
                "reason": observation.reason,
                "framing": observation.framing if observation.status is not None else None,
                "ended": observation.ended,
                "error": observation.error,
                "bytes": observation.byte_count,
                "rows": observation.row_count,
                "chunks": observation.chunk_count,
                "reads": observation.read_count,
                "sha256": observation.sha256,
                "ttfb_ms": None if ttfb is None else to_ms(ttfb),
                "duration_ms": to_ms(observation.duration),
            },
        },
        indent=2,
    )


def _came_back(observation: Observation) -> str:
    if observation.status is None:
        return f"no response, {ms(observation.duration)} in all"
    parts = [
        f"HTTP/{observation.http_version} {observation.status} {observation.reason}".rstrip(),
        observation.framing,
        count(observation.byte_count, "byte"),
        count(observation.row_count, "row"),
    ]
    if observation.ttfb is not None:
        parts.append(f"TTFB {ms(observation.ttfb)}")
    return ", ".join([*parts, f"{ms(observation.duration)} in all"])


def _printable(line: str) -> str:
    """Escape what a server may have put into a text to steer a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
