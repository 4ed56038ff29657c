"""gunicorn's settings, read from the working directory (https://docs.gunicorn.org/en/stable/settings.html).

Each can be overridden by the command line or by GUNICORN_CMD_ARGS, such as GUNICORN_CMD_ARGS="--threads 32".
"""

from pathlib import Path

# Within a pod: the Service, and so the edge, connects to the pod's address.
bind = "0.0.0.0:8000"

# A thread each for every open stream. The sync worker would be killed in the middle of a stream longer than `timeout`.
worker_class = "gthread"
# More than one, so that one that dies doesn't take all streams with it; 2 x 16 is the number of streams at a time.
workers = 2
threads = 16

# Seconds without a sign of life from a worker until it is killed. With gthread, a stream may take longer than that.
timeout = 30
# Seconds that streams in flight have to end after SIGTERM: what Kubernetes grants a pod by default.
graceful_timeout = 30
# Seconds that an idle connection is kept: longer than the edge keeps it (60 in ingress-nginx), so that the edge never
# sends a request into one that is just being closed. With gunicorn's own 2 seconds that makes 502s.
keepalive = 75

# Workers give their sign of life through a file. This is memory: no disk to block on, and it can be written to where
# the root file system is read-only. macOS has none.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# It would be made in the home directory, which cannot be written to in the image; nothing here uses it.
control_socket_disable = True

# To standard output, with what a stream is about: bytes and milliseconds. Errors go to standard error.
accesslog = "-"
access_log_format = '%(t)s %(h)s "%(r)s" %(s)s %(B)s bytes %(M)s ms'
