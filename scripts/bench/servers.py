"""`make servers`: what django-streamproof does under servers that it has no worker for, for operations.md.

The demo runs under each, on loopback, and each cell is what was seen there. They are installed into build/servers.
"""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from cluster import run
from cluster.run import ROOT, say
from local_edge.edge import StartFailed, free_ports, serving

_FOLDER = ROOT / "build" / "servers"
_REQUIREMENTS = ROOT / "requirements" / "other-servers.txt"
_PAGE = ROOT / "docs" / "operations.md"
_START, _END = "<!-- make servers -->\n", "<!-- end of servers -->\n"
_GRACE = 6
# WORKER_CLASS, and the command behind the name of a program in the folder. Each may take as long over its stop.
_SERVERS = {
    "gunicorn, gthread": ("gthread", "gunicorn --bind 127.0.0.1:{port} --workers 1 --graceful-timeout {grace}"),
    "gunicorn, asgi": ("asgi", "gunicorn --bind 127.0.0.1:{port} --workers 1 --graceful-timeout {grace}"),
    "uvicorn": ("asgi", "uvicorn counted.asgi:application --port {port} --timeout-graceful-shutdown {grace}"),
    "granian": (
        "asgi",
        "granian --interface asgi counted.asgi:application --port {port} --workers 1 --workers-kill-timeout {grace}",
    ),
    "hypercorn": ("asgi", "hypercorn counted.asgi:application --bind 127.0.0.1:{port} --graceful-timeout {grace}"),
    "daphne": ("asgi", "daphne -p {port} counted.asgi:application"),
    "waitress": ("gthread", "waitress-serve --listen=127.0.0.1:{port} --threads=8 counted.wsgi:application"),
    "uwsgi": (
        "gthread",
        "uwsgi --http 127.0.0.1:{port} --http-auto-chunked --module counted.wsgi:application --master --threads 8"
        " --die-on-term --worker-reload-mercy {grace}",
    ),
}
_LAST_CHUNK = b"0\r\n\r\n"
_NEVER = 20.0


@dataclass
class _Server:
    """A server that runs."""

    port: int
    process: subprocess.Popen[bytes]

    def ask(self, path: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=_NEVER)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return client

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_NEVER)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def open_streams(self) -> float:
        lines = self.get("/counted")[1].splitlines()
        return float(dict(line.rsplit(" ", 1) for line in lines)["streams_open"])


@contextlib.contextmanager
def _running(name: str, **environment: str) -> Iterator[_Server]:
    worker, command = _SERVERS[name]
    (port,) = free_ports(1)
    program, *arguments = command.format(port=port, grace=_GRACE).split()
    path = os.pathsep.join(str(ROOT / folder) for folder in ("app/django-streamproof", "scripts/bench/reference"))
    env = {"PYTHONPATH": path, "WORKER_CLASS": worker, "DJANGO_SETTINGS_MODULE": "counted.settings"} | environment
    argv = [str(_FOLDER / "bin" / program), *arguments]
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(program, argv, ROOT / "app", Path(folder), f"http://127.0.0.1:{port}", env) as process,
    ):
        yield _Server(port, process)


