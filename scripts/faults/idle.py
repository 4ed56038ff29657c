"""Streams that say nothing for a while: which of them reach their end, and when the others are cut."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cluster import run

from faults.raw import connected
from faults.target import BARE_HOST, HOST, READ_TIMEOUTS, Target

_HEARTBEAT = 15


@dataclass(frozen=True)
class Silence:
    """A stream of two events, and a pause between them.

    Attributes:
        pause: seconds between the events.
        heartbeat: seconds between two comments in the pause; 0 for none.
        read_timeout: seconds that the edge waits for a byte of this stream.
        whole: whether both events and the end came.
        lasted: seconds from the first byte to the end, whatever it was.
    """

    pause: int
    heartbeat: int
    read_timeout: int
    whole: bool
    lasted: float

    @property
    def as_expected(self) -> bool:
        """Whether it ended whole, or was cut when its edge's patience ended and no earlier, whichever was due."""
        survives = self.pause < self.read_timeout or 0 < self.heartbeat < self.read_timeout
        due = self.pause if survives else self.read_timeout
        return self.whole is survives and due - 1 <= self.lasted < due + 10


async def silences(target: Target, pauses: Sequence[int]) -> list[Silence]:
    """Have a stream for each pause, with a heartbeat and without, through each of the two Ingresses, all at a time."""
    run.say(f" • Streams with pauses of {', '.join(map(str, pauses))} s …")
    port = target.cluster.http_port
    cases = itertools.product(pauses, (_HEARTBEAT, 0), (HOST, BARE_HOST))
    streams = (silence(port, host, READ_TIMEOUTS[host], pause, each) for pause, each, host in cases)
    return list(await asyncio.gather(*streams))


async def silence(port: int, host: str, read_timeout: int, pause: int, heartbeat: int) -> Silence:
    """Read a stream with a pause to its end, whatever that is.

    Args:
        port: of the edge, on 127.0.0.1.
        host: the Ingress to ask.
        read_timeout: seconds that it waits for a byte.
        pause: seconds between the two events.
        heartbeat: seconds between two comments in the pause; 0 for none.
    """
    query = f"format=sse&rows=2&delay_ms={pause * 1000}&heartbeat_ms={heartbeat * 1000}"
    body, began = b"", 0.0
    async with connected(port, f"GET /measure?{query} HTTP/1.1\nHost: {host}\nConnection: close") as (reader, _):
        while part := await reader.read(1 << 16):
            began = began or time.monotonic()
            body += part
    whole = body.count(b"\nid: ") == 2 and body.endswith(b"\r\n0\r\n\r\n")
    return Silence(pause, heartbeat, read_timeout, whole, round(time.monotonic() - began, 1))


def as_json(found: Sequence[Silence]) -> list[dict[str, object]]:
    """Return all of it."""
    return [asdict(each) | {"as_expected": each.as_expected} for each in found]
