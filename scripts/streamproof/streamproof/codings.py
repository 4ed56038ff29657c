"""Content codings (RFC 9110 section 8.4.1), undone as they come, in pieces of bounded size."""

import sys
import zlib
from collections.abc import Iterator
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# How much is turned out at a time: what a small read blows up to is not to be in memory in one piece.
_PIECE = 1 << 20
# The empty stored block after which all that was put in can be read (RFC 1951 section 3.2.4; zlib: Z_SYNC_FLUSH).
_SYNC_FLUSH = b"\x00\x00\xff\xff"
# What a decoder may need to remember, as a power of two: a browser refuses more (RFC 9659 section 3).
_ZSTD_WINDOW = 23


class Decoder(Protocol):
    """Undoes a coding.

    Attributes:
        error: why it cannot be undone any further, in words.
        flushes: how often the compressor was flushed, by the markers that this leaves; None where it leaves none.
    """

    error: str | None
    flushes: int | None

    def undo(self, data: bytes) -> Iterator[bytes]:
        """Yield what bytes of the body decode to."""

    def finish(self) -> None:
        """Take the end of the body."""


def decoder(coding: str) -> Decoder | None:
    """Make what undoes a coding, by its name in Content-Encoding; None where it is not known."""
    name = coding.strip().lower()
    if name in ("gzip", "x-gzip"):
        return Gzip()
    if name == "deflate":
        return Deflate()
    if name == "br":
        return Brotli()
    return Zstd() if name == "zstd" else None


class Gzip:
    """Undoes gzip (RFC 1952)."""

    _NAME = "gzip"

    def __init__(self) -> None:
        """Begin."""
        self._member = self._new(b"")
        self._within = False
        self.error: str | None = None
        self.flushes: int | None = 0
        self._tail = b""

    def _new(self, _: bytes) -> "zlib._Decompress":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def undo(self, data: bytes) -> Iterator[bytes]:
        """Yield what bytes of the body decode to."""
        tail = self._tail + data
        self.flushes = (self.flushes or 0) + tail.count(_SYNC_FLUSH)
        self._tail = tail[1 - len(_SYNC_FLUSH) :]
        while data and self.error is None:
            if not self._within:
                self._member = self._new(data)
            self._within = True
            try:
                yield self._member.decompress(data, _PIECE)
            except zlib.error as error:
                self.error = f"what came is not valid {self._NAME} ({error})"
                return
            if self._member.eof:  # another member may follow (RFC 1952 section 2.2)
                data = self._member.unused_data
                self._within = False
            else:
                data = self._member.unconsumed_tail

    def finish(self) -> None:
        """Take the end of the body."""
        if self._within and self.error is None:
            self.error = f"the {self._NAME} data breaks off before its end"


class Deflate(Gzip):
    """Undoes deflate: zlib's format (RFC 1950), or what some send instead, deflate's own (RFC 1951)."""

    _NAME = "deflate"

    def _new(self, data: bytes) -> "zlib._Decompress":
        bare = bool(data) and data[0] & 0x0F != zlib.DEFLATED
        return zlib.decompressobj(wbits=-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)


class Brotli:
    """Undoes brotli (RFC 7932)."""

    def __init__(self) -> None:
        """Begin."""
        self._decompressor = brotli.Decompressor()
        self._begun = False
        self.error: str | None = None
        self.flushes: int | None = None

    def undo(self, data: bytes) -> Iterator[bytes]:
        """Yield what bytes of the body decode to."""
        self._begun = self._begun or bool(data)
        while self.error is None:
            if self._decompressor.is_finished():
                self.error = "more came after the end of the brotli data" if data else None
                return
            try:
                piece = self._decompressor.process(data, output_buffer_limit=_PIECE)
            except brotli.error as error:
                self.error = f"what came is not valid brotli ({error})"
                return
            if piece:
                yield piece
            data = b""
            if self._decompressor.can_accept_more_data() or not piece:
                return

    def finish(self) -> None:
        """Take the end of the body."""
        if self._begun and self.error is None and not self._decompressor.is_finished():
            self.error = "the brotli data breaks off before its end"


class Zstd:
    """Undoes zstd (RFC 8878)."""

    def __init__(self) -> None:
        """Begin."""
        self._frame: zstd.ZstdDecompressor | None = None
        self.error: str | None = None
        self.flushes: int | None = None

    def undo(self, data: bytes) -> Iterator[bytes]:
        """Yield what bytes of the body decode to."""
        while self.error is None and (data or (self._frame is not None and not self._frame.needs_input)):
            if self._frame is None:
                self._frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})
            try:
                piece = self._frame.decompress(data, max_length=_PIECE)
            except zstd.ZstdError as error:
                self.error = f"what came is not valid zstd ({error})"
                return
            if piece:
                yield piece
            data = b""
            if self._frame.eof:  # another frame may follow (RFC 8878 section 3.1)
                data = self._frame.unused_data
                self._frame = None

    def finish(self) -> None:
        """Take the end of the body."""
        if self._frame is not None and self.error is None:
            self.error = "the zstd data breaks off before its end"
