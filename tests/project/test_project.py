"""An ordinary Django project with streams, under a real gunicorn: what it may expect of middleware and workers."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.local.service import WORKERS, Service, until
from tests.project.conftest import FORM, MIB, PROJECT, Start, ask, environment


@pytest.mark.parametrize("worker", WORKERS)
def test_a_stream_behind_synchronous_middleware_streams_and_gives_its_slot_back(start: Start, worker: str) -> None:
    service = start(worker=worker)
    for _ in range(5):
        assert service.get("/rows") == (200, "0\n1\n2\n")
    until(lambda: len(service.ended("completed")) == 5)
    until(lambda: service.metric("streams_open") == 0)
    started = time.monotonic()
    connection, response = service.open("/rows?rows=3&delay=0.5")
    response.readline()
    assert time.monotonic() - started < 0.5
    assert response.read() == b"1\n2\n"
    connection.close()


@pytest.mark.parametrize("worker", WORKERS)
def test_a_header_that_the_server_refuses_costs_no_slot(start: Start, worker: str) -> None:
    service = start(worker=worker)
    for _ in range(6):
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            assert service.get("/rows?name=a%07b")[0] == 500
    assert service.get("/rows") == (200, "0\n1\n2\n")
    until(lambda: service.metric("streams_open") == 0)
    assert {line["reason"] for line in service.ended("stopped")} == {"the server did not send it"}
    assert len(service.ended("stopped")) == 6
    assert not service.ended("client_gone")


@pytest.mark.parametrize("worker", WORKERS)
def test_a_large_file_takes_a_slot_and_arrives_whole(start: Start, folder: Path, worker: str) -> None:
    service = start(worker=worker, streams=1)
    connection, response = service.open("/file/large")
    assert response.read(10) == (folder / "large").read_bytes()[:10]
    assert service.get("/rows")[0] == 503
    assert response.read() == (folder / "large").read_bytes()[10:]
    connection.close()
    until(lambda: service.ended("completed"))
    (line,) = service.ended("completed")
    assert line["bytes"] == 100 * MIB
    assert service.get("/rows")[0] == 200


@pytest.mark.parametrize("worker", WORKERS)
def test_a_file_whose_client_goes_or_does_not_read_is_no_complete_one(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=2, STREAM_SECONDS="2")
    gone, response = service.open("/file/large")
    response.read(10)
    response.close()
    gone.close()
    until(lambda: service.ended("client_gone"))
    stalled, response = service.open("/file/large")
    until(lambda: service.ended("stopped"), 5)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    stalled.close()
    until(lambda: service.metric("streams_open") == 0)
    assert not service.ended("completed")
    assert all(0 < line["bytes"] < 100 * MIB for line in service.ended("client_gone"))


def test_a_file_leaves_by_sendfile_under_gthread(start: Start) -> None:
    service = start(streams=1)

    def written() -> int:
        """Bytes that the worker wrote by write(2) and sendfile(2), and not by send(2)."""
        fields = dict(line.split(": ") for line in Path(f"/proc/{service.worker}/io").read_text().splitlines())
        return int(fields["wchar"])

    before = written()
    assert service.get_bytes("/file/large") == 100 * MIB
    assert written() - before > 100 * MIB


@pytest.mark.parametrize("worker", WORKERS)
def test_static_files_take_no_slot(start: Start, folder: Path, worker: str) -> None:
    service = start(worker=worker, streams=1)
    connection, response = service.open("/rows?rows=100&delay=0.1")
    assert response.status == 200
    css = (folder / "static" / "admin" / "css" / "base.css").read_text()
    assert service.get("/static/admin/css/base.css") == (200, css)
    assert service.get("/static/admin/css/base.css", Range="bytes=0-9") == (206, css[:10])
    kept = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
    kept.request("GET", "/static/admin/css/base.css")
    stamp = kept.getresponse()
    stamp.read()
    kept.request("GET", "/static/admin/css/base.css", headers={"If-None-Match": stamp.headers["ETag"]})
    unchanged = kept.getresponse()
    assert (unchanged.status, unchanged.read()) == (304, b"")
    kept.request("HEAD", "/static/admin/css/base.css")
    head = kept.getresponse()
    assert (head.status, head.read()) == (200, b"")
    kept.close()
    asked = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
    asked.request("GET", "/file/small")
    assert len(asked.getresponse().read()) == MIB - 1
    asked.close()
    said = [line["message"] for line in service.lines if line["logger"] != "gunicorn.error"]
    assert said.count("GET /static/admin/css/base.css 200") == 2, "each has the line of a request"
    assert "GET /file/small 200" in said
    connection.close()


IMPORTS_EARLY = """
import prometheus_client
from ordinary.settings import *
EXPORTED = prometheus_client.Counter("orders_exported", "A project's own.")
"""


@pytest.mark.parametrize("worker", WORKERS)
def test_metrics_are_there_where_the_project_has_some_of_its_own(start: Start, tmp_path: Path, worker: str) -> None:
    (tmp_path / "early.py").write_text(IMPORTS_EARLY)
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start("--preload", worker=worker, app=app, DJANGO_SETTINGS_MODULE="early", path=str(tmp_path))
    assert service.get("/rows")[0] == 200
    assert service.metric("streams_sent_chunks_total") == 3
    assert "orders_exported_total 0.0" in service.get("/metrics")[1]


def test_a_folder_for_metrics_that_the_environment_names_is_kept(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "metrics"
    service = start(PROMETHEUS_MULTIPROC_DIR=str(folder))
    assert service.get("/rows")[0] == 200
    assert service.metric("streams_sent_chunks_total") == 3
    service.process.send_signal(signal.SIGHUP)
    until(lambda: service.log.count("Booting worker") == 2)
    assert "streams_sent_chunks_total 3.0" in service.get("/metrics", timeout=60)[1]
    service.process.terminate()
    service.process.wait(60)
    assert list(folder.glob("counter_*.db"))
    assert not list(tmp_path.glob("metrics-*"))


def test_metrics_outlast_a_reload(start: Start, tmp_path: Path) -> None:
    service = start()
    assert service.get("/rows")[0] == 200
    service.process.send_signal(signal.SIGHUP)
    until(lambda: service.log.count("Booting worker") == 2)
    assert service.get("/rows", timeout=60)[0] == 200
    assert service.metric("streams_sent_chunks_total") == 6
    assert len(list(tmp_path.glob("metrics-*"))) == 1
    service.process.terminate()
    service.process.wait(60)
    assert not list(tmp_path.glob("metrics-*"))


PUMPED = """
import django; django.setup()
from django.db import connections
from ordinary.models import Order
from django_streamproof.batching import batched
used = []
def source():
    used.append(connections["default"])
    yield b"%d" % Order.objects.filter(customer="nobody").count()
