"""What is streamed: rows, one yield each, and where to wait between them. How they are cut is up to the view."""

import csv
import hashlib
import threading
import time
from collections.abc import Iterator

from download.formats import SSE, TEXT, Format
from download.pacing import Pause, Steps

# Up to 64 MiB are digested before the first byte: by one thread of a process at a time, so that the probes have a share
# of the processor whatever is asked for.
_one_digest = threading.Lock()
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ZEROED_TIME = b"0000000000.000000000"
# Of a line of text: number, space, time, space; the newline at its end comes on top.
_HEAD_SIZE = 8 + 1 + len(_ZEROED_TIME) + 1


class SourceBroke(Exception):
    """The source of a stream broke off before its last row."""


class _Line:
    """A file for csv.writer that keeps nothing: what is written comes back as the result of `writerow`.

    See https://docs.djangoproject.com/en/5.2/howto/outputting-csv/#streaming-large-csv-files
    """

    def write(self, text: str) -> bytes:
        return text.encode()


def csv_records(rows: int) -> Iterator[list[object]]:
    """Yield the fields of a header line and of so many rows."""
    yield ["One", "Two", "Three"]
    for number in range(1, rows + 1):
        yield ["Hello", "world", number]


def csv_rows(*, rows: int = 99, delay_ms: int = 0) -> Steps:
    """Yield a header line and 99 rows, as streaming_django does.

    Args:
        rows: how many, if not 99.
        delay_ms: milliseconds to wait before each of them.
    """
    writer = csv.writer(_Line())
    for number, record in enumerate(csv_records(rows)):
        if number and delay_ms:
            yield Pause(delay_ms / 1000)
        yield writer.writerow(record)


def measured_rows(
    *,
    rows: int,
    size: int,
    delay_ms: int,
    fail_after: int | None = None,
    heartbeat_ms: int = 0,
    after: int = 0,
    form: Format = TEXT,
) -> Steps:
    """Yield numbered rows that carry the time at which they were produced.

    As text each is `NNNNNNNN SSSSSSSSSS.NNNNNNNNN filler\\n`: its number from 1, the Unix time, and filler up to its
    size.

    Args:
        rows: how many.
        size: bytes of each row as text with its newline, at least 32; other forms put their own around that.
        delay_ms: milliseconds to wait between two rows.
        fail_after: raise in place of the row that follows this many.
        heartbeat_ms: after so many milliseconds of a pause, write a heartbeat; 0 for none.
        after: go on after this row. A stream that goes on where `fail_after` broke it off is not broken off again.
        form: how rows are written.

    Raises:
        SourceBroke: as `fail_after` asked. The response then breaks off without its terminating chunk; a generator
            that returned instead would make a truncated stream look complete (RFC 9112 section 8).
    """
    if form.opening or fail_after == 0:
        # gunicorn sends the header with the first yield. Without it, a break before the first row would be a 500 and
        # not a broken stream.
        yield form.opening
    for number in range(after + 1, rows + 1):
        # Even sleeping for no time takes some 0.1 ms.
        if number > after + 1 and delay_ms:
            yield from _pause(delay_ms, heartbeat_ms, form.heartbeat)
        if fail_after == number - 1 and (fail_after > after or after == 0):
            raise SourceBroke(f"the stream broke off after {fail_after} of {rows} rows, as fail_after asked")
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        yield form.row(number, b"%010d.%09d" % (seconds, nanoseconds), _filler(number, size))


def promise(*, rows: int, size: int, heartbeat_ms: int = 0, after: int = 0, form: Format = TEXT) -> str | None:
    """Tell before the first row what `measured_rows` will yield, for the header X-Stream-Promise.

    Of text, the SHA-256 is of the whole body, with each time replaced by 0000000000.000000000. Other forms have the
    time elsewhere than the header's reader looks for it, so their digest is not known in advance. An event is several
    lines, so a number of rows, which means lines there, would be misread; its bytes suffice. How many heartbeats come
    is a matter of time, so with them nothing is promised.

    Args:
        rows: the number of the last row.
        size: bytes of each row as text with its newline.
        heartbeat_ms: not 0 if there are heartbeats.
        after: the number of the row before the first.
        form: how rows are written.
    """
    if heartbeat_ms:
        return None
    with _one_digest:
        return _promise(rows=rows, size=size, after=after, form=form)


def _promise(*, rows: int, size: int, after: int, form: Format) -> str:
    digest = hashlib.sha256()
    length = len(form.opening)
    for number in range(after + 1, rows + 1):
        row = form.row(number, _ZEROED_TIME, _filler(number, size))
        length += len(row)
        digest.update(row)
    if form is SSE:
        return f"bytes={length}"
    if form is TEXT:
        return f"rows={rows - after}, bytes={length}, sha256={digest.hexdigest()}, times=zeroed"
    return f"rows={rows - after}, bytes={length}"


def _pause(delay_ms: int, heartbeat_ms: int, heartbeat: bytes | None) -> Steps:
    while heartbeat and 0 < heartbeat_ms < delay_ms:
        yield Pause(heartbeat_ms / 1000)
        yield heartbeat
        delay_ms -= heartbeat_ms
    yield Pause(delay_ms / 1000)


def _filler(number: int, size: int) -> bytes:
    length = size - _HEAD_SIZE - 1
    # It begins at another letter in each row, so that rows which changed places also change the digest.
    start = number % len(_ALPHABET)
    return (_ALPHABET * (length // len(_ALPHABET) + 2))[start : start + length]
