"""One stream: what it sent, how it ended, and the iterator that the server takes its chunks from."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import IO, Any, Literal, Self

from django_streamproof import metrics
from django_streamproof.registry import Held, Mark, Registry, StreamStopped, begun, current

Outcome = Literal["completed", "client_gone", "source_error", "stopped", "refused"]

logger = logging.getLogger("streams")

_LEVELS = {"completed": logging.INFO, "client_gone": logging.INFO, "source_error": logging.ERROR}


class Stream:
    """The account of a stream. It ends once, with the outcome that came first; the slot is kept until `release`.

    Attributes:
        deadline: when it must be over, by the monotonic clock.
        stopped: set when it was broken off, for a source that waits.
        outcome: how it ended, or None.
        inside: whether its source is running.
    """

    def __init__(
        self,
        registry: Registry,
        line: str,
        fields: dict[str, Any],
        started: float,
        interrupt: Callable[[], None],
        mark: Mark | None = None,
    ) -> None:
        """Describe a stream that has no slot yet.

        Args:
            registry: gives out the slots.
            line: begins its log lines, as in "GET /measure 200".
            fields: are in its log lines.
            started: when the request came, by the monotonic clock.
            interrupt: wakes the thread that waits for the client to read.
            mark: that of its view.
        """
        self.mark = mark
        self.deadline = float("inf")
        self.stopped = threading.Event()
        self.outcome: Outcome | None = None
        self.inside = False
        self._registry = registry
        self._line = line
        self._fields = fields
        self._started = started
        self._interrupt = interrupt
        self._first: float | None = None
        self._bytes = self._chunks = 0
        self._told = (0, 0)
        self._tell_at = started + 1
        self._ending = threading.Lock()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.outcome is not None

    def begin(self, seconds: float, instead_of: Held | None = None) -> bool:
        """Take a slot for at most so many seconds, or return False when there is none.

        Args:
            seconds: from when the request came.
            instead_of: what has held the slot until now.
        """
        self.deadline = self._started + seconds
        if not self._registry.take(self, instead_of):
            self.outcome = "refused"
            metrics.ENDED.labels("refused").inc()
            return False
        metrics.OPEN.inc()
        if (of_request := begun.get()) is not None:
            of_request.append(self)
        logger.info("%s stream started", self._line, extra={"fields": self._fields})
        return True

    def sent(self, size: int) -> None:
        """Count a chunk that goes to the server. An empty one doesn't: it is not sent, as it would mean the end."""
        if not size:
            return
        now = time.monotonic()
        if self._first is None:
            self.sending(now)
        self._bytes += size
        self._chunks += 1
        # Not for each chunk, which would cost more than the chunk itself.
        if now >= self._tell_at:
            self._tell_at = now + 1
            self._tell()

    def sending(self, now: float) -> None:
        """Take this for the time of the first byte."""
        self._first = now
        metrics.TTFB.observe(now - self._started)

    def end(
        self, outcome: Outcome, error: BaseException | None = None, status: int | None = None, **fields: object
    ) -> bool:
        """Record how it ended, or return False when it had ended before.

        Args:
            outcome: how.
            error: what the source raised.
            status: what the server sends instead of the stream's own.
            fields: more for the log.
        """
        if status is not None:
            fields["status"] = status
        with self._ending:
            if self.outcome is not None:
                return False
            self.outcome = outcome
        duration = time.monotonic() - self._started
        self._tell()
        metrics.ENDED.labels(outcome).inc()
        metrics.DURATION.labels(outcome).observe(duration)
        numbers = {
            "outcome": outcome,
            "bytes": self._bytes,
            "chunks": self._chunks,
            "duration_s": round(duration, 3),
            "ttfb_s": None if self._first is None else round(self._first - self._started, 3),
        }
        logger.log(
            _LEVELS.get(outcome, logging.WARNING),
            "%s stream %s",
            self._line if status is None else f"{self._line.rpartition(' ')[0]} {status}",
            outcome,
            extra={"fields": self._fields | numbers | fields},
            exc_info=error,
        )
        return True

    def stop(self, reason: str) -> None:
        """Break it off, from another thread: the client gets no more, and no terminating chunk."""
        if self.end("stopped", reason=reason):
            self.stopped.set()
            try:
                self._interrupt()
            finally:
                # What waits for the client was woken. Nobody may come to close what a server has lost.
                if not self.inside:
                    self.release()

    def lose(self) -> None:
        """End it where the server has dropped it, and give the slot back."""
        self.end("stopped", reason="the server did not send it")
        self.release()

    def release(self) -> None:
        """Give the slot back, as no thread serves the stream any more; twice is once."""
        if self._registry.release(self):
            metrics.OPEN.dec()

    def _tell(self) -> None:
        told, self._told = self._told, (self._bytes, self._chunks)
        metrics.BYTES.inc(self._told[0] - told[0])
        metrics.CHUNKS.inc(self._told[1] - told[1])


