"""The streams that a worker has open: how many there may be, and when each must be over.

Nothing of Django, gunicorn or Prometheus is in here, so that gunicorn's master can import it before it forks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger("streams")


class StreamStopped(Exception):
    """A stream was broken off: its time was up, or the worker is going. Never a source's own error."""


@dataclass(frozen=True, eq=False)
class Mark:
    """What a view asks for by `streaming`."""

    limit: int | None
    seconds: float | None


class Held(Protocol):
    """What the registry needs of a stream.

    Attributes:
        deadline: when it must be over, by the monotonic clock.
        over: whether it has ended, in whatever way; it may hold its thread for a while longer.
        mark: that of its view.
    """

    deadline: float
    mark: Mark | None

    @property
    def over(self) -> bool: ...  # noqa: D102

    def stop(self, reason: str) -> None: ...  # noqa: D102

    def lose(self) -> None: ...  # noqa: D102


class Place:
    """What holds a slot and is no stream: a view that runs, or its answer in one piece, until that is sent."""

    def __init__(
        self,
        registry: Registry,
        mark: Mark | None = None,
        deadline: float = float("inf"),
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        """Describe one that has no slot yet; without `interrupt` it is not broken off."""
        self.deadline = deadline
        self.mark = mark
        self.over = interrupt is None
        self._registry = registry
        self._interrupt = interrupt

    def stop(self, reason: str) -> None:
        """Hang up on a client that does not read."""
        self.over = True
        if self._interrupt is not None:
            self._interrupt()
        self.lose()

    def lose(self) -> None:
        """Give the slot back; twice is once."""
        self._registry.release(self)


class Registry:
    """Slots for streams, and a thread that breaks off those whose time is up.

    That takes a thread: the one that serves the stream may be waiting for its source, or for a client that doesn't
    read, and would find out long after.

    Attributes:
        limit: how many streams may be open at a time; None, as outside of gunicorn, for any number.
    """

    def __init__(self) -> None:
        """Begin without a limit, without streams and without a thread."""
        self.limit: int | None = None
        # Reentrant: a signal handler may come here while the same thread holds it.
        self._changed = threading.Condition(threading.RLock())
        self._held: set[Held] = set()
        self._stop_at: float | None = None
        self._watcher: threading.Thread | None = None
        self._wake_at = float("inf")

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to go."""
        return self._stop_at is not None

    def take(self, stream: Held, instead_of: Held | None = None) -> bool:
        """Give a stream a slot, or return False when all are taken, or all that its view may have.

        Args:
            stream: what takes one.
            instead_of: what has held the slot until now.
        """
        with self._changed:
            if instead_of is not None and instead_of in self._held:
                self._held.discard(instead_of)
            elif self._full(stream.mark):
                return False
            # Only now, as a thread doesn't survive gunicorn's fork.
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch, name="stream-deadlines", daemon=True)
                watcher.start()
                self._watcher = watcher
            self._held.add(stream)
            # Waking it up for each of thousands of streams would cost more than the streams.
            if self._deadline(stream) < self._wake_at:
                self._changed.notify()
            return True

    def release(self, stream: Held) -> bool:
        """Take a slot back, or return False when it had none."""
        with self._changed:
            held = stream in self._held
            self._held.discard(stream)
            return held

    def _full(self, mark: Mark | None) -> bool:
        if self.limit is not None and len(self._held) >= self.limit:
            return True
        return (
            mark is not None and mark.limit is not None and sum(held.mark is mark for held in self._held) >= mark.limit
        )

    def stop_within(self, seconds: float) -> None:
        """Let streams end by themselves for so long, and break off those that are left then."""
        with self._changed:
            stop_at = time.monotonic() + seconds
            self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                running = [stream for stream in self._held if not stream.over]
                late = [stream for stream in running if self._deadline(stream) <= now]
                if not late:
                    self._wake_at = min(map(self._deadline, running), default=float("inf"))
                    self._changed.wait(None if self._wake_at == float("inf") else self._wake_at - now)
                    self._wake_at = float("-inf")
            # Without the lock: this writes a log line, and whoever reads the log may be slow.
            for stream in late:
                try:
                    stream.stop("its time was up" if stream.deadline <= now else "the worker is going")
                except Exception:
                    # No stream would ever be stopped again if this thread ended.
                    logger.exception("a stream could not be stopped")
                    self.release(stream)

    def _deadline(self, stream: Held) -> float:
        return stream.deadline if self._stop_at is None else min(stream.deadline, self._stop_at)


registry = Registry()
"""That of this process."""

current: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)
"""The event of the stream whose source runs here; a variable of the context, as that is copied into other threads."""


begun: ContextVar[list[Held] | None] = ContextVar("begun", default=None)
"""The streams that began with the request that is served here, where a server asks for them by `of_request`."""


@contextlib.contextmanager
def of_request() -> Iterator[None]:
    """Give back, when the server is done with a request, the slots of streams that it has not closed.

    A server that cannot send the header closes no response, nor does Django one that a middleware replaces. The workers
    do this; elsewhere such a slot is free when the stream's time is up.
    """
    streams: list[Held] = []
    begun.set(streams)
    try:
        yield
    finally:
        begun.set(None)
        for stream in streams:
            stream.lose()


def pause(seconds: float) -> None:
    """Wait, as `time.sleep` does, but no longer than the stream that this is the source of.

    For sources that wait: one in `time.sleep` holds its thread until that is over, though its stream has ended. A
    source that blocks elsewhere, as in a query, needs a timeout of its own.

    Raises:
        StreamStopped: the stream was broken off meanwhile.
    """
    stopped = current.get()
    if stopped is None:
        time.sleep(seconds)
    elif stopped.wait(seconds):
        raise StreamStopped("the stream was broken off in a pause of its source")
