"""What was observed of one response, and how that is saved and loaded.

All times are Unix times in seconds on the client's clock, except a row's production time, which is on the app's.
"""

import json
import types
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

FORMAT = "streamcheck observation 1"

End = Literal["terminated", "closed", "truncated", "timeout", "too_large", "protocol_error"]
Framing = Literal["chunked", "content-length", "until close"]


class Read(NamedTuple):
    """One read from the socket: when it returned, how many body bytes it brought, how long it had to wait.

    A read that brought nothing but header or framing has size 0.
    """

    at: float
    size: int
    waited: float


class Row(NamedTuple):
    """One line of the body: when the read that brought its end returned, and when the app says it produced it."""

    arrived: float
    produced: float | None


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
        timeout: limit in seconds for all of it.
        max_bytes: limit for the body.
        request_sent_at: taken just before the request was written: nothing can have been produced for it earlier.
        header_at: when the read that completed the response's header returned; None if there was no header.
        http_version: of the status line, such as "1.1".
        status, reason: of the status line.
        headers: pairs in the order of the wire; a name's case is kept.
        reads, read_count: every read, up to a limit; the number of all.
        chunks, chunk_count: sizes of the complete chunks, up to a limit; the number of all.
        unfinished_chunk: bytes that arrived of a chunk that was not completed.
        rows, row_count: every row, up to a limit; the number of all.
        misnumbered: the first row out of sequence, where rows carry numbers.
        byte_count, sha256: of the body as it arrived.
        sha256_zeroed: digest with every production time zeroed; None unless the stream promised such times.
        second_status_line: offset in the body at which a line begins that is an HTTP status line.
        surplus: bytes that followed the end of the response on the same connection.
        ended: how it ended. "terminated": terminating chunk seen, or as many bytes as Content-Length said. "closed":
            the close of the connection is the only end there is. "truncated": closed or reset before the end that
            the framing promised. "timeout", "too_large": it was still running when a limit was reached.
            "protocol_error": what came is not HTTP.
        ended_at: when that was known.
        error: what was wrong, in words, for "truncated" and "protocol_error".
        expected_bytes, expected_sha256: what the user expects the body to be; saved along, so that an observation
            that is judged again gets the same verdict.
    """

    url: str
    timeout: float
    max_bytes: int
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
    error: str | None = None
    reads: list[Read] = field(default_factory=list)
    read_count: int = 0
    chunks: list[ChunkRun] = field(default_factory=list)
    chunk_count: int = 0
    unfinished_chunk: int | None = None
    rows: list[Row] = field(default_factory=list)
    row_count: int = 0
    misnumbered: Misnumbered | None = None
    sha256_zeroed: str | None = None
    second_status_line: int | None = None
    surplus: int = 0
    expected_bytes: int | None = None
    expected_sha256: str | None = None

    def header(self, name: str) -> str | None:
        """Return a header's value, several joined by ", " (RFC 9110 section 5.2), or None if it is not there."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def framing(self) -> Framing:
        """What marks the end of the body, by the precedence of RFC 9112 section 6.3."""
        if self.header("transfer-encoding") is not None:
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

    def save(self, path: Path) -> None:
        """Write the observation to a file as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        values = {"format": FORMAT} | {item.name: getattr(self, item.name) for item in fields(self)}
        path.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Observation":
        """Read an observation that `save` has written.

        Raises:
            OSError: the file cannot be read.
            ValueError: it does not hold an observation; the message says what is wrong.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f"not an observation: its format is not {FORMAT!r}")
        names = {item.name for item in fields(cls)}
        if missing := names - values.keys():
            raise ValueError(f"not an observation: it lacks {', '.join(sorted(missing))}")
        hints = get_type_hints(cls)
        return cls(**{name: _decode(hints[name], values[name], name) for name in names})


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Check a value out of JSON against a type of Observation and convert it (arrays to lists and tuples)."""
    if isinstance(kind, types.UnionType):
        (kind,) = (option for option in get_args(kind) if option is not types.NoneType)
        return None if value is None else _decode(kind, value, where)
    if get_origin(kind) is list and isinstance(value, list):
        (item,) = get_args(kind)
        return [_decode(item, one, where) for one in value]
    if get_origin(kind) is tuple and isinstance(value, list) and len(value) == len(get_args(kind)):
        return tuple(_decode(*pair, where) for pair in zip(get_args(kind), value, strict=True))
    if hasattr(kind, "_fields") and isinstance(value, list) and len(value) == len(kind._fields):
        return kind(*(_decode(*pair, where) for pair in zip(get_type_hints(kind).values(), value, strict=True)))
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and type(value) is int and value >= 0:
        return value
    # Bounded, so that arithmetic on times from a file cannot overflow; NaN is not below the bound either.
    if kind is float and type(value) in (int, float) and abs(value) < 1e15:
        return float(value)
    raise ValueError(f"not an observation: {where} has a wrong value")
