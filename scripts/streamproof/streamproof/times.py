"""Production times that a stream already carries, found by a regular expression in each line. Pure."""

import re
from datetime import UTC, datetime

# Of a line, so much is searched: an expression may take time that grows with what it looks at.
_MAX_SEARCHED = 16 << 10
# A number is in the largest unit in which it is a time before the year 5138: seconds, or one of these parts of it.
_BOUND = 1e11
_UNITS = (1.0, 1e3, 1e6, 1e9)


def parse_times(text: str) -> str:
    """Check an expression for `--times`.

    Raises:
        ValueError: it is none, or has no group that is named time; the message says why.
    """
    try:
        pattern = re.compile(text.encode())
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    if "time" not in pattern.groupindex:
        raise ValueError(f"{text!r} has no group named time, such as in '\"ts\": (?P<time>[0-9.]+)'")
    return text


def time_in(line: bytes, pattern: re.Pattern[bytes]) -> float | None:
    """Return the Unix time, in seconds, that a line carries; None if there is none."""
    match = pattern.search(line, 0, _MAX_SEARCHED)
    return None if match is None or match["time"] is None else unix_time(match["time"].decode("utf-8", "replace"))


def unix_time(text: str) -> float | None:
    """Read seconds, ms, us or ns since 1970, told apart by size, or a date as in ISO 8601, in UTC if it has no zone."""
    try:
        number = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return next((number / unit for unit in _UNITS if abs(number) < _BOUND * unit), None)
