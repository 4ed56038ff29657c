"""gunicorn's settings, read from the working directory (https://docs.gunicorn.org/en/stable/settings.html).

Each can be overridden by the command line or by GUNICORN_CMD_ARGS, such as GUNICORN_CMD_ARGS="--threads 32".
It serves any Django project that is laid out as startproject does: DJANGO_SETTINGS_MODULE says which, as in manage.py.

Environment, beside what streams.environment reads:
    WORKER_CLASS: how a worker serves streams.
        gthread, the default: a thread for each of them, by WSGI.
        asgi: one event loop for all of them, by ASGI.
        sync: one request at a time, by WSGI, to be shown why that is not for streams.
    STREAMS_PER_WORKER: how many streams a worker may have open. With gthread less than its threads, by default all but
        four of them, and at least half; with asgi 500 by default.
    FORWARDED_ALLOW_IPS: from which peers X-Forwarded-Proto is believed; gunicorn reads it by itself. It never takes
        REMOTE_ADDR from X-Forwarded-For: streams.requests does, for the log.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gunicorn
from django.core.exceptions import ImproperlyConfigured


def _share_metrics() -> None:
    """Name the folder through which the workers add up their metrics, before anything imports prometheus_client.

    Three files for each worker, each 64 KiB long, of which only the pages in use take up memory: 4 or 8 KiB. Those of a
    worker that died stay, as its counts do. So the chart's 16 MiB in /tmp last for more than a thousand workers.
    A folder that the environment names is used as it is. This file is read again at SIGHUP, when the folder stays, and
    by the new master after SIGUSR2, which needs one of its own.
    """
    pid = os.getpid()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and (not _FIRST or "STREAMS_MASTER" not in os.environ):
        Path(folder).mkdir(parents=True, exist_ok=True)
        return
    if "prometheus_client" in sys.modules:
        sys.exit(
            "Error: prometheus_client was imported before gunicorn.conf.py, so each worker would count for itself:"
            " import it later, or set PROMETHEUS_MULTIPROC_DIR to an empty folder."
        )
    folder = tempfile.mkdtemp(prefix="metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    atexit.register(_remove, folder, pid)


def _remove(folder: str, pid: int) -> None:
    # Workers are forked with this, and exit too.
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


# Whether the master starts, and does not reload. After SIGUSR2 there is a new one.
_FIRST = os.environ.get("STREAMS_MASTER") != str(os.getpid())
_share_metrics()
os.environ["STREAMS_MASTER"] = str(os.getpid())

_SETTINGS = os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")
_PROJECT = _SETTINGS.partition(".")[0]

# Read before any worker: a value that can't be used ends gunicorn with one sentence.
try:
    from streams import environment, logs, support

    support.check_gunicorn(gunicorn.__version__)
except (ImproperlyConfigured, RuntimeError) as error:
    sys.exit(f"Error: {error}")

_READ_SETTINGS = """
import importlib, sys
from django.core.exceptions import ImproperlyConfigured
try:
    importlib.import_module(sys.argv[1])
except ImproperlyConfigured as error:
    sys.exit(f"Error: {error}")
"""
# The project's settings in a process of their own: in the master, what they start would be forked, and a reload would
# keep the old ones. Not again at a reload, where an error would end the master, and with it all streams.
if _FIRST:
    read = [sys.executable, "-c", _READ_SETTINGS, _SETTINGS]
    path = os.pathsep.join(part for part in sys.path if part)
    if subprocess.run(read, env=os.environ | {"PYTHONPATH": path}).returncode:
        sys.exit(1)

# Within a pod: the Service, and so the edge, connects to the pod's address.
bind = "0.0.0.0:8000"

# The ASGI worker is gunicorn's own: the same master, signals, settings and logs as the others, and no further package.
# Sync would be killed in the middle of a stream longer than `timeout`.
_WORKERS = {
    "gthread": ("streams.workers.Threads", f"{_PROJECT}.wsgi"),
    "asgi": ("streams.workers.EventLoop", f"{_PROJECT}.asgi"),
    "sync": ("streams.workers.OneAtATime", f"{_PROJECT}.wsgi"),
}
worker_class, wsgi_app = _WORKERS[environment.WORKER_CLASS]
# Django has nothing to do at an ASGI server's start and end.
asgi_lifespan = "off"
# More than one, so that one that dies doesn't take all streams with it; 2 x 12 is the number of streams at a time.
workers = 2
threads = 16 if environment.WORKER_CLASS == "gthread" else 1
# max_requests stays unset: a worker that reached it would end as after SIGTERM, and break off every stream that is
# longer than graceful_timeout, at a moment that nobody chose.

# Seconds without a sign of life from a worker until it is killed. With gthread, a stream may take longer than that.
timeout = 30
# Seconds that streams in flight have to end after SIGTERM: what Kubernetes grants a pod by default.
graceful_timeout = 30
# Seconds that an idle connection is kept: longer than the edge keeps it (60 in ingress-nginx), so that the edge never
# sends a request into one that is just being closed. With gunicorn's own 2 seconds that makes 502s.
keepalive = 75

# gunicorn's default lets whoever comes through a trusted edge set SCRIPT_NAME and PATH_INFO, as some edges pass
# on headers with underscores. A route that allows a part of the paths would then allow all.
forwarder_headers = ""

# Workers give their sign of life through a file. This is memory: no disk to block on, and it can be written to where
# the root file system is read-only. macOS has none.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# It would be made in the home directory, which cannot be written to in the image; nothing here uses it.
control_socket_disable = True

# gunicorn's lines in the form of all others. The access log is the line of streams.requests.
logconfig_dict = logs.config(mail=False)


def child_exit(server: Any, worker: Any) -> None:
    """Forget the streams that a worker had open when it died."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
