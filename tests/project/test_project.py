"""An ordinary Django project with streams, under a real gunicorn: what it may expect of middleware and workers."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.service import APP, WORKERS, Service, until

PROJECT = Path(__file__).parent
MIB = 1 << 20
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's database with a user, its static files, and two files to download."""
    folder = tmp_path_factory.mktemp("project")
    code = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("ada", password="lovelace")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment(folder), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (folder / "large").write_bytes(os.urandom(MIB) * 100)
    (folder / "small").write_bytes(os.urandom(MIB - 1))
    return folder


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PROJECT_FOLDER": str(folder),
        "PYTHONPATH": str(APP),
        "DJANGO_SETTINGS_MODULE": "ordinary.settings",
    }


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def up(*args: str, path: str = str(APP), **options: Any) -> Service:
            config = ("--config", str(APP / "gunicorn.conf.py"))
            options = {"PROJECT_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "ordinary.settings"} | options
            service = Service(tmp_path, *config, *args, project=PROJECT, PYTHONPATH=path, **options)
            stack.callback(service.end)
            service.wait_until_up()
            return service

        yield up


@pytest.mark.parametrize("worker", WORKERS)
def test_a_stream_behind_synchronous_middleware_streams_and_gives_its_slot_back(start: Start, worker: str) -> None:
    service = start(worker=worker)
    for _ in range(5):
        assert service.get("/rows") == (200, "0\n1\n2\n")
    until(lambda: len(service.ended("completed")) == 5)
    assert service.metric("streams_open") == 0
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
    assert service.metric("streams_open") == 0
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
    (worker,) = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()

    def written() -> int:
        """Bytes that the worker wrote by write(2) and sendfile(2), and not by send(2)."""
        fields = dict(line.split(": ") for line in Path(f"/proc/{worker}/io").read_text().splitlines())
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
    paths = os.pathsep.join([str(APP), str(tmp_path)])
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start("--preload", worker=worker, app=app, DJANGO_SETTINGS_MODULE="early", path=paths)
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
