"""What is streamed: rows, one yield each. How they become chunks is up to the server."""

import csv
import hashlib
import time
from collections.abc import Iterator

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ZEROED_TIME = b"0000000000.000000000"
# Number, space, time, space; the newline at the end of the row comes on top.
_HEAD_SIZE = 8 + 1 + len(_ZEROED_TIME) + 1


class SourceBroke(Exception):
    """The source of a stream broke off before its last row."""


class _Line:
    """A file for csv.writer that keeps nothing: what is written comes back as the result of `writerow`.

    See https://docs.djangoproject.com/en/5.2/howto/outputting-csv/#streaming-large-csv-files
    """

    def write(self, text: str) -> str:
        return text


def csv_rows() -> Iterator[str]:
    """Yield a header line and 99 rows, as streaming_django does."""
    writer = csv.writer(_Line())
    yield writer.writerow(["One", "Two", "Three"])
    for number in range(1, 100):
        yield writer.writerow(["Hello", "world", number])


def measured_rows(*, rows: int, size: int, delay_ms: int, fail_after: int | None = None) -> Iterator[bytes]:
    """Yield numbered rows that carry the time at which they were produced.

    Each is `NNNNNNNN SSSSSSSSSS.NNNNNNNNN filler\\n`: its number from 1, the Unix time, and filler up to its size.

    Args:
        rows: how many.
        size: bytes of each row with its newline, at least 32.
        delay_ms: milliseconds to wait between two rows.
        fail_after: raise in place of the row that follows this many.

    Raises:
        SourceBroke: as `fail_after` asked. The response then breaks off without its terminating chunk; a generator
            that returned instead would make a truncated stream look complete (RFC 9112 section 8).
    """
    if fail_after == 0:
        # gunicorn sends the header with the first yield. Without it, this would be a 500 and not a broken stream.
        yield b""
    for number in range(1, rows + 1):
        # Even sleeping for no time takes some 0.1 ms.
        if number > 1 and delay_ms:
            time.sleep(delay_ms / 1000)
        if fail_after == number - 1:
            raise SourceBroke(f"the stream broke off after {fail_after} of {rows} rows, as fail_after asked")
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        yield _row(number, b"%010d.%09d" % (seconds, nanoseconds), size)


def promise(*, rows: int, size: int) -> str:
    """Tell before the first row what `measured_rows` will yield, for the header X-Stream-Promise.

    The SHA-256 is of the whole body, with each time replaced by 0000000000.000000000.

    Args:
        rows: how many rows will come.
        size: bytes of each row with its newline.
    """
    digest = hashlib.sha256()
    for number in range(1, rows + 1):
        digest.update(_row(number, _ZEROED_TIME, size))
    return f"rows={rows}, bytes={rows * size}, sha256={digest.hexdigest()}, times=zeroed"


def _row(number: int, produced: bytes, size: int) -> bytes:
    length = size - _HEAD_SIZE - 1
    # Filler begins at another letter in each row, so that rows which changed places also change the digest.
    start = number % len(_ALPHABET)
    filler = (_ALPHABET * (length // len(_ALPHABET) + 2))[start : start + length]
    return b"%08d %b %b\n" % (number, produced, filler)
