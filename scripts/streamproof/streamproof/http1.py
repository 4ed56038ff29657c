"""HTTP/1.1 and HTTP/1.0, from time-stamped bytes to an observation. No socket here."""

import h11

from streamproof.observation import ChunkRun
from streamproof.record import MAX_CHUNK_RUNS, MAX_HEADER, STATUS_LINE, Recorder
from streamproof.request import Request


class Http1Recorder(Recorder):
    """Records a response to an HTTP/1.1 or HTTP/1.0 request."""

    def __init__(self, request: Request) -> None:
        """Begin with the request.

        Raises:
            h11.LocalProtocolError: it cannot be written as HTTP/1.1.
            UnicodeError: a header cannot be encoded.
        """
        super().__init__(request, "HTTP/1.0" if request.protocol == "HTTP/1.0" else "HTTP/1.1")
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        target, fields = request.target.path, request.fields()
        proxy = request.route.proxy
        if proxy is not None and not request.target.tls:  # RFC 9112 section 3.2.2
            target = f"http://{request.target.authority}{target}"
            if proxy.authorization is not None:
                fields.append((b"Proxy-Authorization", proxy.authorization.encode("ascii")))
        header = h11.Request(method=request.method, target=target, headers=fields)
        sent = [header, *([h11.Data(request.body)] if request.body else []), h11.EndOfMessage()]
        self.output = b"".join(self._connection.send(event) or b"" for event in sent)
        if self._protocol == "HTTP/1.0":  # h11 writes no other version than 1.1; a target holds no space
            self.output = self.output.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
        self._chunked = False
        self._open = True

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
        self._connection.receive_data(data)
        self._take_events(at)

    def _take_events(self, at: float, *, eof: bool = False) -> None:
        # After EndOfMessage h11 must not be asked again: it takes bytes that follow for an error of the response.
        while self.ended is None:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                self._take_error(at, str(error), eof)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self._chunked = any(name.lower() == b"transfer-encoding" for name, _ in event.headers.raw_items())
                version = event.http_version.decode("ascii")
                reason = bytes(event.reason).decode("latin-1")
                self._take_header(version, event.status_code, reason, event.headers.raw_items(), at)
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
        self._end("truncated" if eof else "protocol_error", at, error)

    def _take_data(self, event: h11.Data, at: float) -> None:
        taken = self._take_body(bytes(event.data), at)
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
