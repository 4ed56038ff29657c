"""gunicorn's settings: those of django-streamproof, and a worker that is there to be shown its limits."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")

# One request at a time, by WSGI. The package has no such worker, as it is not for streams.
_sync = os.environ.get("WORKER_CLASS") == "sync"
if _sync:
    del os.environ["WORKER_CLASS"]

from django_streamproof.gunicorn import *  # noqa: E402, F403

if _sync:
    os.environ["WORKER_CLASS"] = "sync"
    worker_class, threads = "streaming.one_at_a_time.OneAtATime", 1
