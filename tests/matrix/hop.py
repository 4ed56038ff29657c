"""A hop with a fault that the real ones here cannot be given: `python hop.py PORT UPSTREAM_PORT`.

By the query's `hop`: delay, each byte 0.6 s later; timer, what has come is passed on once a second; behind, an event is
passed on when the next one comes. It asks over HTTP/1.0, so that the body is what follows the header.
"""

import asyncio
import contextlib
import sys
from urllib.parse import parse_qs, urlsplit

_DELAY = 0.6
_TICK = 1.0


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        request = await reader.readuntil(b"\r\n\r\n")
        mode = parse_qs(urlsplit(request.split(b" ")[1].decode("ascii")).query)["hop"][0]
        body, out = await asyncio.open_connection("127.0.0.1", upstream)
        with contextlib.closing(out):
            out.write(request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
            writer.write(await body.readuntil(b"\r\n\r\n"))
            await writer.drain()
            await {"delay": _delay, "timer": _timer, "behind": _behind}[mode](body, writer)


async def _delay(body: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    passed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def take() -> None:
        while data := await body.read(65536):
            passed.put_nowait((loop.time() + _DELAY, data))
        passed.put_nowait((loop.time() + _DELAY, b""))

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        while True:
            due, data = await passed.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()


async def _timer(body: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    held = bytearray()

    async def pass_on() -> None:
        while True:
            await asyncio.sleep(_TICK)
            writer.write(bytes(held))
            held.clear()
            await writer.drain()

    ticking = asyncio.create_task(pass_on())
    try:
        while data := await body.read(65536):
            held += data
    finally:
        ticking.cancel()
    writer.write(bytes(held))
    await writer.drain()


async def _behind(body: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    held = b""
    while data := await body.read(65536):
        *whole, rest = (held + data).split(b"\n\n")
        # Of the events that have come, all but the last.
        kept = [one + b"\n\n" for one in whole]
        passed = b"".join(kept[:-1])
        held = (kept[-1] if kept else b"") + rest
        if passed:
            writer.write(passed)
            await writer.drain()
    writer.write(held)
    await writer.drain()


async def _main(port: int, upstream: int) -> None:
    server = await asyncio.start_server(lambda reader, writer: _serve(reader, writer, upstream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
