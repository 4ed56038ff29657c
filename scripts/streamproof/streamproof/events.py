"""Splits a body into events as it comes, whatever its size in bounded memory. No times here.

An event is what the receiving program acts on: a server-sent event (comments are none), a line that is not empty of
NDJSON, JSON lines, a JSON text sequence, plain text or CSV, a part of multipart/x-mixed-replace. Anything else has no
events that could be told apart.
"""

import re
import zlib
from collections.abc import Iterator
from email.message import Message
from typing import Literal, NamedTuple, Protocol

EventFormat = Literal["server-sent events", "JSON lines", "lines", "parts"]

_JSON_LINES = (
    *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl"),
    *("application/jsonlines", "application/x-jsonlines", "application/json-lines", "application/json-seq"),
)
_SSE_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Enough of a line to tell its field, with a byte order mark before it.
_HEAD = 8
# How long the header of a part may be before it is taken for content, in bytes.
_MAX_PART_HEADER = 64 << 10


class Piece(NamedTuple):
    """An event that has ended: its bytes, each line end counted as one, and a checksum by which to know it again."""

    size: int
    digest: int


class Splitter(Protocol):
    """Takes a body as it comes.

    Attributes:
        unfinished: bytes of the line that has begun and not ended.
    """

    unfinished: int

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take some of the body and yield the events that end in it."""

    def finish(self) -> Iterator[Piece]:
        """Yield the event that the end of the body ends, if there is one."""


def event_format(content_type: str | None) -> EventFormat | None:
    """Tell by the value of Content-Type what the events of a body are; None where they cannot be told apart."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "server-sent events"
    if kind in _JSON_LINES or kind.endswith("+json-seq"):
        return "JSON lines"
    if kind in ("text/plain", "text/csv"):
        return "lines"
    return "parts" if kind == "multipart/x-mixed-replace" and _boundary(content_type) else None


def splitter(content_type: str | None) -> Splitter | None:
    """Make what splits a body of that Content-Type; None where its events cannot be told apart."""
    form = event_format(content_type)
    if form == "parts":
        return _Parts(_boundary(content_type))
    if form == "server-sent events":
        return _ServerSentEvents()
    return None if form is None else _Lines()


def _boundary(content_type: str | None) -> bytes:
    message = Message()
    message["Content-Type"] = (content_type or "").replace("\n", "").replace("\r", "")
    boundary = message.get_param("boundary", "")
    # Cameras put the dashes of the delimiter into the parameter too.
    return boundary.strip().lstrip("-").encode("latin-1", "replace") if isinstance(boundary, str) else b""


class _Lines:
    """Lines that end in LF or CRLF; blank ones, and the RS before a JSON text (RFC 7464), are no events."""

    def __init__(self) -> None:
        self.unfinished = 0
        self._digest = 0
        self._blank = True

    def feed(self, data: bytes) -> Iterator[Piece]:
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._add(line)
            if not self._blank:
                yield Piece(self.unfinished + 1, self._digest)
            self.unfinished, self._digest, self._blank = 0, 0, True
        if rest:
            self._add(rest)

    def finish(self) -> Iterator[Piece]:
        if not self._blank:
            yield Piece(self.unfinished, self._digest)

    def _add(self, piece: bytes) -> None:
        self.unfinished += len(piece)
        self._digest = zlib.crc32(piece, self._digest)
        self._blank = self._blank and not piece.strip(b" \t\r\x1e")


class _ServerSentEvents:
    """What a browser dispatches: lines up to an empty one, if one of them is a data field.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self) -> None:
        self.unfinished = 0
        self._head = b""  # the beginning of the current line
        self._after_cr = False
        self._first = True
        self._size = 0
        self._digest = 0
        self._has_data = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        *ended, rest = data.split(b"\n") if b"\r" not in data else _SSE_LINE_END.split(data)
        for piece in ended:
            self._add(piece)
            if self.unfinished == 0:
                if self._has_data:
                    yield Piece(self._size + 1, self._digest)
                self._size, self._digest, self._has_data = 0, 0, False
            elif not self._head.startswith(b":"):
                self._size += self.unfinished + 1
                # Without the line end, so that a hop that turns CRLF into LF changes nothing.
                self._digest = zlib.crc32(b"\n", self._digest)
                self._has_data |= self._head.startswith(b"data:") or (self._head == b"data" and self.unfinished == 4)
            self.unfinished, self._head, self._first = 0, b"", False
        if rest:
            self._add(rest)

    def finish(self) -> Iterator[Piece]:
        """Yield nothing: what no empty line ends is discarded."""
        yield from ()

    def _add(self, piece: bytes) -> None:
        if self._first and len(self._head) + len(piece) >= len(_BYTE_ORDER_MARK):
            self._first = False
            whole = self._head + piece
            if whole.startswith(_BYTE_ORDER_MARK):
                self.unfinished, self._digest, self._head, piece = 0, 0, b"", whole[len(_BYTE_ORDER_MARK) :]
        if len(self._head) < _HEAD:
            self._head += piece[: _HEAD - len(self._head)]
        self.unfinished += len(piece)
        if not self._head.startswith(b":"):
            self._digest = zlib.crc32(piece, self._digest)


class _Parts:
    """Parts between delimiters (RFC 2046 section 5.1).

    A part ends with as many bytes as its Content-Length says, else where the delimiter of the next one begins.
    """

    def __init__(self, boundary: bytes) -> None:
        self.unfinished = 0
        self._delimiter = b"--" + boundary
        self._buffer = b""
        self._in: Literal["preamble", "header", "content"] = "preamble"
        self._left: int | None = None  # of the content, where its length is known
        self._size = 0
        self._digest = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        self._buffer += data
        moving = True
        while moving:
            if self._in == "header":
                moving = self._take_header()
            elif self._in == "content" and self._left is not None:
                taken = self._buffer[: self._left]
                self._buffer = self._buffer[len(taken) :]
                self._take(taken)
                self._left -= len(taken)
                moving = self._left == 0
                if moving:
                    yield Piece(self._size, self._digest)
                    self._in = "preamble"
            else:
                before, delimiter, after = self._buffer.partition(self._delimiter)
                moving = bool(delimiter)
                if moving:
                    self._take(before.removesuffix(b"\n").removesuffix(b"\r"))
                    if self._in == "content":
                        yield Piece(self._size, self._digest)
                    self._in, self._buffer = "header", after
                else:  # all but what may be the beginning of a line end and a delimiter
                    keep = len(self._delimiter) + 1
                    self._take(self._buffer[:-keep])
                    self._buffer = self._buffer[-keep:]

    def finish(self) -> Iterator[Piece]:
        """Yield the part that was not finished yet, where its length is not known."""
        if self._in == "content" and self._left is None:
            self._take(self._buffer)
            if self._size:
                yield Piece(self._size, self._digest)

    def _take(self, content: bytes) -> None:
        self._size += len(content)
        self._digest = zlib.crc32(content, self._digest)

    def _take_header(self) -> bool:
        """Take the header of a part; tell whether it is whole."""
        if self._buffer.startswith(b"--"):  # the last delimiter: what follows is no part
            self._in, self._buffer = "preamble", b""
            return False
        match = re.search(rb"\r?\n\r?\n", self._buffer)
        if match is None and len(self._buffer) <= _MAX_PART_HEADER:
            return False
        header = self._buffer[: match.start()] if match else b""
        self._buffer = self._buffer[match.end() :] if match else self._buffer
        length = re.search(rb"(?im)^content-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?$", header)
        self._left = int(length[1]) if length else None
        self._in, self._size, self._digest = "content", 0, 0
        return True
