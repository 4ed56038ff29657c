"""What was observed of one response.

All times are Unix times in seconds on the client's clock, except a row's production time, which is on the app's.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from streamproof.events import event_format
from streamproof.expected import Expected

End = Literal[
    "terminated",
    "closed",
    "truncated",
    "timeout",
    "too_large",
    "stopped",
    "protocol_error",
    "not_offered",
    "no_connection",
]
Framing = Literal["chunked", "content-length", "until close", "h2"]
Protocol = Literal["HTTP/1.0", "HTTP/1.1", "HTTP/2"]
Role = Literal[
    "stream",
    "baseline",
    "stalled",
    "HTTP/1.0",
    "HTTP/1.0 with gzip",
    "HTTP/1.1",
    "HTTP/1.1 with gzip",
    "HTTP/1.1 with br",
    "HTTP/1.1 with zstd",
    "as a browser",
    "HTTP/1.1 reused",
    "HTTP/2",
    "HTTP/2 with gzip",
    "concurrent",
    "short alone",
    "short",
]


class Read(NamedTuple):
    """One read from the socket: when it returned, how many body bytes it brought, how long it had to wait.

    A read that brought nothing but header or framing has size 0. Unfinished are the bytes, by then, of a line that had
    begun and not ended, where lines make events.
    """

    at: float
    size: int
    waited: float
    unfinished: int = 0


class Event(NamedTuple):
    """One event, as `events` tells them apart.

    When the read that brought its end returned, its bytes, and a checksum by which to know it again.
    """

    arrived: float
    size: int
    digest: int


class Row(NamedTuple):
    """One line of the body.

    When the read that brought its end returned, when the app says it produced it, and its bytes with the newline.
    """

    arrived: float
    produced: float | None
    size: int


class Stall(NamedTuple):
    """A pause in which the client did not read: when it began and ended, and how much of the body it had by then."""

    began: float
    ended: float
    byte_count: int


class ChunkRun(NamedTuple):
    """Consecutive chunks of the same size, and how many there are."""

    size: int
    repeats: int


class Misnumbered(NamedTuple):
    """The first row whose number is not its position: where it stands (from 1) and which number it carries."""

    position: int
    number: int


@dataclass(frozen=True)
class Observation:
    """Everything that verdicts may rest on. The body itself is not kept.

    Attributes:
        url: what was asked for.
        role: what it was asked for, in a run of several requests.
        protocol: in which it was asked for; what came back may be of another version.
        timeout: limit in seconds for all of it.
        max_bytes: limit for the body.
        started_at: when the connection was begun; when the request was due, where a connection is used again.
        request_sent_at: taken just before the request was written: nothing can have been produced for it earlier.
        header_at: when the read that completed the response's header returned; None if there was no header.
        http_version: of the status line, such as "1.1".
        status, reason: of the status line.
        headers: pairs in the order of the wire; a name's case is kept.
        reads, read_count: every read, up to a limit; the number of all.
        chunks, chunk_count: sizes of the complete chunks, up to a limit; the number of all.
        unfinished_chunk: bytes that arrived of a chunk that was not completed.
        rows, row_count: every row, up to a limit; the number of all.
        events, event_count: every event, up to a limit; the number of all.
        connect_seconds: how long TCP took to connect; 0 where a connection is used again.
        sync_flushes: how often the compressor was flushed, by the markers in gzip's bytes; None if it is not gzip.
        times: the expression by which production times were looked for in rows, if the user gave one.
        misnumbered: the first row out of sequence, where rows carry numbers.
        byte_count, sha256: of the body, after its transfer coding and, where it is known, its content coding were
            undone. So are the sizes of reads and rows.
        encoded_bytes: how long the body was before its content coding was undone; None if it had none that is known.
        coding_error: why the coding could not be undone to its end, in words.
        sha256_zeroed: digest with every production time zeroed; None unless the stream promised such times.
        second_status_line: offset in the body at which a line begins that is an HTTP status line.
        surplus: bytes that followed the end of the response on the same connection.
        heartbeat_count: comments in a stream of server-sent events, which mean nothing and keep the connection busy.
        longest_pause: seconds between two reads that brought lines with a meaning, so other than heartbeats.
        stall: where the client stalled on purpose.
        ended: how it ended. "terminated": terminating chunk or END_STREAM seen, or as many bytes as Content-Length
            said. "closed": the close of the connection is the only end there is. "truncated": closed or reset before
            the end that the framing promised. "timeout", "too_large": it was still running when a limit was reached.
            "stopped": it was still running when it was to be stopped.
            "protocol_error": what came is not HTTP. "not_offered": the server does not speak that protocol, or does not
            keep the connection. "no_connection": none came about, or it broke before the request was out.
        ended_at: when that was known.
        error: what was wrong, in words, for "truncated", "protocol_error", "not_offered" and "no_connection".
        last_line: the last line of the body that is not empty, up to a length, as far as it arrived.
        accept: the Accept header that was sent, if the user gave one.
        stop_events, stop_seconds: after how many events or seconds it was to be stopped.
        notes: what a reader must know of how it was asked, such as that no certificate was verified.
        unfollowed: why the redirect that came back was not followed, where redirects were to be.
        expected: what the user expects; saved along, so that an observation that is judged again gets the same verdict.
    """

    url: str
    protocol: Protocol
    timeout: float
    max_bytes: int
    started_at: float
    request_sent_at: float
    header_at: float | None
    http_version: str | None
    status: int | None
    reason: str
    headers: list[tuple[str, str]]
    byte_count: int
    sha256: str
    ended: End
    ended_at: float
    role: Role = "stream"
    error: str | None = None
    encoded_bytes: int | None = None
    coding_error: str | None = None
    reads: list[Read] = field(default_factory=list)
    read_count: int = 0
    chunks: list[ChunkRun] = field(default_factory=list)
    chunk_count: int = 0
    unfinished_chunk: int | None = None
    rows: list[Row] = field(default_factory=list)
    row_count: int = 0
    events: list[Event] = field(default_factory=list)
    event_count: int = 0
    connect_seconds: float = 0.0
    sync_flushes: int | None = None
    times: str | None = None
    misnumbered: Misnumbered | None = None
    sha256_zeroed: str | None = None
    second_status_line: int | None = None
    surplus: int = 0
    heartbeat_count: int = 0
    longest_pause: float = 0.0
    stall: Stall | None = None
    last_line: str = ""
    accept: str | None = None
    stop_events: int | None = None
    stop_seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    unfollowed: str | None = None
    expected: Expected = field(default_factory=Expected)

    def header(self, name: str) -> str | None:
        """Return a header's value, several joined by ", " (RFC 9110 section 5.2), or None if it is not there."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def answered(self) -> bool:
        """Whether the response is what was asked for, with a body: 2xx but 204 and 205 (RFC 9110 section 15.3)."""
        return self.status is not None and 200 <= self.status < 300 and self.status not in (204, 205)

    @property
    def running(self) -> bool:
        """Whether it had not ended yet, when a limit was reached or it was to be stopped."""
        return self.ended in ("timeout", "too_large", "stopped")

    @property
    def units(self) -> tuple[str, int]:
        """What the body consists of, and how many of them came: server-sent events or parts, else rows."""
        if event_format(self.header("content-type")) in ("server-sent events", "parts"):
            return "event", self.event_count
        return "row", self.row_count

    @property
    def framing(self) -> Framing:
        """What marks the end of the body: by the precedence of RFC 9112 section 6.3, or HTTP/2's frames."""
        if self.http_version == "2":
            return "h2"
        coding = self.header("transfer-encoding")
        if coding is not None and coding.split(",")[-1].strip().lower() != "identity":
            return "chunked"
        return "until close" if self.header("content-length") is None else "content-length"

    @property
    def ttfb(self) -> float | None:
        """Time to first byte: seconds from sending the request to the first byte of the body; None without a body."""
        first = next((read.at for read in self.reads if read.size), None)
        return None if first is None else first - self.request_sent_at

    @property
    def duration(self) -> float:
        """Seconds from sending the request to the end."""
        return self.ended_at - self.request_sent_at

    @property
    def encoded(self) -> str | None:
        """The content coding under which the body still is, such as "br"; None where it can be read."""
        coding = self.header("content-encoding")
        return None if coding is None or coding.lower() == "identity" or self.encoded_bytes is not None else coding
