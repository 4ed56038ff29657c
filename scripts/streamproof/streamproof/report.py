"""Verdicts for people, as text for a terminal or a log, and for programs, as JSON."""

import dataclasses
import io
import json
import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from streamproof.backpressure import mib
from streamproof.diagnose import Diagnosis, Hop
from streamproof.judge import overall
from streamproof.observation import Observation
from streamproof.pace import pace, pace_line
from streamproof.timeline import Streams, Timeline, came_back, timeline, took
from streamproof.verdict import Number, Verdict, bounded, ms, printable, to_ms

# The forms of the JSON.
SCHEMA = "streamproof report 1"
DIAGNOSIS_SCHEMA = "streamproof diagnosis 1"
# Where the output is not a terminal: fixed, so that logs can be compared.
PLAIN_WIDTH = 100
_MAX_WIDTH = 120  # longer lines are hard to read
_MIN_WIDTH = 60
_LABEL_WIDTH = 10
_COLOURS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
# Stands for a space at which no line may break; server text cannot contain it, as it is not printable.
_GLUE = "\ue000"


def as_text(streams: Streams, verdicts: Sequence[Verdict], *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Write what came back and when, one paragraph a question, and what it comes to.

    Args:
        streams: what was looked at; the first one is what the URL was asked for.
        verdicts: about all of them.
        width: of the terminal, in columns.
        colour: add escape codes for colours.
    """
    width = min(max(width, _MIN_WIDTH), _MAX_WIDTH)
    parts: list[Text | Table] = [Text(printable(streams[0][1].url))]
    for name, observation in streams:
        parts.append(Text(_fixed(came_back(observation) if len(streams) == 1 else f"{name}: {came_back(observation)}")))
        parts.append(Text(_fixed(took(observation))))
        parts += [Text(_fixed(note)) for note in (pace_line(observation), *observation.notes) if note]
        lines = _draw(timeline(observation), width)
        parts += [Text(), *lines, Text()] if lines else [Text()]
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in (12, 12):
        table.add_column(width=column, no_wrap=True)
    table.add_column(overflow="fold")
    for verdict in verdicts:
        table.add_row(Text(verdict.result, _COLOURS[verdict.result]), verdict.question, Text(_fixed(verdict.sentence)))
    result = overall(verdicts)
    parts += [table, Text(), Text.assemble("verdict: ", (result, _COLOURS[result]))]
    return _printed(parts, width, colour)


def _printed(parts: Sequence[Text | Table], width: int, colour: bool) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        highlight=False,
    )
    console.print(Group(*parts), soft_wrap=False)
    return "\n".join(line.rstrip() for line in file.getvalue().replace(_GLUE, " ").splitlines())


def as_json(observations: Sequence[Observation], verdicts: Sequence[Verdict]) -> str:
    """Write one JSON object: the verdicts with their numbers, and a summary of each observation.

    Its form is that of report.schema.json. A new member leaves `SCHEMA` as it is; one that goes, or means something
    else, changes it.

    Args:
        observations: at least one; the first one's URL is what was asked for.
        verdicts: about all of them; none where no connection came about.
    """
    asked = next((one for one in observations if one.role != "baseline"), observations[0])
    report = {
        "schema": SCHEMA,
        "url": asked.url,
        "verdict": overall(verdicts),
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        "observations": [_summary(one) for one in observations],
    }
    return _as_json(report)


def _as_json(values: object) -> str:
    """Write JSON in which no text is longer than what is shown of one."""

    def bound(value: object) -> object:
        if isinstance(value, dict):
            return {name: bound(one) for name, one in value.items()}
        if isinstance(value, list):
            return [bound(one) for one in value]
        return bounded(value) if isinstance(value, str) else value

    return json.dumps(bound(values), indent=2)


def _summary(observation: Observation) -> dict[str, object]:
    ttfb, header_at = observation.ttfb, observation.header_at
    return {
        "role": observation.role,
        "url": observation.url,
        "protocol": observation.protocol,
        "http_version": observation.http_version,
        "status": observation.status,
        "reason": observation.reason,
        "content_type": observation.header("content-type"),
        "notes": list(observation.notes),
        "framing": observation.framing if observation.status is not None else None,
        "ended": observation.ended,
        "error": observation.error,
        "bytes": observation.byte_count,
        "rows": observation.row_count,
        "events": observation.event_count,
        "pace": pace([observation]),
        "chunks": observation.chunk_count,
        "reads": observation.read_count,
        "sha256": observation.sha256,
        "header_ms": None if header_at is None else to_ms(header_at - observation.request_sent_at),
        "ttfb_ms": None if ttfb is None else to_ms(ttfb),
        "duration_ms": to_ms(observation.duration),
    }


def diagnosis_as_text(
    title: str, hops: Sequence[Hop], diagnosis: Diagnosis, *, width: int = PLAIN_WIDTH, colour: bool = False
) -> str:
    """Write a line for each hop, why some were not measured, and what it comes to.

    Args:
        title: what was asked for.
        hops: in the order in which a stream passes them.
        diagnosis: of them.
        width: of the terminal, in columns.
        colour: add escape codes for colours.
    """
    width = min(max(width, _MIN_WIDTH), _MAX_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    for heading in ("hop", "measured"):
        table.add_column(heading, no_wrap=True)
    for heading in ("TTFB", "lag p50", "lag p99"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("absorbed", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    notes = [Text(_fixed(f"{hop.name}, {hop.means}: {hop.where}")) for hop in hops if hop.stream]
    for hop in hops:
        cells = [hop.name, hop.means if hop.stream else "not measured"]
        if hop.stream is not None:
            cells += ["-" if time is None else ms(time / 1000) for time in _times(hop)]
            result = overall(hop.verdicts())
            table.add_row(*map(Text, [*cells, _absorbed(hop)[1]]), Text(result, _COLOURS[result]))
        else:
            table.add_row(*map(Text, cells))
            notes.append(Text(_fixed(f"{hop.name} not measured: {hop.reason}")))
    if any(hop.means == "port-forward" and hop.stream for hop in hops):
        notes.append(Text("absorbed is inconclusive by port-forward: its tunnel buffers"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(diagnosis.result, _COLOURS[diagnosis.result]), Text(_fixed(diagnosis.sentence)))
    return _printed([Text(printable(title)), Text(), table, Text(), *notes, Text(), grid], width, colour)


def diagnosis_as_json(title: str, hops: Sequence[Hop], diagnosis: Diagnosis) -> str:
    """Write one JSON object, by report.schema.json too: what it comes to, and each hop with its verdicts."""
    found = []
    for hop in hops:
        ttfb, p50, p99 = _times(hop)
        held, absorbed = _absorbed(hop)
        verdicts = [*hop.verdicts(), *(hop.large.verdicts() if hop.large else [])]
        found.append(
            {
                "hop": hop.name,
                "where": hop.where,
                "means": hop.means,
                "verdict": overall(hop.verdicts()) if hop.stream else None,
                "reason": hop.reason,
                "ttfb_ms": ttfb,
                "lag_p50_ms": p50,
                "lag_p99_ms": p99,
                "absorbed": absorbed,
                "absorbed_bytes": held,
                "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
                "observations": [_summary(one) for run in (hop.stream, hop.large) if run for one in run.observations],
            }
        )
    first = next((index for index, hop in enumerate(hops) if hop is diagnosis.first), None)
    values = {
        "schema": DIAGNOSIS_SCHEMA,
        "asked": title,
        "verdict": diagnosis.result,
        "sentence": diagnosis.sentence,
        "first": first,
        "hops": found,
    }
    return _as_json(values)


def _times(hop: Hop) -> list[float | None]:
    """Return TTFB and the lags at 50 and 99 percent, in milliseconds, as far as there are any."""
    numbers = next((verdict.numbers for verdict in hop.verdicts() if verdict.question == "timing"), {})
    ttfb = hop.observation.ttfb if hop.observation else None
    # Against the pod there are too few events for more than the largest.
    lags = [numbers.get("lag_median_ms"), numbers.get("lag_p99_ms", numbers.get("lag_max_ms"))]
    return [None if ttfb is None else to_ms(ttfb), *(lag if isinstance(lag, float) else None for lag in lags)]


def _absorbed(hop: Hop) -> tuple[Number, str]:
    """Return how many bytes were taken in while the client stalled, where that can be told, and the same in words."""
    if hop.stream is None:
        return None, "-"
    if hop.means == "port-forward":
        return None, "inconclusive"
    if hop.large is None:
        return None, "not asked"
    (verdict,) = hop.large.verdicts()
    held = verdict.numbers.get("bytes_held")
    if verdict.result != "PASS" or not isinstance(held, int):
        return None, "inconclusive" if verdict.result == "INCONCLUSIVE" else "broke off"
    return held, f"{mib(held)}, {'then stopped' if verdict.numbers['outcome'] == 'backpressure' else 'did not stop'}"


def _fixed(sentence: str) -> str:
    """Make a sentence fit to print, with each number on the same line as its unit."""
    return re.sub(r"(\d) (ms|s|KiB)\b", rf"\1{_GLUE}\2", printable(sentence))


def _draw(line: Timeline, width: int) -> list[Text]:
    """Draw when rows were produced above when they arrived, or reads alone; nothing where nothing came."""
    if not line.arrived:
        return []
    columns = width - _LABEL_WIDTH - 1  # that one is for the mark of an end
    scale = (columns - 1) / line.span

    def column(time: float) -> int:
        return min(max(round(time * scale), 0), columns - 1)

    produced = [column(time) for time in line.produced]
    arrived = [column(time) for time in line.arrived]
    # A lag of less than half a column is no step to the next one.
    for index, (made, came) in enumerate(zip(line.produced, line.arrived, strict=False)):
        if abs(came - made) * scale < 0.5:
            arrived[index] = produced[index]
    drawn = []
    key: set[str] = set()
    for label, places, style in (("produced", produced, "dim"), ("arrived" if produced else "reads", arrived, "cyan")):
        if not places:
            continue
        counts = Counter(places)
        marks = [_mark(counts[place]) for place in range(columns)]
        if label != "produced" and line.end:
            # Where it broke off, or in the column after what came last.
            at = min(max(column(line.span), max(places) + 1), columns)
            marks = [*marks, " "][: at + 1]
            marks[at] = "x" if line.end == "cut off" else ">"
        key.update(marks)
        drawn.append(Text.assemble(label.ljust(_LABEL_WIDTH), ("".join(marks).rstrip(), style)))
        drawn[-1].highlight_regex("[x>]$", "bold red")
    words = [f"| a {line.unit}"]
    words += ["2-9 so many"] if key & set("23456789") else []
    words += ["# more"] if "#" in key else []
    words += [f"{mark} {line.end}" for mark in "x>" if mark in key]
    left, right = "0 ms", ms(line.span)
    middle = ", ".join(words)
    room = columns - len(left) - len(right)
    drawn.append(Text(" " * _LABEL_WIDTH + left + middle.center(room) + right, "dim"))
    return drawn


def _mark(number: int) -> str:
    if number < 2:
        return " |"[number]
    return str(number) if number < 10 else "#"
