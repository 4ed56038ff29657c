"""From time-stamped bytes to an observation. No socket here: bytes and times go in, an Observation comes out."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from streamproof.codings import Decoder, decoder
from streamproof.events import Piece, Splitter, event_format, splitter
from streamproof.observation import ChunkRun, End, Event, Misnumbered, Observation, Protocol, Read, Row, Stall
from streamproof.promise import parse_promise
from streamproof.request import Request
from streamproof.times import time_in

# Memory stays bounded whatever the server sends: beyond these, things are counted but not kept one by one.
MAX_READS = 200_000
MAX_ROWS = 200_000
MAX_EVENTS = 200_000
MAX_CHUNK_RUNS = 200_000
MAX_LINE = 1 << 20
_MAX_LAST_LINE = 1000
MAX_HEADER = 64 << 10  # also the limit for one chunk's extensions, and for the trailer

_ROW = re.compile(rb"(\d{8}) (\d{10}\.\d{9})(?=[ \r\n])")
_ZERO_TIME = b"0000000000.000000000"
_REDIRECTS = (301, 302, 303, 307, 308)
STATUS_LINE = re.compile(rb"HTTP/1\.\d \d{3}(?!\d)")


class Recorder(ABC):
    """Takes what was read from the connection and records what it says, whatever version of HTTP it is.

    Call `started` when the connection is begun and `sent` when `output` is about to be written, then `feed` for every
    read, and write what `to_send` returns then; at last one of `closed`, `reset` and `timed_out` unless `ended` is set
    already. Then take the `observation`.

    Attributes:
        output: the bytes of the request, to write.
        ended: how the response ended, once it has.
    """

    def __init__(self, request: Request, protocol: Protocol) -> None:
        """Begin.

        Args:
            request: what is asked for. Beyond its limit for the body, encoded or not, the observation ends as
                "too_large"; its time limit is kept by whoever reads the socket.
            protocol: in which.
        """
        self._request = request
        self._protocol = protocol
        self._max_bytes = request.max_bytes
        self.output = b""
        self._started_at = 0.0
        self._sent_at = 0.0
        self._header_at: float | None = None
        self._http_version: str | None = None
        self._status: int | None = None
        self._reason = ""
        self._headers: list[tuple[str, str]] = []
        self._coding: Decoder | None = None
        self._taken = 0
        self._connect_seconds = 0.0
        self._times = None if request.times is None else re.compile(request.times.encode())
        self._body = _Body(timed=False, times=None, content_type=None, began=0.0)
        self._reads: list[Read] = []
        self._read_count = 0
        # Whether the last read brought some of the response, and how long was waited for such since the one before.
        self._brought = True
        self._waited = 0.0
        self._chunks: list[ChunkRun] = []
        self._chunk_count = 0
        self._unfinished_chunk: int | None = None
        self._surplus = 0
        self._stall: Stall | None = None
        self.ended: End | None = None
        self._ended_at = 0.0
        self._error: str | None = None

    def started(self, at: float) -> None:
        """Note when the connection is begun."""
        self._started_at = at

    def connected(self, seconds: float) -> None:
        """Note how long TCP took to connect."""
        self._connect_seconds = seconds

    def sent(self, at: float) -> None:
        """Note when the request is about to be written."""
        self._sent_at = at

    def stalled(self, began: float, ended: float) -> None:
        """Note that the client did not read for a while, on purpose."""
        self._stall = Stall(began, ended, self._body.byte_count)

    @property
    def redirect(self) -> tuple[int, str] | None:
        """Status and Location of a redirect (RFC 9110 section 15.4); None if there is none yet."""
        location = next((value for name, value in self._headers if name.lower() == "location"), None)
        return None if self._status not in _REDIRECTS or location is None else (self._status, location)

    @property
    def byte_count(self) -> int:
        """Bytes of the body so far."""
        return self._body.byte_count

    @property
    def event_count(self) -> int:
        """Events so far, or rows where the body has no events."""
        return self._body.event_count if self._body.has_events else self._body.row_count

    @property
    def row_count(self) -> int:
        """Rows so far."""
        return self._body.row_count

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
        self._brought = True
        self._take(data, at)
        self._waited += waited
        if not self._brought:
            return
        self._read_count += 1
        if len(self._reads) < MAX_READS:
            self._reads.append(Read(at, self._body.byte_count - before, self._waited, self._body.unfinished))
        self._waited = 0.0

    def to_send(self) -> bytes:
        """Return what the protocol wants written in answer to what was fed; HTTP/1.1 never wants anything."""
        return b""

    @abstractmethod
    def closed(self, at: float) -> None:
        """Take the end of the connection (EOF)."""

    def reset(self, at: float, error: str) -> None:
        """Take a connection that broke: unlike EOF, no framing makes this a proper end."""
        self._end("truncated", at, error)

    def stopped(self, at: float) -> None:
        """Take that it was to be stopped."""
        self._end("stopped", at)

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
        body = self._body
        return Observation(
            url=self._request.url,
            protocol=self._protocol,
            timeout=self._request.timeout,
            max_bytes=self._max_bytes,
            started_at=self._started_at,
            request_sent_at=self._sent_at,
            header_at=self._header_at,
            http_version=self._http_version,
            status=self._status,
            reason=self._reason,
            headers=self._headers,
            byte_count=body.byte_count,
            sha256=body.sha256.hexdigest(),
            ended=self.ended,
            ended_at=self._ended_at,
            error=self._error,
            encoded_bytes=None if self._coding is None else self._taken,
            coding_error=None if self._coding is None else self._coding.error,
            reads=self._reads,
            read_count=self._read_count,
            chunks=self._chunks,
            chunk_count=self._chunk_count,
            unfinished_chunk=self._unfinished_chunk,
            rows=body.rows,
            row_count=body.row_count,
            events=body.events,
            event_count=body.event_count,
            connect_seconds=self._connect_seconds,
            times=self._request.times,
            sync_flushes=None if self._coding is None else self._coding.flushes,
            misnumbered=body.misnumbered,
            sha256_zeroed=body.digest_zeroed(),
            second_status_line=body.second_status_line,
            surplus=self._surplus,
            heartbeat_count=body.heartbeat_count,
            longest_pause=body.longest_pause,
            stall=self._stall,
            last_line=body.last_line(),
            accept=next((value for name, value in self._request.headers if name.lower() == "accept"), None),
            stop_events=self._request.stop_events,
            stop_seconds=self._request.stop_seconds,
        )

    @abstractmethod
    def _take(self, data: bytes, at: float) -> None:
        """Take bytes from the wire."""

    def _end(self, how: End, at: float, error: str | None = None) -> None:
        if self.ended is None:
            if self._coding is not None and how in ("terminated", "closed"):
                self._coding.finish()
            self._body.finish(at, whole=how in ("terminated", "closed"))
            self.ended, self._ended_at, self._error = how, at, error

    def _take_header(
        self, version: str, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]], at: float
    ) -> None:
        self._http_version, self._status, self._reason, self._header_at = version, status, reason, at
        self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        values = {name.lower(): value for name, value in self._headers}
        self._coding = decoder(values.get("content-encoding", ""))
        try:
            promise = parse_promise(self._headers)
        except ValueError:
            promise = None  # the judge sees the header too, and says what is wrong with it
        self._body = _Body(
            timed=promise is not None and promise.times_zeroed,
            times=self._times,
            content_type=values.get("content-type"),
            began=at,
        )

    def _take_body(self, data: bytes, at: float) -> int:
        """Take bytes of the body, and return how many of them were within the limit."""
        within = data[: self._max_bytes - self._taken]
        self._taken += len(within)
        too_large = len(within) < len(data)
        for piece in [within] if self._coding is None else self._coding.undo(within):
            room = self._max_bytes - self._body.byte_count
            self._body.add(piece[:room], at)
            if len(piece) > room:
                too_large = True
                break
        if too_large:
            self._end("too_large", at)
        return len(within)


class _Body:
    """Counts, hashes and splits the body into rows and events as it comes, without keeping it.

    Args:
        timed: rows carry a number and a production time.
        times: finds the production time in other rows.
        content_type: the value of the header, if there is one.
        began: when it began.
    """

    def __init__(self, *, timed: bool, times: re.Pattern[bytes] | None, content_type: str | None, began: float) -> None:
        self._timed = timed
        self._times = times
        self._splitter: Splitter | None = splitter(content_type)
        self._server_sent = event_format(content_type) == "server-sent events"
        self.events: list[Event] = []
        self.event_count = 0
        self._last_at = began
        self._last_meant = began
        self.heartbeat_count = 0
        self.longest_pause = 0.0
        self.byte_count = 0
        self._tail = b""
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
        if data and not self._server_sent:
            self._note_meant(at)
        self._last_at = at
        self._tail = (self._tail + data)[-_MAX_LAST_LINE:]
        if self._splitter is not None:
            for event in self._splitter.feed(data):
                self._keep(event)
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._extend(piece + b"\n")
            self._end_line(at)
        self._extend(rest)

    @property
    def has_events(self) -> bool:
        return self._splitter is not None

    def last_line(self) -> str:
        lines = [line for line in re.split(rb"[\r\n]+", self._tail) if line.strip()]
        return lines[-1].decode("utf-8", "replace") if lines else ""

    @property
    def unfinished(self) -> int:
        return self._splitter.unfinished if self._splitter else 0

    def finish(self, at: float, *, whole: bool) -> None:
        """Take what is left as it is: a line that nothing ends is no row, but an event if that was the end."""
        if self._splitter is not None and whole:
            for event in self._splitter.finish():
                self._keep(event)
        self._note_meant(at)
        self._look_for_status_line()
        self._zeroed.update(self._line)
        self._line.clear()

    def note_status_line(self, offset: int) -> None:
        if self.second_status_line is None:
            self.second_status_line = offset

    def digest_zeroed(self) -> str | None:
        return self._zeroed.hexdigest() if self._timed else None

    def _keep(self, event: Piece) -> None:
        self.event_count += 1
        if len(self.events) < MAX_EVENTS:
            self.events.append(Event(self._last_at, event.size, event.digest))

    def _extend(self, piece: bytes) -> None:
        self._line_length += len(piece)
        self._line += piece
        if self._line_length > MAX_LINE:  # too long for a timed row: hashed as it is, from here on as it comes
            self._look_for_status_line()
            self._zeroed.update(self._line)
            self._line.clear()

    def _note_meant(self, at: float) -> None:
        self.longest_pause = max(self.longest_pause, at - self._last_meant)
        self._last_meant = at

    def _end_line(self, at: float) -> None:
        self._look_for_status_line()
        if self._server_sent:
            # A line that begins with a colon is a comment, an empty one ends an event
            # (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
            if self._line_length == len(self._line) and self._line.startswith(b":"):
                self.heartbeat_count += 1
            elif bytes(self._line) not in (b"\n", b"\r\n"):
                self._note_meant(at)
        produced = None
        if self._timed and (row := _ROW.match(self._line)):
            produced = float(row[2])
            position = self.row_count + 1
            if self.misnumbered is None and int(row[1]) != position:
                self.misnumbered = Misnumbered(position, int(row[1]))
            self._line[row.start(2) : row.end(2)] = _ZERO_TIME
        elif self._times is not None:
            produced = time_in(bytes(self._line), self._times)
        self._zeroed.update(self._line)
        self.row_count += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(Row(at, produced, self._line_length))
        self._line.clear()
        self._line_start += self._line_length
        self._line_length = 0

    def _look_for_status_line(self) -> None:
        # Only where the line is still whole; of one too long, that is when it becomes so.
        if len(self._line) == self._line_length and STATUS_LINE.match(self._line):
            self.note_status_line(self._line_start)
