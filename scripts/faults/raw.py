"""One request at a time, written by hand: what waits, and who closes, is the question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, head: str, limit: int = 1 << 16) -> AsyncIterator[Ends]:
    """Connect to the edge and send the head of a request, or what there is to be of it.

    Args:
        port: of the edge, on 127.0.0.1.
        head: lines of the request.
        limit: bytes of the answer that are taken in before they are asked for, half of it.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        writer.write("".join(f"{line}\r\n" for line in head.splitlines()).encode() + b"\r\n")
        await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


async def seconds_until_closed(reader: asyncio.StreamReader, patience: float) -> float:
    """Read all that comes, and return after how many seconds of nothing the other side has closed.

    Args:
        reader: of the connection.
        patience: seconds without a byte after which to give up, and to return these.
    """
    while True:
        since = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                if await reader.read(1 << 16):
                    continue
        except TimeoutError:
            return patience
        except ConnectionError:
            pass
        return time.monotonic() - since
