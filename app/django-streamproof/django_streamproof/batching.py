"""How rows become chunks where a chunk for each row would cost too much: joined up to a size or an age.

Rows that are produced fast leave in full chunks, and a row that no other follows leaves soon. A chunk is never larger
than the size (`csv_batched`: by some rows), and holds whole rows except where one alone is larger. When the source
fails, what it yielded before still leaves, and then its error is raised: the same bytes arrive as without batching,
and the response breaks off.

Not for streams whose rows are to be seen one by one, such as measurements, server-sent events or tokens.
"""

import asyncio
import contextlib
import contextvars
import csv
import io
import itertools
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from django.conf import settings
from django.db import connections

from django_streamproof.registry import StreamStopped, current

SIZE = 64 << 10
AGE = 0.05
# Records that csv.writer takes at a time: enough to spread what is done between them, few enough to be soon over.
_MOST_AT_ONCE = 64
# Seconds after which a stream notices that it was broken off, though its source is stuck in another thread.
_LOOK_UP = 1.0

_Row = TypeVar("_Row")


class _Batch:
    """The rows that have not left yet, and since when."""

    def __init__(self, size: int, age: float) -> None:
        self._size = size
        self._age = age
        self._rows: list[bytes] = []
        self._length = 0
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, row: bytes) -> list[bytes]:
        """Take a row, and return the chunks that it makes ready."""
        length = self._length + len(row)
        if self._length > 0 and length < self._size and time.monotonic() < self._due:
            # Nearly all of them; the rest of this for each would cost more than the row.
            self._rows.append(row)
            self._length = length
            return []
        ready = []
        if self and self._length + len(row) > self._size:
            ready.append(self.take())
        if len(row) > self._size:
            cuts = [row[start : start + self._size] for start in range(0, len(row), self._size)]
            ready += cuts[:-1]
            row = cuts[-1]
        if row:
            if not self:
                self._due = time.monotonic() + self._age
            self._rows.append(row)
            self._length += len(row)
        # Not only while waiting: a source may be slow without ever letting us wait.
        if self and (self._length == self._size or self.seconds_left() == 0):
            ready.append(self.take())
        return ready

    def take(self) -> bytes:
        """Return all that is there as a chunk."""
        chunk = b"".join(self._rows)
        self._rows.clear()
        self._length = 0
        return chunk

    def seconds_left(self) -> float | None:
        """Return how long the oldest row may still wait; None if there is none."""
        return max(0.0, self._due - time.monotonic()) if self else None


def batched(
    rows: Iterable[bytes], size: int = SIZE, age: float = AGE, *, thread: bool = False
) -> Generator[bytes, None, None]:
    """Join rows into chunks.

    Nothing can interrupt a source that blocks in this very thread. So without `thread`, the age is looked at whenever
    a row comes: a source that pauses holds back what came before. With it, the source runs in a thread of its own and
    the age holds whatever the source does; but what belongs to a thread, such as Django's database connections, is
    then another one for the source. So ask for it where rows can be far apart.

    Closing this closes the source. One that runs in a thread of its own is closed there, as soon as it yields or ends:
    it is not waited for, not by a stream that is broken off either. That thread's database connections end with it. At
    most two chunks and a row are in memory, then the source waits for the client.

    Args:
        rows: what is joined; a generator must acquire what it needs not before it is first asked for a row.
        size: bytes of the largest chunk.
        age: seconds from the first row of a chunk until it leaves.
        thread: run the source in a thread of its own.
    """
    return _pumped(rows, _Batch(size, age)) if thread else _in_this_thread(rows, _Batch(size, age))


def _in_this_thread(rows: Iterable[bytes], batch: _Batch) -> Generator[bytes, None, None]:
    with _closing(rows) as source:
        try:
            for row in source:
                yield from batch.add(row)
        except Exception:
            if batch:
                yield batch.take()
            raise
        if batch:
            yield batch.take()


