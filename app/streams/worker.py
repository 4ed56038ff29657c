"""gunicorn's threaded worker, for responses that stream."""

import os
from types import FrameType
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from streams.registry import registry

# Kept free for short requests, the probes among them, as far as there are enough threads.
_FREE_THREADS = 4
# Before gunicorn's own graceful timeout: it would cut what is left then without a word.
_SECONDS_BEFORE = 2


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread with a bound on streams, which breaks off and logs what it cannot finish before it goes.

    A class and not hooks in gunicorn.conf.py, as there is none for SIGTERM in a worker.
    """

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Stop gunicorn with a sentence when STREAMS_PER_WORKER cannot be kept, before any worker starts."""
        super().check_config(cfg, log)
        bound(cfg.threads, os.environ.get("STREAMS_PER_WORKER"))

    def init_process(self) -> None:
        """Set the bound in the worker's own process, and run."""
        registry.limit = bound(self.cfg.threads, os.environ.get("STREAMS_PER_WORKER"))
        super().init_process()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM: /readyz fails from now on, and what still streams shortly before the end is broken off."""
        seconds = self.cfg.graceful_timeout
        registry.stop_within(seconds - min(_SECONDS_BEFORE, seconds / 2))
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGQUIT and SIGINT: break off all streams at once, with a log line each."""
        registry.stop_within(0)
        super().handle_quit(sig, frame)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Count a connection off once.

        gunicorn 27.0.1 closes the socket of a response that broke off in its thread. Closing it again, here, fails, and
        it counts the connection off a second time. After some broken streams it takes itself for idle, and after
        SIGTERM it ends its main loop at once, though other streams are in flight.
        """
        if conn.sock.fileno() == -1:
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Refuse new connections once the worker is stopping.

        gunicorn keeps its listening sockets open until the last stream is over. The kernel goes on completing
        connections into them, which nobody accepts: they hang and are reset. Refused at once, the edge takes another
        pod. In the main loop this is called between events, so none of them is for a socket that is closed here.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()


def bound(threads: int, asked: str | None) -> int:
    """Return how many streams a worker with so many threads may have open.

    Args:
        threads: gunicorn's setting.
        asked: the value of STREAMS_PER_WORKER. Without one, all threads but four, and at least half of them.

    Raises:
        RuntimeError: no thread would be left for the probes; gunicorn prints the sentence and ends.
    """
    if asked is None:
        streams = max(threads - _FREE_THREADS, threads // 2)
        if streams < 1:
            raise RuntimeError(f"threads is {threads}, but must be at least 2: one for a stream, one for the probes.")
        return streams
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 6 and 1 <= int(asked) < threads):
        raise RuntimeError(
            f"STREAMS_PER_WORKER is {asked!r}, but must be a whole number from 1 to {threads - 1}, "
            f"less than gunicorn's threads, which are {threads}."
        )
    return int(asked)
