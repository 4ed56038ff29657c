"""An app that streams as other people's do, without a promise: what `upstream.py` answers for /events.

GET /events?pace=regular, and further

- pace: regular, 0.25 s apart; llm, tokens of a language model, with two events together at both ends; poisson, 0.25 s
  apart in the mean; fast, 5 ms apart; shared, a feed on a grid of 0.25 s that all clients have in common;
- events: how many, endless for no end; size: bytes of each, at least; form: sse, ndjson or text;
- think: seconds before the first one;
- group: so many are produced and sent at a time;
- collect: all are produced at the pace and sent at the end, as by a synchronous iterator under ASGI;
- gzip: flush, after each event, or never.

Each event carries the time of its production, for the matrix to know the truth.
"""

import asyncio
import itertools
import random
import time
import zlib
from collections.abc import AsyncIterator, Iterator

_PAUSE = 0.25
_TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson", "text": "text/plain"}
_EVENTS = {"regular": "16", "llm": "60", "poisson": "20", "fast": "400", "shared": "endless"}


def _pauses(pace: str) -> Iterator[float]:
    """Yield the seconds before each event."""
    dice = random.Random()  # noqa: S311
    yield 0.0
    if pace == "llm":
        yield 0.0
    while True:
        if pace == "poisson":
            yield dice.expovariate(1 / _PAUSE)
        elif pace == "llm":
            yield min(dice.lognormvariate(-3.2, 0.8), 0.8)
        else:
            yield 0.005 if pace == "fast" else _PAUSE


async def _events(asked: dict[str, str]) -> AsyncIterator[bytes]:
    pace, form, size = asked.get("pace", "regular"), asked.get("form", "sse"), int(asked.get("size", "48"))
    number, group = asked.get("events", _EVENTS[pace]), int(asked.get("group", "1"))
    numbers = itertools.count() if number == "endless" else iter(range(int(number)))
    await asyncio.sleep(float(asked.get("think", "0")))
    for one, pause in zip(numbers, _pauses(pace), strict=False):
        if pace == "shared":
            due = (time.time() // _PAUSE + 1) * _PAUSE
            await asyncio.sleep(due - time.time())
            yield _event(form, round(due / _PAUSE), b"%.9f" % due, size)
            continue
        if one % group == 0 and pause and not (pace == "llm" and one == int(number) - 1):
            await asyncio.sleep(pause * group)
        # Of a language model the sizes differ too.
        wider = random.randrange(40) if pace == "llm" else 0  # noqa: S311
        yield _event(form, one, b"%d.%09d" % divmod(time.time_ns(), 10**9), size + wider)


def _event(form: str, number: int, produced: bytes, size: int) -> bytes:
    head = b'{"n": %d, "t": %b, "x": "' % (number, produced)
    text = head + b"x" * (size - len(head) - 2) + b'"}'
    return b"data: %b\n\n" % text if form == "sse" else text + b"\n"


async def answer(asked: dict[str, str], version: str, writer: asyncio.StreamWriter) -> None:
    """Send header and body; the connection closes afterwards."""
    chunked = version == "HTTP/1.1"
    head = [f"{version} 200 OK", f"Content-Type: {_TYPES[asked.get('form', 'sse')]}", "Connection: close"]
    head += ["Transfer-Encoding: chunked"] if chunked else []
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31) if "gzip" in asked else None
    head += ["Content-Encoding: gzip"] if compressor else []
    writer.write("\r\n".join([*head, "", ""]).encode("ascii"))
    await writer.drain()

    async def send(data: bytes) -> None:
        if data:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            await writer.drain()

    collected = b""
    group, together = int(asked.get("group", "1")), b""
    position = 0
    async for event in _events(asked):
        position += 1
        together += event
        # The first two events of a language model are one write, and so are those of a group.
        if position % group or (asked.get("pace") == "llm" and position == 1):
            continue
        data, together = together, b""
        if compressor:
            data = compressor.compress(data)
            data += compressor.flush(zlib.Z_SYNC_FLUSH) if asked["gzip"] == "flush" else b""
        if "collect" in asked:
            collected += data
        else:
            await send(data)
    await send(collected + together + (compressor.flush() if compressor else b""))
    if chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
