"""From time-stamped bytes to an observation. No socket here: bytes and times go in, an Observation comes out."""

import hashlib
import re

import h11

from streamcheck.observation import ChunkRun, End, Misnumbered, Observation, Read, Row
from streamcheck.promise import parse_promise

# Memory stays bounded whatever the server sends: beyond these, things are counted but not kept one by one.
MAX_READS = 200_000
MAX_ROWS = 200_000
MAX_CHUNK_RUNS = 200_000
MAX_LINE = 1 << 20
MAX_HEADER = 64 << 10  # also the limit for one chunk's extensions, and for the trailer

_ROW = re.compile(rb"(\d{8}) (\d{10}\.\d{9})(?=[ \r\n])")
_ZERO_TIME = b"0000000000.000000000"
_STATUS_LINE = re.compile(rb"HTTP/1\.\d \d{3}(?!\d)")


class Recorder:
    """Takes what was read from the connection and records what it says.

    Call `sent` with the time at which `request` is written, then `feed` for every read, then one of `closed`, `reset`
    and `timed_out` unless `ended` is set already; then take the `observation`.
    """

    def __init__(self, url: str, request: h11.Request, *, timeout: float, max_bytes: int) -> None:
        """Begin with the request.

        Args:
            url: for the record.
            request: a GET without a body.
            timeout: limit in seconds, for the record; whoever reads the socket keeps it.
            max_bytes: limit for the body; beyond it the observation ends as "too_large".

        Raises:
            h11.LocalProtocolError: the request cannot be written as HTTP/1.1.
        """
        self._url = url
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        self.request: bytes = (self._connection.send(request) or b"") + (
            self._connection.send(h11.EndOfMessage()) or b""
        )
        self._sent_at = 0.0
        self._header_at: float | None = None
        self._response: h11.Response | None = None
        self._headers: list[tuple[str, str]] = []
        self._chunked = False
        self._body = _Body(timed=False)
        self._reads: list[Read] = []
        self._read_count = 0
        self._chunks: list[ChunkRun] = []
        self._chunk_count = 0
        self._unfinished_chunk: int | None = None
        self._surplus = 0
        self.ended: End | None = None
        self._ended_at = 0.0
        self._error: str | None = None

    @property
    def byte_count(self) -> int:
        """Bytes of the body so far."""
        return self._body.byte_count

    @property
    def row_count(self) -> int:
        """Rows so far."""
        return self._body.row_count

    def sent(self, at: float) -> None:
        """Note when the request is about to be written."""
        self._sent_at = at

    def feed(self, data: bytes, at: float, waited: float) -> None:
        """Take what one read returned.

        Args:
            data: the bytes, not empty.
            at: when the read returned.
            waited: seconds for which it had waited.
        """
        if self.ended is not None:
            self._surplus += len(data) if self.ended == "terminated" else 0
            return
        before = self._body.byte_count
        self._connection.receive_data(data)
        self._take_events(at)
        self._read_count += 1
        if len(self._reads) < MAX_READS:
            self._reads.append(Read(at, self._body.byte_count - before, waited))

    def closed(self, at: float) -> None:
        """Take the end of the connection (EOF)."""
        if self.ended is None:
            self._connection.receive_data(b"")
            self._take_events(at, eof=True)

    def reset(self, at: float, error: str) -> None:
        """Take a connection that broke: unlike EOF, no framing makes this a proper end."""
        self._end("truncated", at, error)

    def timed_out(self, at: float) -> None:
        """Take that the time limit was reached."""
        self._end("timeout", at)

    def observation(self) -> Observation:
        """Return what was recorded, once it has ended.

        Raises:
            ValueError: it has not ended.
        """
        if self.ended is None:
            raise ValueError("the response has not ended")
        response = self._response
        body = self._body
        return Observation(
            url=self._url,
            timeout=self._timeout,
            max_bytes=self._max_bytes,
            request_sent_at=self._sent_at,
            header_at=self._header_at,
            http_version=response.http_version.decode("ascii") if response else None,
            status=response.status_code if response else None,
            reason=bytes(response.reason).decode("latin-1") if response else "",
            headers=self._headers,
            byte_count=body.byte_count,
            sha256=body.sha256.hexdigest(),
            ended=self.ended,
            ended_at=self._ended_at,
            error=self._error,
            reads=self._reads,
            read_count=self._read_count,
            chunks=self._chunks,
            chunk_count=self._chunk_count,
            unfinished_chunk=self._unfinished_chunk,
            rows=body.rows,
            row_count=body.row_count,
            misnumbered=body.misnumbered,
            sha256_zeroed=body.digest_zeroed(),
            second_status_line=body.second_status_line,
            surplus=self._surplus,
        )

    def _end(self, how: End, at: float, error: str | None = None) -> None:
        if self.ended is None:
            self._body.finish()
            self.ended, self._ended_at, self._error = how, at, error

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
                self._take_response(event, at)
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
            error = f"the connection was closed before the end{'' if self._response else ' of the header'}"
        # h11 has swallowed the line it complains about, only the message still shows it. A worker that fails inside a
        # chunked body can write its error response where the next chunk header is due.
        if self._response is not None and not eof and _STATUS_LINE.search(error.encode()):
            self._body.note_status_line(self._body.byte_count)
        self._end("truncated" if eof else "protocol_error", at, error)

    def _take_response(self, response: h11.Response, at: float) -> None:
        self._response = response
        self._header_at = at
        self._headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items()
        ]
        self._chunked = any(name.lower() == "transfer-encoding" for name, _ in self._headers)
        try:
            promise = parse_promise(self._headers)
        except ValueError:
            promise = None  # the judge sees the header too, and says what is wrong with it
        self._body = _Body(timed=promise is not None and promise.times_zeroed)

    def _take_data(self, event: h11.Data, at: float) -> None:
        room = self._max_bytes - self._body.byte_count
        data = bytes(event.data[:room])
        too_large = len(event.data) > room
        # Not by event.chunk_start: h11 loses it when a chunk's header comes in a read without any of its data.
        if self._chunked:
            size = (self._unfinished_chunk or 0) + len(data)
            if event.chunk_end and not too_large:
                self._take_chunk(size)
                self._unfinished_chunk = None
            else:
                self._unfinished_chunk = size
        self._body.add(data, at)
        if too_large:
            self._end("too_large", at)

    def _take_chunk(self, size: int) -> None:
        self._chunk_count += 1
        if self._chunks and self._chunks[-1].size == size:
            self._chunks[-1] = ChunkRun(size, self._chunks[-1].repeats + 1)
        elif len(self._chunks) < MAX_CHUNK_RUNS:
            self._chunks.append(ChunkRun(size, 1))