class Body:
    """The iterator that a WSGI server takes a stream's chunks from, in one thread.

    Not a generator: closing one that was not started runs none of its code, and the slot would be lost.
    """

    def __init__(self, stream: Stream, source: Iterator[bytes]) -> None:
        """Serve the source as a stream that has begun."""
        self._stream = stream
        self._source = source
        self._header_sent = False

    def __iter__(self) -> Self:
        """Return itself, as iterators do."""
        return self

    def __next__(self) -> bytes:
        """Return the next chunk.

        Raises:
            StopIteration: the source came to its end. Only then may the server send the terminating chunk.
            StreamStopped: the stream was broken off.
            Exception: whatever the source raised.
        """
        stream = self._stream
        current.set(stream.stopped)
        # Before it is looked at whether the stream is over: see `Stream.stop`.
        stream.inside = True
        try:
            if not stream.over:
                chunk = next(self._source)
                self._header_sent = True
                stream.sent(len(chunk))
                return chunk
        except StopIteration:
            # Unless it was broken off meanwhile: then the log says so, and so must the wire.
            if stream.end("completed"):
                raise
        except Exception as error:
            # gunicorn sends the header with the first chunk, and 500 when there is none.
            if stream.end("source_error", error, status=None if self._header_sent else 500):
                logged(error)
            if not isinstance(error, StreamStopped):
                raise
        finally:
            current.set(None)
            stream.inside = False
            if stream.outcome == "stopped":
                stream.release()
        stopped = StreamStopped("the stream was broken off")
        logged(stopped)
        raise stopped

    def close(self) -> None:
        """End it, as the server says that it takes no more; without an end before, because the client has gone.

        Or because gunicorn's sync worker took too long and is made to exit, in the midst of whatever it does.
        """
        if isinstance(sys.exception(), SystemExit):
            self._stream.end("stopped", reason="the worker was made to exit")
        self._stream.end("client_gone")
        self._stream.release()


class SentFile:
    """The file of a `FileResponse`, as a WSGI server takes it: by sendfile where it can, by reading where it can't.

    Django sets `close` to that of the response.
    """

    close: Callable[[], None]

    def __init__(self, stream: Stream, body: Body, file: IO[bytes], length: int | None) -> None:
        """Serve a file as a stream that has begun.

        Args:
            stream: its account.
            body: yields the file's bytes, for a server that reads.
            file: what is sent.
            length: bytes that the header has announced; None for the rest of the file.
        """
        self._stream = stream
        self._body = body
        self._file = file
        self._length = length
        self._start = -1

    def read(self, size: int = -1) -> bytes:
        """Return the next chunk, of whatever size; nothing at the end."""
        return next(self._body, b"")

    def fileno(self) -> int:
        """Return what sendfile reads from.

        Raises:
            OSError: it is no file of the operating system, or the stream is over: then `read` is asked, and says so.
        """
        if self._stream.over:
            raise OSError("the stream was broken off")
        number = self._file.fileno()
        if self._start < 0:
            self._start = os.lseek(number, 0, os.SEEK_CUR)
            self._stream.sending(time.monotonic())
        return number

    def seek(self, position: int) -> None:
        """Take note of what was sent: `socket.sendfile` comes here at its end, be it good or bad."""
        sent = position - self._start
        self._stream.sent(sent)
        whole = os.fstat(self._file.fileno()).st_size - self._start if self._length is None else self._length
        if sent == whole:
            self._stream.end("completed")


class AsyncBody:
    """The iterator that an ASGI server takes a stream's chunks from, in one event loop.

    When the client goes, or is hung up on, Django cancels the task that sends: at once, in this iterator or in the
    write that waits for the client.
    """

    def __init__(
        self, stream: Stream, source: AsyncGenerator[bytes, None], prepare: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve the source as a stream that has begun.

        Perhaps in a thread: there Django calls all middleware outside of one that is synchronous alone.

        Args:
            stream: its account.
            source: yields what is sent.
            prepare: is called in the event loop before the source is.
        """
        self._prepare = prepare
        self._stream = stream
        self._source = source
        self._loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> Self:
        """Return itself, as asynchronous iterators do."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk.

        Raises:
            StopAsyncIteration: the source came to its end. Only then may the server send the terminating chunk.
            StreamStopped: the stream was broken off.
            asyncio.CancelledError: the client has gone.
            Exception: whatever the source raised.
        """
        stream = self._stream
        first = self._loop is None
        self._loop = asyncio.get_running_loop()
        current.set(stream.stopped)
        stream.inside = True
        try:
            if first:
                await self._prepare()
            if not stream.over:
                chunk = await anext(self._source)
                stream.sent(len(chunk))
                return chunk
        except StopAsyncIteration:
            # Unless it was broken off meanwhile: then the log says so, and so must the wire.
            if stream.end("completed"):
                stream.release()
                raise
        except asyncio.CancelledError:
            stream.end("client_gone")
            raise
        except Exception as error:
            if stream.end("source_error", error):
                logged(error)
            # Django does not close a response that it could not send.
            stream.release()
            raise
        finally:
            stream.inside = False
            if stream.outcome == "stopped":
                stream.release()
        await self._source.aclose()
        stopped = StreamStopped("the stream was broken off")
        logged(stopped)
        raise stopped

    def close(self) -> None:
        """End it, as the server takes no more; without an end before, because the client has gone.

        Django calls this in a thread.
        """
        self._stream.end("client_gone")
        self._stream.release()
        # It may be suspended at a chunk that nobody took. One that was not started has nothing to close.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close_source, self._loop)

    def _close_source(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._source.aclose())
        # The loop itself keeps no reference, and a task may be collected before it is done.
        _closing.add(task)
        task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


def logged(error: BaseException) -> None:
    """Remember that this error has its log line, for `unlogged`."""
    with contextlib.suppress(AttributeError):
        error.logged_by_streams = True  # type: ignore[attr-defined]


def unlogged(record: logging.LogRecord) -> bool:
    """Leave out gunicorn's report that a stream broke off: the stream's own line, with its request, came before."""
    return not (record.exc_info and getattr(record.exc_info[1], "logged_by_streams", False))
