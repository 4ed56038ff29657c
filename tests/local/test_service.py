"""A running gunicorn with few threads: its bound on streams, how they end, what it logs and what it counts."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_edge import LocalEdge

APP = Path(__file__).parents[2] / "app"
ENDLESS = "/measure?rows=9000&delay_ms=100"
# At most 4 threads, so by default 2 streams.
FEW = ("--workers", "1", "--threads", "4")


class Service:
    """gunicorn with the app, and what it logged."""

    def __init__(self, folder: Path, *args: str, app: str = "streaming.wsgi", **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = folder / f"{self.port}.log"
        ours = ("DJANGO_", "STREAM", "LOG_FORMAT", "FORWARDED_", "PROMETHEUS_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", app, "--bind", f"127.0.0.1:{self.port}", *FEW, *args],
                cwd=APP,
                env=env | {"TMPDIR": str(folder)} | environment,
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

        until(up)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    def ended(self, outcome: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("outcome") == outcome]

    def open(self, path: str, **headers: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        return connection, connection.getresponse()

    def get(self, path: str, timeout: float = 5, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"} | headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def metric(self, name: str) -> float:
        return float(dict(line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines()).get(name, 0))


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service, and end it when the test is over."""
    with contextlib.ExitStack() as stack:

        def up(*args: str, **environment: str) -> Service:
            service = Service(tmp_path, *args, **environment)
            stack.callback(_end, service.process)
            service.wait_until_up()
            return service

        yield up


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(true: Callable[[], object], seconds: float = 10) -> float:
    """Wait until something is so, and return how long that took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "this did not come true in time"
        time.sleep(0.05)
    return time.monotonic() - started


def read_all(response: http.client.HTTPResponse) -> bool:
    """Read a body, and return whether its terminating chunk came."""
    try:
        response.read()
    except (http.client.IncompleteRead, ConnectionResetError):
        return False
    return True


def test_probes_answer_while_all_streams_are_taken(start: Start) -> None:
    service = start()
    streams = [service.open(ENDLESS) for _ in range(2)]
    assert [response.status for _, response in streams] == [200, 200]
    connection, refused = service.open("/download_csv_streaming")
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.read().count(b"\n") == 1
    connection.close()
    started = time.monotonic()
    for path in ("/livez", "/readyz", "/download_csv"):
        assert service.get(path, timeout=3)[0] == 200
    assert time.monotonic() - started < 2
    assert service.metric("streams_open") == 2
    assert service.metric('streams_ended_total{outcome="refused"}') == 1
    assert [line["level"] for line in service.ended("refused")] == ["INFO"]
    for connection, response in streams:
        response.close()
        connection.close()


def test_without_a_bound_a_probe_waits_behind_the_streams(start: Start) -> None:
    service = start("--worker-class", "gthread", "--threads", "2")
    streams = [service.open(ENDLESS) for _ in range(2)]
    with pytest.raises(TimeoutError):
        service.get("/livez", timeout=1.5)
    assert len(streams) == 2


def test_a_client_that_goes_ends_its_stream_within_two_writes(start: Start) -> None:
    service = start()
    connection, response = service.open("/measure?rows=900&delay_ms=150")
    read = [response.readline() for _ in range(3)]
    response.close()
    connection.close()
    assert until(lambda: service.ended("client_gone")) < 1
    (line,) = service.ended("client_gone")
    assert len(read) <= line["chunks"] <= len(read) + 2
    until(lambda: service.metric("streams_open") == 0)


def test_time_limit_breaks_off_whatever_the_stream_is_waiting_for(start: Start) -> None:
    service = start("--threads", "8", STREAM_SECONDS="1")
    started = time.monotonic()
    # One that goes on, one in a long pause of its source, and one whose client doesn't read.
    going, pausing = service.open(ENDLESS), service.open("/measure?rows=3&delay_ms=4000")
    stalled = service.open("/measure?rows=1000&size=65536&delay_ms=0")
    assert not read_all(going[1])
    assert not read_all(pausing[1])
    assert 0.9 < time.monotonic() - started < 2
    until(lambda: len(service.ended("stopped")) == 3, 1)
    assert all(0.9 < line["duration_s"] < 2 for line in service.ended("stopped"))
    # A thread in time.sleep is not free before that is over, so neither is its slot.
    until(lambda: service.metric("streams_open") == 0, 5)
    stalled[0].close()
    assert "Error handling request" not in service.log


def test_sigterm_lets_streams_end_and_breaks_off_and_logs_the_rest(start: Start) -> None:
    service = start("--threads", "8", "--graceful-timeout", "5")
    # After these, gunicorn counts fewer connections than it has.
    for _ in range(3):
        assert not read_all(service.open("/measure?rows=5&delay_ms=0&fail_after=2")[1])
    short, endless = service.open("/measure?rows=15&delay_ms=100"), service.open(ENDLESS)
    kept, before = service.open("/readyz")
    assert (before.status, before.read()) == (200, b"ok\n")
    started = time.monotonic()
    service.process.terminate()
    time.sleep(0.3)
    kept.request("GET", "/readyz")
    after = kept.getresponse()
    assert (after.status, after.read()) == (503, b"stopping\n")
    with pytest.raises(ConnectionRefusedError):
        service.get("/livez")
    assert read_all(short[1]), "it had the time"
    assert not read_all(endless[1])
    assert 2.5 < time.monotonic() - started < 4
    assert service.process.wait(5) == 0
    assert time.monotonic() - started < 5
    said = [line["message"] for line in service.lines]
    stopped = said.index(f"GET {ENDLESS} 200 stream stopped")
    assert stopped < next(place for place, message in enumerate(said) if message.startswith("Worker exiting"))
    assert len(service.ended("completed")) == 1
    assert len(service.ended("source_error")) == 3
    assert not [line for line in service.lines if line["message"].startswith("Error handling request")]


def test_gunicorn_alone_cuts_without_a_word(start: Start) -> None:
    service = start("--worker-class", "gthread", "--graceful-timeout", "1")
    _, endless = service.open(ENDLESS)
    service.process.terminate()
    assert not read_all(endless)
    assert service.process.wait(5) == 0
    assert not service.ended("stopped")


def test_sigint_breaks_off_at_once_and_logs_it(start: Start) -> None:
    service = start()
    _, endless = service.open(ENDLESS)
    service.process.send_signal(signal.SIGINT)
    assert not read_all(endless)
    until(lambda: service.ended("stopped"), 2)
    assert service.process.wait(5) == 0


def test_metrics_are_of_all_workers_and_forget_the_open_streams_of_a_dead_one(start: Start) -> None:
    service = start("--workers", "2")
    pids: set[int] = set()
    asked = 0
    while len(pids) < 2 and asked < 200:
        service.get("/download_csv_streaming")
        asked += 1
        pids = {line["pid"] for line in service.ended("completed")}
    assert len(pids) == 2
    assert {service.metric('streams_ended_total{outcome="completed"}') for _ in range(8)} == {asked}
    assert service.metric("streams_sent_chunks_total") == 100 * asked
    assert service.metric("streams_ttfb_seconds_count") == asked
    assert service.metric('streams_duration_seconds_count{outcome="completed"}') == asked
    service.open(ENDLESS)
    (pid,) = [line["pid"] for line in service.lines if line["message"] == f"GET {ENDLESS} 200 stream started"]
    assert service.metric("streams_open") == 1
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.metric("streams_open") == 0)
    assert service.metric('streams_ended_total{outcome="completed"}') == asked, "what it counted stays"


def test_metrics_take_little_room(start: Start, tmp_path: Path) -> None:
    service = start()
    service.get("/download_csv_streaming")
    files = [file for file in tmp_path.glob("metrics-*/*.db")]
    assert sorted(file.name.rpartition("_")[0] for file in files) == ["counter", "gauge_livesum", "histogram"]
    assert sum(file.stat().st_size for file in files) == 3 * 65536
    # As a worker leaves it for a moment, and one that is killed then for good.
    (files[0].parent / "counter_1.db").touch()
    assert service.metric("streams_sent_chunks_total") == 100
    service.process.terminate()
    assert service.process.wait(5) == 0
    assert not list(tmp_path.glob("metrics-*"))


def test_metrics_are_not_seen_through_the_edge(good_edge: LocalEdge) -> None:
    for url, status in ((good_edge.app_url, 200), (good_edge.url, 404)):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == status
        connection.close()


SCHEME = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]
"""


