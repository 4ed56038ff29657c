"""A worker that is there to be shown its limits."""

from typing import Any

from django_streamproof.workers import Stopping
from gunicorn.workers.sync import SyncWorker


class OneAtATime(Stopping, SyncWorker):  # type: ignore[misc]
    """gunicorn's sync worker, to be shown its limits: not for streams.

    It serves one request at a time, so a stream holds up all others, and probes. While it writes it gives no sign of
    life, so a stream that is longer than `timeout` is cut.
    """

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Stop gunicorn with a sentence when it is given threads: a worker named sync would become a gthread one."""
        if cfg.threads != 1:
            raise RuntimeError(f"threads is {cfg.threads}, but the sync worker has none: leave --threads out.")
