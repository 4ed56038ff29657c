"""A running gunicorn with few threads: its bound on streams, how they end, what it logs and what it counts."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.local.service import WORKERS, Service, until

ENDLESS = "/measure?rows=9000&delay_ms=100"


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service, and end it when the test is over."""
    with contextlib.ExitStack() as stack:

        def up(*args: str, **options: Any) -> Service:
            service = Service(tmp_path, *args, **options)
            stack.callback(service.end)
            service.wait_until_up()
            return service

        yield up


def read_all(response: http.client.HTTPResponse) -> bool:
    """Read a body, and return whether its terminating chunk came."""
    try:
        response.read()
    except (http.client.IncompleteRead, ConnectionResetError):
        return False
    return True


@pytest.mark.parametrize("worker", WORKERS)
def test_probes_answer_while_all_streams_are_taken(start: Start, worker: str) -> None:
    service = start(worker=worker)
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


@pytest.mark.parametrize("worker", WORKERS)
def test_slow_responses_in_one_piece_take_slots_too(start: Start, worker: str) -> None:
    service = start(worker=worker)
    slow = [service.ask("/download_csv?rows=50&delay_ms=100") for _ in range(2)]
    # A stream that is asked for too early takes the slot of one of them.
    time.sleep(1)
    assert service.get("/measure?rows=1")[0] == 503
    assert service.get("/download_csv?rows=1&delay_ms=1")[0] == 503
    assert service.get("/livez", timeout=2)[0] == 200
    assert service.get("/download_csv", timeout=2)[0] == 200, "one that doesn't wait needs no slot"
    assert [connection.getresponse().status for connection in slow] == [200, 200]
    assert service.get("/measure?rows=1")[0] == 200


@pytest.mark.parametrize("worker", WORKERS)
def test_a_digest_is_made_only_for_those_who_have_a_slot(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=1)
    stream = service.open(ENDLESS)
    before = service.cpu_seconds()
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("HEAD", "/measure?rows=1000&size=65536&delay_ms=0")
        assert connection.getresponse().status == 503
        connection.close()
    assert service.cpu_seconds() - before < 0.4, "some 0.15 s for each of the digests"
    stream[0].close()


