"""The streams that a worker has open: how many there may be, and when each must be over.

Nothing of Django, gunicorn or Prometheus is in here, so that gunicorn's master can import it before it forks.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol


class StreamStopped(Exception):
    """A stream was broken off: its time was up, or the worker is going. Never a source's own error."""


class Held(Protocol):
    """What the registry needs of a stream.

    Attributes:
        deadline: when it must be over, by the monotonic clock.
        over: whether it has ended, in whatever way; it may hold its thread for a while longer.
    """

    deadline: float

    @property
    def over(self) -> bool: ...  # noqa: D102

    def stop(self, reason: str) -> None: ...  # noqa: D102


class _Place:
    """What holds a slot and is no stream."""

    deadline = float("inf")
    over = True

    def stop(self, reason: str) -> None:
        """Do nothing: to the registry it is over."""


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

    def take(self, stream: Held) -> bool:
        """Give a stream a slot, or return False when all are taken."""
        with self._changed:
            if self.limit is not None and len(self._held) >= self.limit:
                return False
            self._held.add(stream)
            # Only now, as a thread doesn't survive gunicorn's fork.
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="stream-deadlines", daemon=True)
                self._watcher.start()
            # Waking it up for each of thousands of streams would cost more than the streams.
            if self._deadline(stream) < self._wake_at:
                self._changed.notify()
            return True

    def release(self, stream: Held) -> None:
        """Take a slot back; twice is once."""
        with self._changed:
            self._held.discard(stream)

    @contextlib.contextmanager
    def slot(self) -> Iterator[bool]:
        """Hold a slot without a stream, or yield False when all are taken. It is not broken off."""
        place = _Place()
        free = self.take(place)
        try:
            yield free
        finally:
            self.release(place)

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
                stream.stop("its time was up" if stream.deadline <= now else "the worker is going")

    def _deadline(self, stream: Held) -> float:
        return stream.deadline if self._stop_at is None else min(stream.deadline, self._stop_at)


registry = Registry()
"""That of this process."""

current = threading.local()
"""Its attribute `stopped` is the event of the stream that this thread serves."""


def pause(seconds: float) -> None:
    """Wait, as `time.sleep` does, but no longer than the stream that this is the source of.

    For sources that wait: one in `time.sleep` holds its thread until that is over, though its stream has ended. A
    source that blocks elsewhere, as in a query, needs a timeout of its own.

    Raises:
        StreamStopped: the stream was broken off meanwhile.
    """
    stopped: threading.Event | None = getattr(current, "stopped", None)
    if stopped is None:
        time.sleep(seconds)
    elif stopped.wait(seconds):
        raise StreamStopped("the stream was broken off in a pause of its source")