def _until(true: Callable[[], bool], seconds: float = _NEVER) -> float | None:
    """Return how long it took until something was so; None for longer than so many seconds."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        time.sleep(0.1)
    return None


def _rest(client: socket.socket) -> tuple[bytes, bool]:
    """Return what still comes, and whether the connection is closed then, or left open for as long as is waited."""
    came = b""
    try:
        while part := client.recv(65536):
            came += part
    except TimeoutError:
        return came, False
    except OSError:
        pass
    return came, True


def _end(came: bytes, closed: bool) -> str:
    if came.endswith(_LAST_CHUNK):
        return "looks complete"
    return "cut" if closed else "no more comes, and it is not closed"


def _slot(name: str) -> str:
    with _running(name, STREAMS_PER_WORKER="2") as server, contextlib.ExitStack() as stack:
        answers = []
        for _ in range(3):
            client = stack.enter_context(contextlib.closing(server.ask("/measure?rows=100&delay_ms=200")))
            answers.append(client.recv(12)[-3:].decode())
    return {"200 200 503": "yes", "200 200 200": "no"}.get(" ".join(answers), " ".join(answers))


def _time_limit(name: str) -> str:
    """Ask a stream that goes on, one whose source waits, and one whose client does not read."""
    with _running(name, STREAM_SECONDS="3") as server:
        cells = []
        for path in ("/measure?rows=200&delay_ms=100", "/measure?rows=3&delay_ms=15000"):
            began = time.monotonic()
            with contextlib.closing(server.ask(path)) as client:
                came, closed = _rest(client)
            seconds = time.monotonic() - began - (0 if closed else _NEVER)
            late = "" if seconds < 6 else f" after {seconds:.0f} s"
            cells.append(_end(came, closed) + late)
        with contextlib.closing(server.ask("/download_csv_streaming?rows=10000000")) as client:
            client.recv(1)
            seconds_free = _until(lambda: server.open_streams() == 0)
        late = "" if seconds_free is None or seconds_free < 6 else f" after {seconds_free:.0f} s"
        kept = f"kept for {_NEVER:.0f} s" if seconds_free is None else f"free{late}"
    return f"{cells[0]}; waiting source: {cells[1]}; slot of a client that does not read: {kept}"


def _honest_end(name: str) -> str:
    with _running(name) as server:
        with contextlib.closing(server.ask("/measure?rows=3&delay_ms=0")) as client:
            whole, _ = _rest(client)
        with contextlib.closing(server.ask("/measure?rows=5&delay_ms=100&fail_after=3")) as client:
            failed, closed = _rest(client)
    if not whole.endswith(_LAST_CHUNK):
        return "no last chunk at all"
    end = _end(failed, closed)
    return "yes" if end == "cut" else end


def _client_gone(name: str) -> str:
    with _running(name) as server:
        client = server.ask("/measure?rows=10&delay_ms=6000")
        client.recv(1)
        _until(lambda: server.open_streams() == 1)
        client.close()
        seconds = _until(lambda: server.open_streams() == 0)
    if seconds is None:
        return f"not within {_NEVER:.0f} s"
    return "at once" if seconds < 2 else f"after {seconds:.0f} s, with rows 6 s apart"


def _drain(name: str) -> str:
    with _running(name) as server:
        short, long = server.ask("/measure?rows=20&delay_ms=150"), server.ask("/measure?rows=500&delay_ms=150")
        for client in (short, long):
            client.recv(1)
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        ended, _ = _rest(short)
        cut, closed = _rest(long)
        seconds = time.monotonic() - began
        stopped = _until(lambda: server.process.poll() is not None)
    first = "3 s stream whole" if ended.endswith(_LAST_CHUNK) else "3 s stream cut"
    seconds -= 0 if closed else _NEVER
    return f"{first}; 75 s stream {_end(cut, closed)} after {seconds:.0f} s" + (
        "" if stopped is not None else "; does not stop"
    )


_QUESTIONS = {
    "slot": _slot,
    "time limit": _time_limit,
    "honest end": _honest_end,
    "client gone noticed": _client_gone,
    "drain": _drain,
}


@click.command(help=__doc__)
def main() -> None:
    """Install the servers, ask each, and write the table."""
    if not (_FOLDER / "bin" / "uwsgi").exists():
        run.step("Make a venv for the servers", sys.executable, "-m", "venv", "--clear", _FOLDER)
        pip = (_FOLDER / "bin" / "python", "-m", "pip", "install", "--require-hashes", "-r", _REQUIREMENTS)
        run.step("Install the servers", *pip)
    lines = [f"| | {' | '.join(_QUESTIONS)} |\n", "| --- |" + " --- |" * len(_QUESTIONS) + "\n"]
    for name, (_, command) in _SERVERS.items():
        version = run.output(_FOLDER / "bin" / "python", "-c", _VERSION, command.partition(" ")[0])
        cells = []
        for title, question in _QUESTIONS.items():
            cells.append(question(name))
            say(f" • {name}: {title}: {cells[-1]}")
        lines.append(f"| {name} {version} | {' | '.join(cells)} |\n")
    before, _, rest = _PAGE.read_text().partition(_START)
    _PAGE.write_text(f"{before}{_START}{''.join(lines)}{_END}{rest.partition(_END)[2]}")


_VERSION = "import sys; from importlib import metadata; print(metadata.version(sys.argv[1].removesuffix('-serve')))"

if __name__ == "__main__":
    run.main(main, "`make servers` begins again", StartFailed)