@pytest.mark.parametrize("worker", WORKERS)
def test_the_csv_in_one_piece_takes_little_memory_and_large_ones_few_slots(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=12)
    service.get("/download_csv")
    before = service.peak()
    asked = [service.ask("/download_csv?rows=100000") for _ in range(24)]
    answers = [connection.getresponse() for connection in asked]
    sizes = {response.status: len(response.read()) for response in answers}
    assert sizes[200] == 1888910
    assert service.peak() - before < 60 << 20
    for connection in asked:
        connection.close()
    until(lambda: service.get("/download_csv?rows=100000")[0] == 200)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_csv_in_one_piece_that_nobody_reads_gives_its_slot_back(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=1, STREAM_SECONDS="2")
    with socket.socket() as client:
        # Less than the body, so that it can't leave.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", service.port))
        client.sendall(b"GET /download_csv?rows=100000 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        client.recv(10)
        until(lambda: service.get("/download_csv?rows=10001", timeout=30)[0] == 200, 30)


def test_without_a_bound_a_probe_waits_behind_the_streams(start: Start) -> None:
    service = start("--worker-class", "gthread", "--threads", "2")
    streams = [service.open(ENDLESS) for _ in range(2)]
    with pytest.raises(TimeoutError):
        service.get("/livez", timeout=1.5)
    assert len(streams) == 2


@pytest.mark.parametrize("worker", WORKERS)
def test_a_client_that_goes_ends_its_stream_within_two_writes(start: Start, worker: str) -> None:
    service = start(worker=worker)
    connection, response = service.open("/measure?rows=900&delay_ms=150")
    read = [response.readline() for _ in range(3)]
    response.close()
    connection.close()
    assert until(lambda: service.ended("client_gone")) < 1
    (line,) = service.ended("client_gone")
    assert len(read) <= line["chunks"] <= len(read) + 2
    until(lambda: service.metric("streams_open") == 0)


@pytest.mark.parametrize("worker", WORKERS)
def test_time_limit_breaks_off_whatever_the_stream_is_waiting_for(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=4, STREAM_SECONDS="1")
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
    service = start("--graceful-timeout", "5", streams=4)
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
    assert service.process.wait(30) == 0
    said = [line["message"] for line in service.lines]
    stopped = said.index(f"GET {ENDLESS} 200 stream stopped")
    assert stopped < next(place for place, message in enumerate(said) if message.startswith("Worker exiting"))
    assert len(service.ended("completed")) == 1
    assert len(service.ended("source_error")) == 3
    assert not [line for line in service.lines if line["message"].startswith("Error handling request")]


def test_sigterm_under_asgi_lets_streams_end_too_and_waits_for_no_idle_connection(start: Start) -> None:
    service = start("--graceful-timeout", "5", worker="asgi", streams=4)
    short, endless = service.open("/measure?rows=15&delay_ms=100"), service.open(ENDLESS)
    # Its client doesn't read, so what is in the server's buffer can't leave.
    stalled = service.open("/binary?size=100000000")
    idle = service.open("/readyz")
    assert idle[1].read() == b"ok\n"
    started = time.monotonic()
    service.process.terminate()
    assert idle[0].sock.recv(1) == b"", "closed at once"
    assert time.monotonic() - started < 1
    until(lambda: _refuses(service.port), 2)
    assert read_all(short[1]), "it had the time"
    assert not read_all(endless[1])
    assert 2.5 < time.monotonic() - started < 4
    assert service.process.wait(30) == 0
    times = {line["message"].partition(" (")[0]: datetime.fromisoformat(line["time"]) for line in service.lines}
    waited = times["Worker exiting"] - times[f"GET {ENDLESS} 200 stream stopped"]
    # Two seconds, if it had waited for the end of the graceful timeout.
    assert waited < timedelta(seconds=1.5), "nothing was left to wait for"
    stalled[0].close()
    assert len(service.ended("stopped")) == 2
    assert len(service.ended("completed")) == 1
    assert not [line for line in service.lines if line["level"] in ("ERROR", "CRITICAL")]


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_gunicorn_alone_waits_for_idle_connections_under_asgi(start: Start) -> None:
    service = start("--worker-class", "asgi", "--graceful-timeout", "3", worker="asgi")
    idle = service.open("/readyz")
    assert idle[1].read() == b"ok\n"
    started = time.monotonic()
    service.process.terminate()
    assert service.process.wait(6) == 0
    assert time.monotonic() - started > 2.9


@pytest.mark.parametrize(
    "path",
    [
        "/download_csv_streaming?rows=20&delay_ms=100",
        "/download_csv_streaming?rows=20&delay_ms=100&chunk=batch",
        "/measure?rows=20&delay_ms=100",
        "/measure?rows=20&delay_ms=100&format=sse&heartbeat_ms=100",
        "/measure?rows=20&delay_ms=100&format=ndjson",
    ],
)
@pytest.mark.parametrize("worker", WORKERS)
def test_no_stream_is_consumed_whole_before_its_first_byte(start: Start, worker: str, path: str) -> None:
    service = start(worker=worker)
    started = time.monotonic()
    connection, response = service.open(path)
    response.readline()
    first = time.monotonic() - started
    response.read()
    assert first < 1 < 1.8 < time.monotonic() - started
    connection.close()


SYNC_ITERATOR = """
import os, time
os.environ |= {"DJANGO_SETTINGS_MODULE": "streaming.settings", "WORKER_CLASS": "asgi"}
from django.conf import settings
from django.http import StreamingHttpResponse
from django.urls import path
if not BOUNDED:
    settings.MIDDLEWARE.remove("django_streamproof.middleware.bounded")
from streaming.asgi import application
import streaming.urls

def rows():
    for number in range(10):
        time.sleep(0.1)
        yield b"%d\\n" % number

async def wrong(request):
    return StreamingHttpResponse(rows())

streaming.urls.urlpatterns.append(path("wrong", wrong))
"""


@pytest.mark.parametrize("bounded", [True, False])
def test_a_synchronous_iterator_under_asgi_is_an_error_and_not_a_late_stream(
    start: Start, tmp_path: Path, bounded: bool
) -> None:
    module = f"wrong_{bounded}".lower()
    (tmp_path / f"{module}.py").write_text(SYNC_ITERATOR.replace("BOUNDED", str(bounded)))
    service = start("--pythonpath", str(tmp_path), worker="asgi", app=f"{module}:application")
    started = time.monotonic()
    connection, response = service.open("/wrong")
    response.read(1)
    first = time.monotonic() - started
    connection.close()
    if bounded:
        assert response.status == 500
        assert "/wrong must stream an asynchronous iterator under ASGI" in service.log
        assert first < 0.9
    else:
        assert response.status == 200
        assert first > 0.9, "what Django does by itself"


def test_a_stream_that_never_waits_holds_up_no_other_under_asgi(start: Start) -> None:
    service = start(worker="asgi")
    fast = subprocess.Popen(
        ["curl", "-sN", "-o", os.devnull, f"http://127.0.0.1:{service.port}/download_csv_streaming?rows=10000000"]
    )
    try:
        until(lambda: service.metric("streams_sent_bytes_total") > 0, 20)
        slowest = 0.0
        for _ in range(10):
            started = time.monotonic()
            assert service.get("/livez", timeout=3)[0] == 200
            slowest = max(slowest, time.monotonic() - started)
        assert fast.poll() is None, "it was running all the time"
        assert slowest < 1
    finally:
        fast.kill()
        fast.wait()


def test_streams_under_asgi_take_no_thread_each(start: Start) -> None:
    service = start(worker="asgi", STREAMS_PER_WORKER="100")
    streams = [service.open(ENDLESS) for _ in range(100)]
    (pid,) = {line["pid"] for line in service.lines if line["logger"] == "streams"}
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) < 50
    for connection, _ in streams:
        connection.close()
    until(lambda: len(service.ended("client_gone")) == 100)
    until(lambda: service.metric("streams_open") == 0)