@pytest.mark.parametrize(("edge", "trusted"), [("127.0.0.0/8", True), ("10.0.0.0/8", False)])
def test_forwarded_headers_are_believed_from_the_edge_only(
    start: Start, tmp_path: Path, edge: str, trusted: bool
) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    service = start(FORWARDED_ALLOW_IPS=edge)
    service.get("/download_csv", **said)
    (line,) = [line for line in service.lines if line["logger"] == "requests"]
    assert line["client"] == ("198.51.100.7" if trusted else "127.0.0.1")
    (tmp_path / "scheme.py").write_text(SCHEME)
    bare = start("--pythonpath", str(tmp_path), app="scheme:application", FORWARDED_ALLOW_IPS=edge)
    assert bare.get("/", **said) == (200, "https" if trusted else "http")


def test_every_line_is_json_or_text_for_people(start: Start) -> None:
    asked = {"X-Request-ID": "edge-3"}
    for form in ("json", "text"):
        service = start(LOG_FORMAT=form)
        service.get("/measure?rows=2&delay_ms=0", **asked)
        service.get("/nowhere%0d%0a%7b%22level%22:%22forged%22%7d", **asked)
        service.get("/measure", Host="elsewhere.example.com", **asked)
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"NONSENSE\r\n\r\n")
            client.recv(1000)
        service.process.terminate()
        service.process.wait(5)
        if form == "json":
            assert {line["logger"] for line in service.lines} >= {"gunicorn.error", "requests", "streams"}
            assert len([line for line in service.lines if line.get("request_id") == "edge-3"]) >= 4
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in service.lines)
        else:
            assert "INFO streams: GET /measure?rows=2&delay_ms=0 200 stream completed request_id=" in service.log
            assert "\n{" not in service.log


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STREAMS_PER_WORKER": "4"}, "Error: STREAMS_PER_WORKER is '4', but must be a whole number from 1 to 3, less"),
        ({"LOG_FORMAT": "xml"}, "Error: LOG_FORMAT is 'xml', but must be json or text."),
        ({"STREAM_SECONDS": "0"}, "STREAM_SECONDS is '0', but must be a whole number from 1 to 86400."),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    service = Service(tmp_path, **environment)
    try:
        assert service.process.wait(10) != 0
    finally:
        _end(service.process)
    assert re.search(f"(?m)^{re.escape(sentence)}", service.log), service.log
