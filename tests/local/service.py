"""A gunicorn with the app that a test starts, asks and ends."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

APP = Path(__file__).parents[2] / "app"
WORKERS = ("gthread", "asgi")


class Service:
    """gunicorn with the app, one worker, and what it logged.

    Args:
        folder: for the log and what is temporary.
        args: for gunicorn.
        worker: the value of WORKER_CLASS.
        streams: how many may be open at a time, 1 to 4; twice as many threads where there are threads.
        app: instead of ours.
        project: folder of the Django project.
        environment: further variables.
    """

    def __init__(
        self,
        folder: Path,
        *args: str,
        worker: str = "gthread",
        streams: int = 2,
        app: str | None = None,
        project: Path = APP,
        **environment: str,
    ) -> None:
        self.worker_class = worker
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as also:
            self.port, self.metrics_port = free.getsockname()[1], also.getsockname()[1]
        self._log = folder / f"{self.port}.log"
        ours = ("DJANGO_", "STREAM", "LOG_FORMAT", "FORWARDED_", "METRICS_", "PROMETHEUS_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env |= {"TMPDIR": str(folder), "WORKER_CLASS": worker, "METRICS_PORT": str(self.metrics_port)}
        binds = [f"--bind=127.0.0.1:{port}" for port in (self.port, self.metrics_port)]
        few = ["--workers", "1", *([app] if app else [])]
        if worker == "gthread":
            few += ["--threads", str(2 * streams)]
        elif worker == "asgi":
            env["STREAMS_PER_WORKER"] = str(streams)
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *binds, *few, *args],
                cwd=project,
                env=env | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def wait_until_up(self) -> None:
        def up() -> bool:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(OSError):
                return bool(self.get("/livez")[0])
            return False

        until(up, 60)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    def ended(self, outcome: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("outcome") == outcome]

    def ask(self, path: str, **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        return connection

    def open(self, path: str, **headers: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self.ask(path, **headers)
        return connection, connection.getresponse()

    def get(self, path: str, timeout: float = 5, **headers: str) -> tuple[int, str]:
        port = self.metrics_port if path == "/metrics" else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"} | headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def get_bytes(self, path: str) -> int:
        """Return how long a body is, however large."""
        connection, response = self.open(path, Connection="close")
        with contextlib.closing(connection):
            return len(response.read())

    def metric(self, name: str) -> float:
        return float(dict(line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines()).get(name, 0))

    @property
    def worker(self) -> int:
        """The process id of the worker."""
        (worker,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(worker)

    def peak(self) -> int:
        """Return the most bytes that the worker has ever had in memory."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.worker}/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) << 10

    def cpu_seconds(self) -> float:
        """Return how long the worker has kept a processor busy."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def until(true: Callable[[], object], seconds: float = 10) -> float:
    """Wait until something is so, and return how long that took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "this did not come true in time"
        time.sleep(0.05)
    return time.monotonic() - started