def test_the_sync_worker_cuts_a_stream_that_is_longer_than_its_timeout(start: Start) -> None:
    service = start("--timeout", "2", worker="sync")
    _, response = service.open("/measure?rows=60&delay_ms=100")
    assert not read_all(response)
    (line,) = service.ended("stopped")
    assert 1.5 < line["duration_s"] < 5
    assert line["reason"] == "the worker was made to exit"
    threads = start("--timeout", "2")
    _, response = threads.open("/measure?rows=60&delay_ms=100")
    assert read_all(response), "gthread does not"


def test_two_slow_clients_block_two_sync_workers(start: Start) -> None:
    service = start("--workers", "2", worker="sync")
    # More than the kernel keeps for a client that doesn't read.
    slow = [service.open("/binary?size=100000000") for _ in range(2)]
    assert [response.status for _, response in slow] == [200, 200]
    with pytest.raises(TimeoutError):
        service.get("/livez", timeout=1.5)
    for connection, response in slow:
        response.close()
        connection.close()
    assert service.get("/livez", timeout=5)[0] == 200


def test_gunicorn_alone_cuts_without_a_word(start: Start) -> None:
    service = start("--worker-class", "gthread", "--graceful-timeout", "1")
    _, endless = service.open(ENDLESS)
    service.process.terminate()
    assert not read_all(endless)
    assert service.process.wait(5) == 0
    assert not service.ended("stopped")


@pytest.mark.parametrize("worker", WORKERS)
def test_sigint_breaks_off_at_once_and_logs_it(start: Start, worker: str) -> None:
    service = start(worker=worker)
    _, endless = service.open(ENDLESS)
    service.process.send_signal(signal.SIGINT)
    assert not read_all(endless)
    until(lambda: service.ended("stopped"), 2)
    assert service.process.wait(5) == 0


@pytest.mark.parametrize("worker", WORKERS)
def test_metrics_are_of_all_workers_and_forget_the_open_streams_of_a_dead_one(start: Start, worker: str) -> None:
    service = start("--workers", "2", worker=worker)
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
    endless = service.open(ENDLESS)
    (pid,) = [line["pid"] for line in service.lines if line["message"] == f"GET {ENDLESS} 200 stream started"]
    assert service.metric("streams_open") == 1
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.metric("streams_open") == 0)
    assert service.metric('streams_ended_total{outcome="completed"}') == asked, "what it counted stays"
    endless[0].close()


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


