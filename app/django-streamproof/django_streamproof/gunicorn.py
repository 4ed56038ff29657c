"""gunicorn's settings for a Django project (https://docs.gunicorn.org/en/stable/settings.html).

A project's gunicorn.conf.py names its settings, as its manage.py does, and takes these; what follows there goes first:

    import os
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django_streamproof.gunicorn import *

Each can also be overridden by the command line or by GUNICORN_CMD_ARGS, such as GUNICORN_CMD_ARGS="--threads 32".

Environment, besides what django_streamproof.conf reads:
    WORKER_CLASS: how a worker serves streams.
        gthread, the default: a thread for each of them, by the project's WSGI_APPLICATION.
        asgi: one event loop for all of them, by its ASGI_APPLICATION, or asgi.py next to wsgi.py.
    PROMETHEUS_MULTIPROC_DIR: the folder through which the workers add up their metrics, a temporary one by default.
    METRICS_FOLDER: where that temporary one is made, the folder for temporary files by default. Django spools uploads
        there, and on a full disk that is memory a worker that counts is killed.

It never takes REMOTE_ADDR from X-Forwarded-For: django_streamproof.requests does, for the log.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# This is imported again at each reload.


def _share_metrics() -> None:
    """Name the folder through which the workers add up their metrics, before anything imports prometheus_client.

    Three files for each worker, each 64 KiB long, of which only the pages in use take up memory: 4 or 8 KiB. Those of a
    worker that died stay, as its counts do. So the chart's 16 MiB last for more than a thousand workers.
    A folder that the environment names is used as it is, but for one that this made in the old master: after SIGUSR2
    the new one needs its own.
    """
    folder, made = (os.environ.get(name) for name in ("PROMETHEUS_MULTIPROC_DIR", "STREAMS_METRICS"))
    prefix = f"metrics-{os.getpid()}-"
    if folder and (folder != made or Path(folder).name.startswith(prefix)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        return
    if "prometheus_client" in sys.modules:
        sys.exit(
            "Error: prometheus_client was imported before gunicorn.conf.py, so each worker would count for itself:"
            " import it later, or set PROMETHEUS_MULTIPROC_DIR to an empty folder."
        )
    folder = tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("METRICS_FOLDER"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["STREAMS_METRICS"] = folder
    atexit.register(_remove, folder, os.getpid())


def _remove(folder: str, pid: int) -> None:
    # Workers are forked with this, and exit too.
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


_share_metrics()

try:
    from django_streamproof import logs as _logs
    from django_streamproof import support as _support

    _support.check_names()
except ImportError as error:
    sys.exit(f"Error: {error}")
_worker = os.environ.get("WORKER_CLASS", "gthread")
if _worker not in ("gthread", "asgi"):
    sys.exit(f"Error: WORKER_CLASS is {_worker!r}, but must be gthread or asgi.")
if "DJANGO_SETTINGS_MODULE" not in os.environ:
    sys.exit(
        "Error: DJANGO_SETTINGS_MODULE is not set: set it in gunicorn.conf.py, before the import, as in manage.py."
    )


def _in_a_process(function: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call a function of django_streamproof.project that imports what is the project's.

    In the master, what that starts would be forked, and a reload would keep the old code.
    """
    code = f"from django_streamproof import project; project.{function}()"
    path = os.pathsep.join([part for part in sys.path if part] + [str(Path.cwd())])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


_read = _in_a_process("tell")
sys.stderr.write(_read.stderr)
if _read.returncode:
    sys.exit(1)
_project = json.loads(_read.stdout)

wsgi_app = _project["applications"][_worker]
# X-Forwarded-Proto is believed from these.
forwarded_allow_ips = _project["trusted_edges"]
# Within a pod: the Service, and so the edge, connects to the pod's address.
bind = ["0.0.0.0:8000", f"0.0.0.0:{_project['metrics_port']}"]

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
logconfig_dict = _logs.config(_project["log_format"], mail=False)


def child_exit(server: Any, worker: Any) -> None:
    """Forget the streams that a worker had open when it died."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_starting(server: Any) -> None:
    """Check what needs all settings of gunicorn, and see to it that a reload that cannot succeed is none.

    Raises:
        RuntimeError: STREAMS_PER_WORKER does not go with the threads; gunicorn prints the sentence and ends.
    """
    if limit := getattr(server.cfg.worker_class, "limit", None):
        limit(server.cfg, _project["streams_per_worker"])
    reload = server.handle_hup

    def handle_hup() -> None:
        """Reload, unless the new workers would not start: then gunicorn would end, and with it all streams."""
        tried = _in_a_process("load", *sys.argv[1:])
        if tried.returncode:
            why = tried.stderr.strip().rpartition("\n")[2].removeprefix("Error: ")
            server.log.error("Not reloaded, the workers stay as they are: %s", why)
            return
        sys.modules.pop(__name__, None)
        reload()

    server.handle_hup = handle_hup