assert list(batched(source(), thread=True)) == [b"0"]
print(used[0].connection)
"""


def test_a_source_in_a_thread_of_its_own_leaves_no_connection_to_the_database(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUMPED],
        cwd=PROJECT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("worker", WORKERS)
def test_a_client_behind_a_trusted_edge_cannot_choose_the_path(start: Start, worker: str) -> None:
    service = start(worker=worker, FORWARDED_ALLOW_IPS="127.0.0.0/8")
    assert service.get("/public/rows", SCRIPT_NAME="/public")[0] == 404
    assert service.get("/public", PATH_INFO="/rows")[0] == 404


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_a_client_sends_tears_no_line_of_the_log_and_forges_none(start: Start, form: str) -> None:
    service = start(LOG_FORMAT=form)
    assert service.get("/rows", Host="h" * 8000)[0] == 400
    assert service.get("/rows?rows=%0A2026-01-01T00:00:00.000Z%20%5B1%5D%20INFO%20streams:%20forged%1B%5B2J")[0] == 500
    until(lambda: "invalid literal" in service.log)
    lines = service.log.splitlines()
    assert "\x1b" not in service.log
    assert not [line for line in lines if line.startswith("2026-01-01")]
    assert max(len(line) for line in lines if "invalid literal" not in line) < 4096


def test_a_websocket_is_refused_without_a_traceback(start: Start) -> None:
    service = start(worker="asgi")
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert service.get("/rows", **handshake, **{"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})[0] == 403
    assert "Traceback" not in service.log
    assert service.get("/rows")[0] == 200


def test_a_marked_view_that_is_refused_has_done_nothing(start: Start) -> None:
    service = start(streams=1)
    before = int(service.get("/orders")[1])
    connection, _ = service.open("/rows?rows=600&delay=0.1")

    def order(path: str) -> tuple[int, bytes]:
        return ask(service.port, "POST", path, b"customer=ada", Content_Type=FORM)

    for _ in range(3):
        assert order("/marked-order")[0] == 503
    assert int(service.get("/orders")[1]) == before
    for _ in range(3):
        assert order("/order")[0] == 503
    assert int(service.get("/orders")[1]) == before + 3, "the view has run"
    told = [line["message"] for line in service.lines if line["level"] == "WARNING"]
    assert told == ["ordinary.views.order has run before its stream was refused: mark it by @streaming()"]
    assert service.metric('streams_ended_total{outcome="refused"}') == 6
    connection.close()
    until(lambda: service.metric("streams_open") == 0)
    assert order("/marked-order") == (200, b"0\n1\n2\n")
    assert int(service.get("/orders")[1]) == before + 4


@pytest.mark.parametrize("worker", WORKERS)
def test_a_mark_bounds_how_many_streams_a_view_has_and_how_long_they_last(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=3)
    connection, response = service.open("/limited?rows=600&delay=0.1")
    assert service.get("/limited")[0] == 503
    assert service.get("/rows")[0] == 200
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    (line,) = service.ended("stopped")
    assert 1.9 < line["duration_s"] < 12
    until(lambda: service.get("/limited")[0] == 200)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_marked_view_that_fails_or_is_asked_by_head_gives_its_slot_back(start: Start, worker: str) -> None:
    service = start(worker=worker, streams=3)
    # The slot is back when the server is done with a request, which is after the client has read the answer.
    for _ in range(3):
        until(lambda: service.get("/limited?rows=nonsense")[0] == 500)
        until(lambda: ask(service.port, "HEAD", "/limited")[0] == 200)
    until(lambda: service.get("/limited")[0] == 200)


CHANGING = """
import os
from ordinary.settings import *
ALLOWED_HOSTS = ["localhost", "127.0.0.1", {host!r}]
(FOLDER / "imported").open("a").write(f"{{os.getpid()}}\\n")
"""


@pytest.mark.parametrize("worker", WORKERS)
def test_settings_are_read_by_the_workers_alone_and_again_at_a_reload(
    start: Start, tmp_path: Path, folder: Path, worker: str
) -> None:
    (tmp_path / "changing.py").write_text(CHANGING.format(host="first.example"))
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start(worker=worker, app=app, DJANGO_SETTINGS_MODULE="changing", path=str(tmp_path))
    assert service.get("/rows", Host="second.example")[0] == 400
    assert str(service.process.pid) not in (folder / "imported").read_text().split()
    (tmp_path / "changing.py").write_text(CHANGING.format(host="second.example"))
    service.process.send_signal(signal.SIGHUP)
    until(lambda: service.get("/rows", timeout=60, Host="second.example")[0] == 200, 60)


def test_a_wrong_setting_of_the_project_stops_the_start_with_its_sentence(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured('COLOUR is missing.')\n"
    )
    service = Service(
        tmp_path,
        project=PROJECT,
        PYTHONPATH=str(tmp_path),
        DJANGO_SETTINGS_MODULE="wrong",
        PROJECT_FOLDER=str(folder),
    )
    try:
        assert service.process.wait(60) == 1
    finally:
        service.end()
    assert service.log == "Error: COLOUR is missing.\n"
    assert not list(tmp_path.glob("metrics-*"))


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("begun", [b"", b"GET /rows HTTP/1.1\r\nHost: loc"])
def test_a_connection_that_says_nothing_or_half_does_not_hold_up_the_stop(
    start: Start, worker: str, begun: bytes
) -> None:
    service = start("--graceful-timeout", "30", worker=worker)
    with socket.create_connection(("127.0.0.1", service.port)) as silent:
        silent.sendall(begun)
        # Longer than a thread waits for the first byte.
        time.sleep(6)
        began = time.monotonic()
        service.process.terminate()
        assert service.process.wait(60) == 0
        assert time.monotonic() - began < 20


def test_half_headers_free_their_threads(start: Start) -> None:
    service = start(streams=2)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            half.sendall(b"GET /rows HTTP/1.1\r\nHost: loc")
        assert service.get("/livez", timeout=60)[0] == 200


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_that_has_served_enough_ends_its_streams_honestly(start: Start, worker: str) -> None:
    service = start("--max-requests", "3", "--graceful-timeout", "4", worker=worker)
    connection, response = service.open("/rows?rows=600&delay=0.1")
    until(lambda: "Autorestarting" in service.log or not service.get("/rows", timeout=30))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
    (line,) = service.ended("stopped")
    assert line["reason"] == "the worker is going"


@pytest.mark.parametrize("worker", WORKERS)
def test_lines_of_the_project_carry_the_request_and_what_they_bring(start: Start, worker: str) -> None:
    service = start(worker=worker)
    service.get("/says", **{"X-Request-ID": "edge-7"})
    lines = [line for line in service.lines if line["logger"] == "ordinary"]
    assert [(line["message"], line["request_id"], line["order"]) for line in lines] == [
        ("in the view", "edge-7", 1),
        ("in the stream", "edge-7", 2),
    ]


def test_what_is_secret_in_a_query_is_not_logged(start: Start) -> None:
    service = start()
    service.get("/rows?rows=1&access_token=hunter2&api-key=hunter2&Signature=hunter2&password=hunter2&page=7")
    service.get("/nowhere?token=hunter2")
    assert "hunter2" not in service.log
    assert "/rows?rows=1&access_token=***&api-key=***&Signature=***&password=***&page=7" in service.log


def test_a_source_that_fails_before_its_first_row_is_logged_with_the_status_that_was_sent(start: Start) -> None:
    service = start()
    assert service.get("/fails")[0] == 500
    (line,) = service.ended("source_error")
    assert (line["status"], line["message"]) == (500, "GET /fails 500 stream source_error")


MAIL = """
from ordinary.settings import *
ADMINS = [("Ada", "ada@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = FOLDER / "mail"
"""


def test_admins_get_their_mail(start: Start, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "mail.py").write_text(MAIL)
    service = start(app="ordinary.wsgi", DJANGO_SETTINGS_MODULE="mail", path=str(tmp_path))
    assert service.get("/rows?rows=nonsense")[0] == 500
    (mail,) = (folder / "mail").iterdir()
    assert "To: ada@example.com" in mail.read_text()
