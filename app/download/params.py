"""The parameters of the measuring stream: read from a query string, and bounded."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_BYTES = 64 << 20
MAX_DURATION_MS = 15 * 60 * 1000
_RANGES = {"rows": (1, 100_000), "size": (32, 65_536), "delay_ms": (0, 60_000), "fail_after": (0, 99_999)}
_MAX_SHOWN = 40


class BadParameter(ValueError):
    """A parameter that cannot be used; the message is one sentence for the client."""


@dataclass(frozen=True)
class MeasureParams:
    """What a client may ask of the measuring stream.

    Attributes:
        rows: how many rows, 1 to 100000.
        size: bytes of each row with its newline, 32 to 65536; all rows together are at most 64 MiB.
        delay_ms: milliseconds from one row to the next, 0 to 60000; times rows, at most 15 minutes.
        fail_after: break off after this many rows, 0 up to below `rows`; None for a stream that ends as promised.
    """

    rows: int = 20
    size: int = 64
    delay_ms: int = 100
    fail_after: int | None = None


def parse(query: Iterable[tuple[str, Sequence[str]]]) -> MeasureParams:
    """Read the parameters out of a query string.

    Args:
        query: each name with all its values, as `QueryDict.lists()` gives them.

    Raises:
        BadParameter: one is unknown, given twice, not a number or out of range, or they are too much together.
    """
    params = MeasureParams(**{name: _number(name, values) for name, values in query})
    if params.rows * params.size > MAX_BYTES:
        raise BadParameter(
            f"rows times size is {params.rows * params.size} bytes, but must be at most {MAX_BYTES} bytes (64 MiB)."
        )
    if params.rows * params.delay_ms > MAX_DURATION_MS:
        raise BadParameter(
            f"rows times delay_ms is {params.rows * params.delay_ms} ms, but must be at most {MAX_DURATION_MS} ms "
            "(15 minutes)."
        )
    if params.fail_after is not None and params.fail_after >= params.rows:
        raise BadParameter(f"fail_after is {params.fail_after}, but must be less than rows, which is {params.rows}.")
    return params


def _number(name: str, values: Sequence[str]) -> int:
    if name not in _RANGES:
        raise BadParameter(f"{_shown(name)} is not a parameter here, only {', '.join(_RANGES)} are.")
    if len(values) != 1:
        raise BadParameter(f"{name} is given {len(values)} times, but must be given once.")
    lowest, highest = _RANGES[name]
    # Not str.isdecimal() and not int() alone: both take digits of other scripts, and int() takes "+5", " 5" and "1_0".
    if not re.fullmatch("[0-9]{1,6}", values[0]) or not lowest <= int(values[0]) <= highest:
        raise BadParameter(
            f"{name} is {_shown(values[0])}, but must be a whole number from {lowest} to {highest}, in digits 0-9."
        )
    return int(values[0])


def _shown(text: str) -> str:
    """Quote what a client sent in printable ASCII, and not all of it."""
    return ascii(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")
