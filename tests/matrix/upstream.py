"""An app that frames its stream as it is asked to, for app servers choose that themselves: `python upstream.py PORT`.

GET /?framing=chunked&rows=6&size=64&delay_ms=400, and further

- framing: chunked (over HTTP/1.1 only), length, close, or both, which HTTP forbids;
- cut_after: close the connection after so many rows; with reset=1, reset it;
- repeat: the number of a row that is sent in place of the next one too;
- accel_buffering: the value of X-Accel-Buffering.

/events is answered by sources.py. Rows and X-Stream-Promise are as streamproof's README describes them.
"""

import asyncio
import contextlib
import hashlib
import socket
import struct
import sys
import time
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

import sources

_HEAD = b"%08d %b "
_ZEROED = b"0000000000.000000000"


def _row(number: int, produced: bytes, size: int) -> bytes:
    head = _HEAD % (number, produced)
    return head + b"x" * (size - len(head) - 1) + b"\n"


@lru_cache
def _promise(rows: int, size: int) -> str:
    digest = hashlib.sha256()
    for number in range(1, rows + 1):
        digest.update(_row(number, _ZEROED, size))
    return f"rows={rows}, bytes={rows * size}, sha256={digest.hexdigest()}, times=zeroed"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        while await _answer(await reader.readuntil(b"\r\n\r\n"), writer):
            pass


async def _answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
    """Answer one request, and tell whether the connection stays open."""
    _, target, version = request.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    asked = dict(parse_qsl(urlsplit(target).query))
    if urlsplit(target).path == "/events":
        await sources.answer(asked, version, writer)
        return False
    framing = asked.get("framing", "chunked")
    if framing in ("chunked", "both") and version == "HTTP/1.0":
        framing = "close"
    rows, size, delay_ms, cut_after, repeat = (
        int(asked.get(name, default))
        for name, default in (("rows", 6), ("size", 64), ("delay_ms", 400), ("cut_after", -1), ("repeat", -1))
    )
    head = [f"{version} 200 OK", "Content-Type: text/plain", f"X-Stream-Promise: {_promise(rows, size)}"]
    if framing in ("chunked", "both"):
        head.append("Transfer-Encoding: chunked")
    if framing in ("length", "both"):
        head.append(f"Content-Length: {rows * size}")
    if "accel_buffering" in asked:
        head.append(f"X-Accel-Buffering: {asked['accel_buffering']}")
    keep = (
        framing in ("chunked", "length") and version == "HTTP/1.1" and b"\r\nconnection: close" not in request.lower()
    )
    if not keep:
        head.append("Connection: close")
    writer.write("\r\n".join([*head, "", ""]).encode("ascii"))
    for position in range(1, rows + 1):
        if position > 1 and delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        if position == cut_after + 1:
            if "reset" in asked:
                linger = struct.pack("ii", 1, 0)  # closing then sends RST (socket(7))
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        number = position - 1 if position == repeat + 1 else position
        row = _row(number, b"%010d.%09d" % divmod(time.time_ns(), 10**9), size)
        writer.write(b"%x\r\n%b\r\n" % (size, row) if framing in ("chunked", "both") else row)
        await writer.drain()
    if framing in ("chunked", "both"):
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    return keep


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
