"""Observations as they would be recorded, without a server."""

from collections.abc import Iterable, Sequence
from typing import Any

from streamproof.events import splitter
from streamproof.observation import Event, Observation, Read, Row

SENT = 1_700_000_000.0


def recorded(rows: Sequence[Row] = (), **changes: Any) -> Observation:
    """Make an observation of a response that came whole, of rows; those that arrived together share a read."""
    sizes: dict[float, int] = {}
    for row in rows:
        sizes[row.arrived] = sizes.get(row.arrived, 0) + row.size
    times = sorted(sizes)
    reads = changes.get(
        "reads", [Read(time, sizes[time], time - before) for before, time in zip([SENT, *times], times, strict=False)]
    )
    values = {
        "url": "http://test/",
        "protocol": "HTTP/1.1",
        "timeout": 60,
        "max_bytes": 1 << 30,
        "started_at": SENT,
        "request_sent_at": SENT,
        "header_at": SENT,
        "http_version": "1.1",
        "status": 200,
        "reason": "OK",
        "headers": [],
        "byte_count": sum(read.size for read in reads),
        "sha256": "",
        "ended": "terminated",
        "ended_at": times[-1] if times else SENT,
        "reads": reads,
        "read_count": len(reads),
        "rows": list(rows),
        "row_count": len(rows),
    }
    return Observation(**(values | changes))


def came(
    writes: Iterable[tuple[float, bytes]], content_type: str | None = "text/event-stream", **changes: Any
) -> Observation:
    """Make an observation of bytes by the seconds after the request at which they arrived, a read each."""
    one = splitter(content_type)
    reads, events = [], []
    before = 0.0
    for at, data in writes:
        events += [Event(SENT + at, *event) for event in (one.feed(data) if one else ())]
        reads.append(Read(SENT + at, len(data), at - before, one.unfinished if one else 0))
        before = at
    headers = [] if content_type is None else [("Content-Type", content_type)]
    values = {"headers": headers, "reads": reads, "ended_at": SENT + before + 0.001}
    values |= {"events": events, "event_count": len(events)}
    return recorded(**(values | changes))