def _pumped(rows: Iterable[bytes], batch: _Batch) -> Generator[bytes, None, None]:
    changed = threading.Condition()
    ready: list[bytes] = []
    closed = ended = False
    error: BaseException | None = None

    def pump() -> None:
        nonlocal ended, error
        try:
            with _closing(rows) as source:
                for row in source:
                    with changed:
                        changed.wait_for(lambda: closed or not ready)
                        if closed:
                            return
                        was_empty = not batch
                        ready.extend(batch.add(row))
                        # For a row in between there is nothing to do, and waking up is what costs.
                        if ready or was_empty:
                            changed.notify_all()
        # All of them: an end without its error would make a truncated stream look complete.
        except BaseException as broke:
            error = broke
        finally:
            try:
                # Of this thread, which nothing else uses; Django closes those of the threads that serve requests.
                if settings.configured:
                    connections.close_all()
            finally:
                with changed:
                    ended = True
                    changed.notify_all()

    stopped = current.get()
    # With the context of this thread, so that the source's log lines know their request. As a daemon, so that a source
    # which blocks for ever does not keep the process from ending.
    threading.Thread(target=contextvars.copy_context().run, args=[pump], name="batched", daemon=True).start()
    try:
        while True:
            with changed:
                while not ready and not ended:
                    left = batch.seconds_left()
                    if left == 0:
                        break
                    if stopped is not None and stopped.is_set():
                        raise StreamStopped("the stream was broken off while its source hung")
                    changed.wait(_LOOK_UP if left is None else left)
                chunks = ready.copy() or ([batch.take()] if batch else [])
                ready.clear()
                changed.notify_all()
            if not chunks:
                break
            yield from chunks
        if error is not None:
            raise error
    finally:
        with changed:
            closed = True
            changed.notify_all()


def csv_batched(records: Iterable[Iterable[Any]], size: int = SIZE, age: float = AGE) -> Generator[bytes, None, None]:
    """Write records as CSV in chunks, in half the time that it takes to write rows one by one and to join them.

    csv.writer takes the records itself and writes into memory, so nothing is called for each of them but their source.
    Size and age are looked at now and then: after as many as would have made a quarter of either at the last pace, and
    at most 64. So a source that pauses holds back what came before, as with `batched` without a thread.

    Closing this closes the source.

    Args:
        records: the fields of each row.
        size: characters from which on a chunk leaves. It holds whole rows, so it is larger by some of them.
        age: seconds from the first row of a chunk until it leaves.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    at_once, due = 1, 0.0
    with _closing(records) as source:
        try:
            while True:
                began, before = time.monotonic(), text.tell()
                if not before:
                    due = began + age
                writer.writerows(itertools.islice(source, at_once))
                now, wrote = time.monotonic(), text.tell() - before
                if not wrote:
                    break
                if text.tell() >= size or now >= due:
                    yield _taken(text)
                share = min(age / max(now - began, 1e-6), size / wrote) / 4
                at_once = max(1, min(_MOST_AT_ONCE, int(at_once * share)))
        except Exception:
            if text.tell():
                yield _taken(text)
            raise
    if text.tell():
        yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    chunk = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return chunk


async def abatched(rows: AsyncIterable[bytes], size: int = SIZE, age: float = AGE) -> AsyncGenerator[bytes, None]:
    """Join rows into chunks, as `batched` does; the age holds while the source is waiting.

    The source runs in a task of its own. That task goes on waiting for its row when the age is over, so no row is
    lost, and it is one task for all rows, as `asyncio.timeout` within the source needs. Closing this cancels the task,
    waits for it, and so closes the source.

    Args:
        rows: what is joined.
        size: bytes of the largest chunk.
        age: seconds from the first row of a chunk until it leaves.
    """
    batch = _Batch(size, age)
    ready: list[bytes] = []
    to_do, taken = asyncio.Event(), asyncio.Event()

    async def pump() -> None:
        source = aiter(rows)
        try:
            async for row in source:
                was_empty = not batch
                ready.extend(batch.add(row))
                if ready or was_empty:
                    to_do.set()
                if ready:
                    taken.clear()
                    await taken.wait()
        finally:
            if close := getattr(source, "aclose", None):
                await close()

    task = asyncio.create_task(pump())
    task.add_done_callback(lambda _: to_do.set())
    try:
        while True:
            while not ready and not task.done() and batch.seconds_left() != 0:
                to_do.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(batch.seconds_left()):
                        await to_do.wait()
            chunks = ready.copy() or ([batch.take()] if batch else [])
            ready.clear()
            taken.set()
            if not chunks:
                break
            for chunk in chunks:
                yield chunk
        await task
    finally:
        task.cancel()
        # Not `await task`: its error has been raised already, or nobody is there any more to whom it would matter.
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _closing(rows: Iterable[_Row]) -> Iterator[Iterator[_Row]]:
    source = iter(rows)
    try:
        yield source
    finally:
        if close := getattr(source, "close", None):
            close()
