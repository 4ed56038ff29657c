"""The forms in which a measured row can be written: a line of text, a server-sent event, a JSON object."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """How rows are written.

    Attributes:
        content_type: what the response says that it is.
        row: writes one, of its number, the Unix time of its production with nine decimals, and filler.
        opening: what comes before the first row.
        heartbeat: what can be written between rows and means nothing; None where everything means something.
    """

    content_type: str
    row: Callable[[int, bytes, bytes], bytes]
    opening: bytes = b""
    heartbeat: bytes | None = None


def _line(number: int, produced: bytes, filler: bytes) -> bytes:
    return b"%08d %b %b" % (number, produced, filler)


TEXT = Format(
    content_type="text/plain; charset=utf-8",
    row=lambda number, produced, filler: _line(number, produced, filler) + b"\n",
)

# https://html.spec.whatwg.org/multipage/server-sent-events.html: a blank line ends an event, and a colon begins a
# comment. With `id` a browser says where to go on when it comes again, with `retry` after how many milliseconds.
SSE = Format(
    content_type="text/event-stream",
    row=lambda number, produced, filler: b"id: %d\ndata: %b\n\n" % (number, _line(number, produced, filler)),
    opening=b"retry: 1000\n\n",
    heartbeat=b": heartbeat\n\n",
)

# Filler is letters and digits, so there is nothing to escape.
NDJSON = Format(
    content_type="application/x-ndjson",
    row=lambda number, produced, filler: b'{"row": %d, "time": "%b", "token": "%b"}\n' % (number, produced, filler),
)

FORMATS = {"text": TEXT, "sse": SSE, "ndjson": NDJSON}
