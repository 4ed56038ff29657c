"""What a client may ask of each view: read from a query string, and bounded, alone and together."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

from download.binary import MAX_CHUNK

MAX_BYTES = 64 << 20
MAX_DURATION_MS = 15 * 60 * 1000
MAX_WAIT_MS = 2 * 60 * 1000
_MAX_SHOWN = 40


class BadParameter(ValueError):
    """A parameter that cannot be used; the message is one sentence for the client."""


@dataclass(frozen=True)
class _Number:
    lowest: int
    highest: int

    def read(self, name: str, text: str) -> int:
        # Not str.isdecimal() and not int() alone: both take digits of other scripts, and int() takes "+5", " 5" and
        # "1_0".
        if (
            not re.fullmatch("[0-9]+", text)
            or len(text) > len(str(self.highest))
            or not self.lowest <= int(text) <= self.highest
        ):
            raise BadParameter(
                f"{name} is {_shown(text)}, but must be a whole number from {self.lowest} to {self.highest}, "
                "in digits 0-9."
            )
        return int(text)


@dataclass(frozen=True)
class _Choice:
    options: tuple[str, ...]

    def read(self, name: str, text: str) -> str:
        if text not in self.options:
            raise BadParameter(f"{name} is {_shown(text)}, but must be {' or '.join(self.options)}.")
        return text


def _number(default: int | None, lowest: int, highest: int) -> Any:
    return field(default=default, metadata={"allowed": _Number(lowest, highest)})


def _choice(default: str | None, *others: str) -> Any:
    options = (default, *others) if default else others
    return field(default=default, metadata={"allowed": _Choice(options)})


@dataclass(frozen=True)
class CsvParams:
    """What a client may ask of the CSV in one piece.

    Attributes:
        rows: how many rows after the header line, 1 to 100000, which is 2 MB. All of it is in memory, and 32 threads
            at a time must fit into a pod's.
        delay_ms: milliseconds before each row, 0 to 60000; times rows, at most 2 minutes. Nothing is sent meanwhile,
            and an edge gives up after a minute.
    """

    rows: int = _number(99, 1, 100_000)
    delay_ms: int = _number(0, 0, 60_000)

    def __post_init__(self) -> None:
        """Refuse what is too much together."""
        _at_most(self.rows * self.delay_ms, MAX_WAIT_MS, "rows times delay_ms", "ms", "2 minutes")


@dataclass(frozen=True)
class CsvStreamParams:
    """What a client may ask of the streamed CSV.

    Attributes:
        rows: how many rows after the header line, 1 to 10 million, which is 209 MB; they are never in memory together.
        delay_ms: milliseconds before each row, 0 to 60000; times rows, at most 15 minutes.
        chunk: "row" writes each row as it comes, "batch" joins those that come fast.
        accel_buffering: "no" sends X-Accel-Buffering, which tells nginx not to buffer this response.
    """

    rows: int = _number(99, 1, 10_000_000)
    delay_ms: int = _number(0, 0, 60_000)
    chunk: Literal["row", "batch"] = _choice("row", "batch")
    accel_buffering: Literal["no"] | None = _choice(None, "no")

    def __post_init__(self) -> None:
        """Refuse what is too much together."""
        _at_most(self.rows * self.delay_ms, MAX_DURATION_MS, "rows times delay_ms", "ms", "15 minutes")


@dataclass(frozen=True)
class MeasureParams:
    """What a client may ask of the measuring stream.

    Attributes:
        rows: how many rows, 1 to 100000.
        size: bytes of each row with its newline as text, 32 to 65536; all rows together are at most 64 MiB. What the
            other formats put around a row, less than 64 bytes, comes on top.
        delay_ms: milliseconds from one row to the next, 0 to 300000; times rows, at most 15 minutes.
        fail_after: break off after this many rows, 0 up to below `rows`; None for a stream that ends as promised.
        format: lines of text, server-sent events, or a JSON object a line.
        heartbeat_ms: of server-sent events, a comment after each so many milliseconds without a row, 100 to 60000,
            or 0 for none.
        accel_buffering: "no" sends X-Accel-Buffering, which tells nginx not to buffer this response.
    """

    rows: int = _number(20, 1, 100_000)
    size: int = _number(64, 32, 65_536)
    delay_ms: int = _number(100, 0, 300_000)
    fail_after: int | None = _number(None, 0, 99_999)
    format: Literal["text", "sse", "ndjson"] = _choice("text", "sse", "ndjson")
    heartbeat_ms: int = _number(0, 0, 60_000)
    accel_buffering: Literal["no"] | None = _choice(None, "no")

    def __post_init__(self) -> None:
        """Refuse what is too much together, or makes no sense together."""
        _at_most(self.rows * self.size, MAX_BYTES, "rows times size", "bytes", "64 MiB")
        _at_most(self.rows * self.delay_ms, MAX_DURATION_MS, "rows times delay_ms", "ms", "15 minutes")
        if self.fail_after is not None and self.fail_after >= self.rows:
            raise BadParameter(f"fail_after is {self.fail_after}, but must be less than rows, which is {self.rows}.")
        if self.heartbeat_ms and self.format != "sse":
            raise BadParameter(f"heartbeat_ms is only for format=sse, and not for format={self.format}.")
        if 0 < self.heartbeat_ms < 100:
            raise BadParameter(f"heartbeat_ms is {self.heartbeat_ms}, but must be 0 for none, or at least 100.")


@dataclass(frozen=True)
class BinaryParams:
    """What a client may ask of the binary stream.

    Attributes:
        size: bytes in all, 1 to 4 GiB.
        chunk_bytes: bytes of each chunk, 64 to 1 MiB.
        accel_buffering: "no" sends X-Accel-Buffering, which tells nginx not to buffer this response.
    """

    size: int = _number(1 << 20, 1, 4 << 30)
    chunk_bytes: int = _number(64 << 10, 64, MAX_CHUNK)
    accel_buffering: Literal["no"] | None = _choice(None, "no")


Params = TypeVar("Params", CsvParams, CsvStreamParams, MeasureParams, BinaryParams)


def parse(kind: type[Params], query: Iterable[tuple[str, Sequence[str]]]) -> Params:
    """Read the parameters out of a query string.

    Args:
        kind: the class of the view's parameters.
        query: each name with all its values, as `QueryDict.lists()` gives them.

    Raises:
        BadParameter: one is unknown, given twice, not what it must be or out of range, or they are too much together.
    """
    allowed = {one.name: one.metadata["allowed"] for one in fields(kind)}
    values: dict[str, Any] = {}
    for name, given in query:
        if name not in allowed:
            raise BadParameter(f"{_shown(name)} is not a parameter here, only {', '.join(allowed)} are.")
        if len(given) != 1:
            raise BadParameter(f"{name} is given {len(given)} times, but must be given once.")
        values[name] = allowed[name].read(name, given[0])
    return kind(**values)


def parse_last_event_id(text: str | None, rows: int) -> int:
    """Read the header Last-Event-ID: the row after which to go on, 0 if there is no such header.

    Raises:
        BadParameter: it is no number of a row.
    """
    return 0 if text is None else _Number(0, rows).read("Last-Event-ID", text)


def _at_most(value: int, limit: int, what: str, unit: str, readable: str) -> None:
    if value > limit:
        raise BadParameter(f"{what} is {value} {unit}, but must be at most {limit} {unit} ({readable}).")


def _shown(text: str) -> str:
    """Quote what a client sent in printable ASCII, and not all of it."""
    return ascii(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")