@pytest.mark.parametrize("worker", WORKERS)
def test_metrics_have_a_port_of_their_own_and_nothing_else_is_there(start: Start, worker: str) -> None:
    service = start(worker=worker)
    found = {}
    for port in (service.port, service.metrics_port):
        for path in ("/metrics", "/measure?rows=1", "/readyz", "/nowhere"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            # The port in a Host is the client's word.
            headers = {"Host": f"127.0.0.1:{service.metrics_port}", "Connection": "close"}
            connection.request("GET", path, headers=headers)
            found[port, path] = connection.getresponse().status
            connection.close()
    assert [path for (port, path), status in found.items() if port == service.port and status == 200] == [
        "/measure?rows=1",
        "/readyz",
    ]
    assert [path for (port, path), status in found.items() if port != service.port and status == 200] == ["/metrics"]
    assert set(found.values()) == {200, 404}


def test_metrics_are_made_where_the_environment_says(start: Start, tmp_path: Path) -> None:
    """A folder that is there stays, as a volume would."""
    folder = tmp_path / "volume"
    folder.mkdir()
    service = start(METRICS_FOLDER=str(folder))
    assert list(folder.glob("metrics-*/*.db"))
    service.process.terminate()
    assert service.process.wait(5) == 0
    assert not list(folder.iterdir())


SCHEME = {
    "gthread": """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]
""",
    "asgi": """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})
""",
}


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize(("edge", "trusted"), [("127.0.0.0/8", True), ("10.0.0.0/8", False)])
def test_forwarded_headers_are_believed_from_the_edge_only(
    start: Start, tmp_path: Path, worker: str, edge: str, trusted: bool
) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    service = start(worker=worker, FORWARDED_ALLOW_IPS=edge)
    service.get("/download_csv", **said)
    (line,) = [line for line in service.lines if line["logger"] == "streams.requests"]
    assert line["client"] == ("198.51.100.7" if trusted else "127.0.0.1")
    (tmp_path / "scheme.py").write_text(SCHEME[worker])
    bare = start("--pythonpath", str(tmp_path), worker=worker, app="scheme:application", FORWARDED_ALLOW_IPS=edge)
    assert bare.get("/", **said) == (200, "https" if trusted else "http")


@pytest.mark.parametrize("worker", WORKERS)
def test_every_line_is_json_or_text_for_people(start: Start, worker: str) -> None:
    asked = {"X-Request-ID": "edge-3"}
    for form in ("json", "text"):
        service = start(worker=worker, LOG_FORMAT=form)
        service.get("/measure?rows=2&delay_ms=0", **asked)
        service.get("/nowhere%0d%0a%7b%22level%22:%22forged%22%7d", **asked)
        service.get("/measure", Host="elsewhere.example.com", **asked)
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"NONSENSE\r\n\r\n")
            client.recv(1000)
        service.process.terminate()
        service.process.wait(5)
        if form == "json":
            assert {line["logger"] for line in service.lines} >= {"gunicorn.error", "streams.requests", "streams"}
            assert len([line for line in service.lines if line.get("request_id") == "edge-3"]) >= 4
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in service.lines)
        else:
            assert "INFO streams: GET /measure?rows=2&delay_ms=0 200 stream completed request_id=" in service.log
            assert "\n{" not in service.log


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STREAMS_PER_WORKER": "4"}, "Error: STREAMS_PER_WORKER is 4, but must be a whole number from 1 to 3, less"),
        ({"WORKER_CLASS": "gevent"}, "Error: WORKER_CLASS is 'gevent', but must be gthread or asgi."),
        (
            {"WORKER_CLASS": "asgi", "STREAMS_PER_WORKER": "0"},
            "Error: STREAMS_PER_WORKER is '0', but must be a whole number from 1 to 100000.",
        ),
        (
            {"WORKER_CLASS": "sync"},
            "Error: threads is 4, but the sync worker has none: leave --threads out.",
        ),
        ({"LOG_FORMAT": "xml"}, "Error: LOG_FORMAT is 'xml', but must be json or text."),
        ({"STREAM_SECONDS": "0"}, "Error: STREAM_SECONDS is '0', but must be a whole number from 1 to 86400."),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    service = Service(tmp_path, **environment)
    try:
        assert service.process.wait(60) != 0
    finally:
        service.end()
    assert re.search(f"(?m)^{re.escape(sentence)}", service.log), service.log
    assert "Traceback" not in service.log
