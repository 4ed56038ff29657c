"""HTTP/1.1 and HTTP/1.0, from time-stamped bytes to an observation. No socket here."""

import re

import h11

from streamproof.codings import Decoder, decoder
from streamproof.observation import ChunkRun
from streamproof.record import MAX_CHUNK_RUNS, MAX_HEADER, STATUS_LINE, Recorder
from streamproof.request import Request
from streamproof.verdict import bounded

_SWITCHING = 101
# What is kept of a message of h11's, which holds the whole line that it is about.
_MAX_ERROR = 200
_CODINGS = re.compile(
    rb"\r?\ntransfer-encoding:[ \t]*((?:(?:x-)?gzip|deflate)[ \t]*,[ \t]*chunked|identity)[ \t]*\r?\n", re.IGNORECASE
)


def _in_words(error: str) -> str:
    """Take what is h11's own out of a message of h11's."""
    if "_SWITCH" in error:
        return "it is 101 Switching Protocols, which was not asked for"
    return bounded(re.sub(r"""bytearray\(b?((['"]).*?\2)\)""", r"\1", error), _MAX_ERROR)


class Http1Recorder(Recorder):
    """Records a response to an HTTP/1.1 or HTTP/1.0 request."""

    def __init__(self, request: Request) -> None:
        """Begin with the request.

        Raises:
            h11.LocalProtocolError: it cannot be written as HTTP/1.1.
            UnicodeError: a header cannot be encoded.
        """
        super().__init__(request, "HTTP/1.0" if request.protocol == "HTTP/1.0" else "HTTP/1.1")
        self._head = b""  # of the response, until it is understood
        self._original: bytes | None = None  # the transfer coding that h11 does not know
        self._transfer: Decoder | None = None
        target, fields = request.target.path, request.fields()
        proxy = request.route.proxy
        if proxy is not None and not request.target.tls:  # RFC 9112 section 3.2.2
            target = f"http://{request.target.authority}{target}"
            if proxy.authorization is not None:
                fields.append((b"Proxy-Authorization", proxy.authorization.encode("ascii")))
        header = h11.Request(method=request.method, target=target, headers=fields)
        self._sent = [header, *([h11.Data(request.body)] if request.body else []), h11.EndOfMessage()]
        self.output = self._begin()
        if self._protocol == "HTTP/1.0":  # h11 writes no other version than 1.1; a target holds no space
            self.output = self.output.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
        self._chunked = False
        self._open = True

    def _begin(self) -> bytes:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        return b"".join(self._connection.send(event) or b"" for event in self._sent)

    @property
    def reusable(self) -> bool:
        """Whether the response is over, and the connection open for another request (RFC 9112 section 9.3)."""
        states = (self._connection.our_state, self._connection.their_state)
        return self._open and self.ended == "terminated" and not self._surplus and states == (h11.DONE, h11.DONE)

    def closed(self, at: float) -> None:
        """Take the end of the connection (EOF)."""
        self._open = False
        if self.ended is None:
            self._connection.receive_data(b"")
            self._take_events(at, eof=True)

    def _take(self, data: bytes, at: float) -> None:
        if self._status is None and len(self._head) <= MAX_HEADER:
            self._head += data
        self._connection.receive_data(data)
        self._take_events(at)

    def _without_codings(self) -> bool:
        """Begin anew with a header that h11 understands, where it names a transfer coding that h11 does not know.

        RFC 9112 section 6.1: `gzip, chunked` is a chunked body that is gzip; `identity` (RFC 2616) means none.
        """
        match = _CODINGS.search(self._head)
        if match is None or self._status is not None:
            return False
        coding = match[1].strip().lower()
        if coding == b"identity":
            head = self._head[: match.start()] + b"\r\n" + self._head[match.end() :]
        else:
            self._transfer = decoder(coding.split(b",")[0].decode("ascii"))
            head = self._head[: match.start()] + b"\r\nTransfer-Encoding: chunked\r\n" + self._head[match.end() :]
        self._begin()
        self._original = match[1].strip()
        self._head = b""
        self._connection.receive_data(head)
        return True

    def _take_events(self, at: float, *, eof: bool = False) -> None:
        # After EndOfMessage h11 must not be asked again: it takes bytes that follow for an error of the response.
        while self.ended is None:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                if self._without_codings():
                    continue
                self._take_error(at, str(error), eof)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self._chunked = any(name.lower() == b"transfer-encoding" for name, _ in event.headers.raw_items())
                version = event.http_version.decode("ascii")
                reason = bytes(event.reason).decode("latin-1")
                headers = event.headers.raw_items()
                if self._original is not None:
                    headers = [pair for pair in headers if pair[0].lower() != b"transfer-encoding"]
                    headers.append((b"Transfer-Encoding", self._original))
                self._take_header(version, event.status_code, reason, headers, at)
            elif isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHING:
                reason = bytes(event.reason).decode("latin-1")
                self._take_header("1.1", _SWITCHING, reason, event.headers.raw_items(), at)
                self._end("terminated", at)
            elif isinstance(event, h11.Data):
                self._take_data(event, at)
            elif isinstance(event, h11.EndOfMessage):
                self._surplus = len(self._connection.trailing_data[0])
                self._end("closed" if eof else "terminated", at)
            elif isinstance(event, h11.ConnectionClosed):
                self._end("truncated", at, "the connection was closed before a response came")

    def _take_error(self, at: float, error: str, eof: bool) -> None:
        # At EOF h11's complaint is that more was promised; anywhere else it is about what came.
        if eof:
            error = f"the connection was closed before the end{'' if self._status else ' of the header'}"
        # h11 has swallowed the line it complains about, only the message still shows it. A worker that fails inside a
        # chunked body can write its error response where the next chunk header is due.
        if self._status is not None and not eof and STATUS_LINE.search(error.encode()):
            self._body.note_status_line(self._body.byte_count)
        self._end("truncated" if eof else "protocol_error", at, _in_words(error))

    def _take_data(self, event: h11.Data, at: float) -> None:
        data = bytes(event.data)
        if self._transfer is None:
            taken = self._take_body(data, at)
        else:
            taken = len(data)
            for piece in self._transfer.undo(data):
                self._take_body(piece, at)
            if self._transfer.error is not None:
                self._end("protocol_error", at, f"of the transfer coding, {self._transfer.error}")
        # Not by event.chunk_start: h11 loses it when a chunk's header comes in a read without any of its data.
        if self._chunked:
            size = (self._unfinished_chunk or 0) + taken
            if event.chunk_end and taken == len(event.data):
                self._take_chunk(size)
                self._unfinished_chunk = None
            else:
                self._unfinished_chunk = size

    def _take_chunk(self, size: int) -> None:
        self._chunk_count += 1
        if self._chunks and self._chunks[-1].size == size:
            self._chunks[-1] = ChunkRun(size, self._chunks[-1].repeats + 1)
        elif len(self._chunks) < MAX_CHUNK_RUNS:
            self._chunks.append(ChunkRun(size, 1))