class _Body:
    """Counts, hashes and splits the body into rows as it comes, without keeping it.

    Args:
        timed: rows carry a number and a production time.
    """

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self.byte_count = 0
        self.sha256 = hashlib.sha256()
        self._zeroed = hashlib.sha256()
        self.rows: list[Row] = []
        self.row_count = 0
        self.misnumbered: Misnumbered | None = None
        self.second_status_line: int | None = None
        self._line = bytearray()  # of the current line, what is not hashed yet
        self._line_start = 0
        self._line_length = 0

    def add(self, data: bytes, at: float) -> None:
        self.byte_count += len(data)
        self.sha256.update(data)
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._extend(piece + b"\n")
            self._end_line(at)
        self._extend(rest)

    def finish(self) -> None:
        """Take what is left as it is: the last line, if nothing ends it, is no row."""
        self._look_for_status_line()
        self._zeroed.update(self._line)
        self._line.clear()

    def note_status_line(self, offset: int) -> None:
        if self.second_status_line is None:
            self.second_status_line = offset

    def digest_zeroed(self) -> str | None:
        return self._zeroed.hexdigest() if self._timed else None

    def _extend(self, piece: bytes) -> None:
        self._line_length += len(piece)
        self._line += piece
        if self._line_length > MAX_LINE:  # too long for a timed row: hashed as it is, from here on as it comes
            self._look_for_status_line()
            self._zeroed.update(self._line)
            self._line.clear()

    def _end_line(self, at: float) -> None:
        self._look_for_status_line()
        produced = None
        if self._timed and (row := _ROW.match(self._line)):
            produced = float(row[2])
            position = self.row_count + 1
            if self.misnumbered is None and int(row[1]) != position:
                self.misnumbered = Misnumbered(position, int(row[1]))
            self._line[row.start(2) : row.end(2)] = _ZERO_TIME
        self._zeroed.update(self._line)
        self.row_count += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(Row(at, produced))
        self._line.clear()
        self._line_start += self._line_length
        self._line_length = 0

    def _look_for_status_line(self) -> None:
        # Only where the line is still whole; of one too long, that is when it becomes so.
        if len(self._line) == self._line_length and _STATUS_LINE.match(self._line):
            self.note_status_line(self._line_start)
