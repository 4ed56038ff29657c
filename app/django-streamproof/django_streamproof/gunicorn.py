"""gunicorn's settings for a Django project (https://docs.gunicorn.org/en/stable/settings.html).

A project's gunicorn.conf.py names its settings, as its manage.py does, and takes these; what follows there goes first:

    import os
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django_streamproof.gunicorn import *

Each can also be overridden by the command line or by GUNICORN_CMD_ARGS, such as GUNICORN_CMD_ARGS="--threads 32".

Environment, besides what django_streamproof.environment reads:
    WORKER_CLASS: how a worker serves streams.
        gthread, the default: a thread for each of them, by the project's WSGI_APPLICATION.
        asgi: one event loop for all of them, by its ASGI_APPLICATION, or asgi.py next to wsgi.py.
    STREAMS_PER_WORKER: how many streams a worker may have open. With gthread less than its threads, by default all but
        four of them, and at least half; with asgi 500 by default.
    FORWARDED_ALLOW_IPS: from which peers X-Forwarded-Proto is believed; gunicorn reads it by itself. It never takes
        REMOTE_ADDR from X-Forwarded-For: django_streamproof.requests does, for the log.
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

# This is imported once in a process: a reload reads the project's gunicorn.conf.py again, and not this.


def _share_metrics() -> None:
    """Name the folder through which the workers add up their metrics, before anything imports prometheus_client.

    Three files for each worker, each 64 KiB long, of which only the pages in use take up memory: 4 or 8 KiB. Those of a
    worker that died stay, as its counts do. So the chart's 16 MiB in /tmp last for more than a thousand workers.
    A folder that the environment names is used as it is, but for one that this made in the old master: after SIGUSR2
    the new one needs its own.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and folder != os.environ.get("STREAMS_METRICS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        return
    if "prometheus_client" in sys.modules:
        sys.exit(
            "Error: prometheus_client was imported before gunicorn.conf.py, so each worker would count for itself:"
            " import it later, or set PROMETHEUS_MULTIPROC_DIR to an empty folder."
        )
    folder = tempfile.mkdtemp(prefix="metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["STREAMS_METRICS"] = folder
    atexit.register(_remove, folder, os.getpid())


def _remove(folder: str, pid: int) -> None:
    # Workers are forked with this, and exit too.
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


_share_metrics()

# Read before any worker: a value that can't be used ends gunicorn with one sentence.
try:
    from django_streamproof import environment as _environment
    from django_streamproof import logs as _logs
    from django_streamproof import support as _support

    _support.check_gunicorn(gunicorn.__version__)
    _worker = _environment.choice("WORKER_CLASS", "gthread", "asgi")
except (ImproperlyConfigured, RuntimeError) as error:
    sys.exit(f"Error: {error}")
if "DJANGO_SETTINGS_MODULE" not in os.environ:
    sys.exit(
        "Error: DJANGO_SETTINGS_MODULE is not set: set it in gunicorn.conf.py, before the import, as in manage.py."
    )

_READ_SETTINGS = """
import importlib, sys
from django.core.exceptions import ImproperlyConfigured
told, sys.stdout = sys.stdout, sys.stderr
try:
    settings = importlib.import_module(sys.argv[1])
except ImproperlyConfigured as error:
    sys.exit(f"Error: {error}")
wsgi = getattr(settings, "WSGI_APPLICATION", None) or sys.argv[1].rpartition(".")[0] + ".wsgi.application"
asgi = getattr(settings, "ASGI_APPLICATION", None) or wsgi.rpartition(".wsgi.")[0] + ".asgi.application"
print({"gthread": wsgi, "asgi": asgi}[sys.argv[2]], file=told)
"""


def _application() -> str:
    """Return what serves the project, by its settings.

    Those are read in a process of their own: in the master, what they start would be forked, and a reload would keep
    the old ones.
    """
    read = [sys.executable, "-c", _READ_SETTINGS, os.environ["DJANGO_SETTINGS_MODULE"], _worker]
    path = os.pathsep.join([part for part in sys.path if part] + [str(Path.cwd())])
    done = subprocess.run(read, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(1)
    module, _, name = done.stdout.strip().rpartition(".")
    return f"{module}:{name}"


wsgi_app = _application()
# Within a pod: the Service, and so the edge, connects to the pod's address.
bind = "0.0.0.0:8000"

# The ASGI worker is gunicorn's own: the same master, signals, settings and logs as the others, and no further package.
worker_class = {
    "gthread": "django_streamproof.workers.Threads",
    "asgi": "django_streamproof.workers.EventLoop",
}[_worker]
# Django has nothing to do at an ASGI server's start and end.
asgi_lifespan = "off"
# More than one, so that one that dies doesn't take all streams with it; 2 x 12 is the number of streams at a time.
workers = 2
threads = 16 if _worker == "gthread" else 1
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

# gunicorn's lines in the form of all others. The access log is the line of django_streamproof.requests.
logconfig_dict = _logs.config(mail=False)


def child_exit(server: Any, worker: Any) -> None:
    """Forget the streams that a worker had open when it died."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
