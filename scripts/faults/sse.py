"""A client of server-sent events that goes on where it was cut, as the HTML standard has a browser do it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h11
from cluster import run

from faults.events import KILL_WORKERS
from faults.target import HOST, Target

_SILENCE = 30.0


@dataclass
class Reader:
    """One client: the events that it has seen, and how often it was cut or refused.

    A browser would give up at 502 and 503, which the standard calls fatal; a client of one's own asks again.

    Attributes:
        port: of the edge, on 127.0.0.1.
        query: of the stream.
        seen: the ids in the order in which they came.
        cut: streams that broke off.
        refused: answers other than a stream.
        ended: whether a stream came to its end.
    """

    port: int
    query: str
    seen: list[int] = field(default_factory=list)
    cut: int = 0
    refused: int = 0
    ended: bool = False

    async def read(self, done: asyncio.Event) -> None:
        """Read, and come again after a second where it breaks off, until it is done."""
        while not (done.is_set() or self.ended):
            try:
                async for identity in self._events():
                    self.seen.append(identity)
                self.ended = True
            except _Refused:
                self.refused += 1
            except (OSError, TimeoutError, h11.RemoteProtocolError):
                self.cut += 1
            if not self.ended:
                await asyncio.sleep(1)

    async def _events(self) -> AsyncIterator[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = [("Host", HOST), ("Connection", "close")]
            if self.seen:
                headers.append(("Last-Event-ID", str(self.seen[-1])))
            target = f"/measure?format=sse&{self.query}"
            writer.write(connection.send(h11.Request(method="GET", target=target, headers=headers)) or b"")
            rest = b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    async with asyncio.timeout(_SILENCE):
                        connection.receive_data(await reader.read(1 << 16))
                elif isinstance(event, h11.Response) and event.status_code != 200:
                    raise _Refused
                elif isinstance(event, h11.Data):
                    # An event counts when its blank line is there: what breaks off before is no event.
                    *blocks, rest = (rest + bytes(event.data)).split(b"\n\n")
                    for block in blocks:
                        found = re.search(rb"^id: ([0-9]+)$", block, re.MULTILINE)
                        if found:
                            yield int(found[1])
                elif isinstance(event, h11.EndOfMessage):
                    return
        finally:
            writer.transport.abort()


class _Refused(Exception):
    """The answer is no stream."""


async def resume(target: Target, kills: int, readers: int) -> dict[str, int]:
    """Kill workers while clients read, and count what the clients lost or saw twice.

    Args:
        target: whose workers.
        kills: how many workers to kill in all, one a second in each pod.
        readers: how many clients.
    """
    done = asyncio.Event()
    clients = [Reader(target.cluster.http_port, "rows=9000&delay_ms=100&size=32") for _ in range(readers)]
    tasks = [asyncio.create_task(client.read(done)) for client in clients]
    pods = await asyncio.to_thread(target.names)
    each = [str(kills // len(pods) + (number < kills % len(pods))) for number in range(len(pods))]
    run.say(f" • {kills} workers killed while {readers} clients read events …")
    await asyncio.sleep(2)
    killed = await asyncio.gather(
        *(
            asyncio.to_thread(target.execute, pod, KILL_WORKERS, count, "1", timeout=kills * 2 + 60)
            for pod, count in zip(pods, each, strict=True)
        )
    )
    await asyncio.sleep(3)
    done.set()
    await asyncio.sleep(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "kills": sum(map(int, killed)),
        "clients": readers,
        "cuts": sum(client.cut for client in clients),
        "refused": sum(client.refused for client in clients),
        "events": sum(len(client.seen) for client in clients),
        "lost": sum(max(client.seen, default=0) - len(set(client.seen)) for client in clients),
        "twice": sum(len(client.seen) - len(set(client.seen)) for client in clients),
    }
