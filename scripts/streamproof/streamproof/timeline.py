"""What there is to draw of a stream, in the terminal and on the page. Pure, like the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streamproof.observation import Observation
from streamproof.promise import Promise, parse_promise
from streamproof.timing import judge_timing
from streamproof.verdict import count, ms

# What was looked at, each stream with a name for people.
Streams = Sequence[tuple[str, Observation]]


@dataclass(frozen=True)
class Timeline:
    """When parts of a stream were produced and when they arrived, in seconds after the request on the client's clock.

    Attributes:
        unit: what is drawn: rows where lag can be told, else reads that brought some of the body.
        produced: for each row; empty for reads.
        arrived: for each row or read.
        heights: for each row its number, for each read how many bytes of the body had arrived with it.
        count: number of all rows, of which only the first ones may have been kept, or of reads kept.
        due: how many rows, or bytes, there should be; None where nothing says so.
        span: until the end was known, or the last thing drawn.
        end: how it ended, in words, unless that was a proper end.
    """

    unit: Literal["row", "read"]
    produced: list[float]
    arrived: list[float]
    heights: list[int]
    count: int
    due: int | None
    span: float
    end: Literal["", "cut off", "still running"]


def timeline(observation: Observation) -> Timeline:
    """Take from an observation what is to be drawn of it."""
    start = observation.request_sent_at
    offset_ms = judge_timing(observation).numbers.get("offset_used_ms")
    produced: list[float] = []
    heights: list[int] = []
    if isinstance(offset_ms, float):
        timed = [(number, row) for number, row in enumerate(observation.rows, 1) if row.produced is not None]
        produced = [(row.produced or 0.0) - offset_ms / 1000 - start for _, row in timed]
        arrived = [row.arrived - start for _, row in timed]
        heights = [number for number, _ in timed]
    else:
        arrived = []
        total = 0
        for read in observation.reads:
            total += read.size
            if read.size:
                arrived.append(read.at - start)
                heights.append(total)
    end: Literal["", "cut off", "still running"] = ""
    if observation.ended in ("truncated", "protocol_error"):
        end = "cut off"
    elif observation.running:
        end = "still running"
    return Timeline(
        unit="row" if produced else "read",
        produced=produced,
        arrived=arrived,
        heights=heights,
        count=observation.row_count if produced else len(arrived),
        due=_due(observation, rows=bool(produced)),
        span=max([observation.duration, *produced, *arrived, 1e-6]),
        end=end,
    )


def _due(observation: Observation, *, rows: bool) -> int | None:
    try:
        promise = parse_promise(observation.headers) or Promise()
    except ValueError:
        promise = Promise()
    if rows:
        return promise.rows
    sizes = [size for size in (promise.bytes, observation.expected.bytes) if size is not None]
    return max(sizes, default=None)


def came_back(observation: Observation) -> str:
    """Say in a line what came back."""
    if observation.status is None:
        return "no response"
    kind = (observation.header("content-type") or "").split(";")[0].strip()
    parts = [
        f"HTTP/{observation.http_version} {observation.status} {observation.reason}".rstrip(),
        *([kind] if kind else []),
        observation.framing,
        count(observation.byte_count, "byte"),
        count(observation.units[1], observation.units[0]),
    ]
    return ", ".join(parts)


def took(observation: Observation) -> str:
    """Say in a line when it came."""
    parts = []
    if observation.header_at is not None:
        parts.append(f"header {ms(observation.header_at - observation.request_sent_at)}")
    if observation.ttfb is not None:
        parts.append(f"TTFB {ms(observation.ttfb)}")
    return ", ".join([*parts, f"{ms(observation.duration)} in all"])
