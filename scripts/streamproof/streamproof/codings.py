"""Content codings (RFC 9110 section 8.4.1), undone as they come."""

import zlib
from collections.abc import Iterator

# How much is turned out at a time: what a small read blows up to is not to be in memory in one piece.
_PIECE = 1 << 20
# The empty stored block after which all that was put in can be read (RFC 1951 section 3.2.4; zlib: Z_SYNC_FLUSH).
_SYNC_FLUSH = b"\x00\x00\xff\xff"


class Gzip:
    """Undoes gzip as it comes (RFC 1952), in pieces of bounded size.

    Attributes:
        error: why it cannot be undone any further, in words.
        flushes: how often the compressor was flushed, by the markers that this leaves.
    """

    def __init__(self) -> None:
        """Begin."""
        self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._within = False
        self.error: str | None = None
        self.flushes = 0
        self._tail = b""

    def undo(self, data: bytes) -> Iterator[bytes]:
        """Yield what bytes of the body decode to."""
        tail = self._tail + data
        self.flushes += tail.count(_SYNC_FLUSH)
        self._tail = tail[1 - len(_SYNC_FLUSH) :]
        while data and self.error is None:
            self._within = True
            try:
                yield self._member.decompress(data, _PIECE)
            except zlib.error as error:
                self.error = f"what came is not valid gzip ({error})"
                return
            if self._member.eof:  # another member may follow (RFC 1952 section 2.2)
                data = self._member.unused_data
                self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
                self._within = False
            else:
                data = self._member.unconsumed_tail

    def finish(self) -> None:
        """Take the end of the body."""
        if self._within and self.error is None:
            self.error = "the gzip data breaks off before its end"
