"""What has a slot, and from when on."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.local.service import WORKERS, until
from tests.project.conftest import MIB, Start

TRANSACTION = """
import logging
from django.db import transaction

def middleware(get_response):
    def around(request):
        with transaction.atomic():
            logging.getLogger("around").warning("%s in a transaction", request.path)
            return get_response(request)
    return around
"""
SETTINGS = """
from ordinary.settings import *
MIDDLEWARE.insert(MIDDLEWARE.index("django_streamproof.health.probes") + 1, "around.middleware")
"""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_marked_view_has_its_slot_before_a_middleware_begins_a_transaction(
    start: Start, tmp_path: Path, worker: str
) -> None:
    (tmp_path / "around.py").write_text(TRANSACTION)
    (tmp_path / "more.py").write_text(SETTINGS)
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start(worker=worker, streams=1, app=app, DJANGO_SETTINGS_MODULE="more", path=str(tmp_path))
    connection, response = service.open("/limited?rows=600&delay=0.1")
    assert response.status == 200
    assert [service.get(path)[0] for path in ("/limited", "/rows")] == [503, 503]
    connection.close()
    assert [line["message"] for line in service.lines if line["logger"] == "around"] == [
        "/limited in a transaction",
        "/rows in a transaction",
    ]


@pytest.mark.parametrize("worker", WORKERS)
def test_a_part_of_a_large_file_has_a_slot_and_arrives_whole(start: Start, folder: Path, worker: str) -> None:
    large = os.urandom(8 * MIB)
    (folder / "static" / "large.bin").write_bytes(large)
    service = start(worker=worker, streams=1)
    connection, response = service.open("/static/large.bin", Range=f"bytes=1000-{6 * MIB}")
    assert (response.status, response.headers["Content-Range"]) == (206, f"bytes 1000-{6 * MIB}/{8 * MIB}")
    assert service.get("/rows")[0] == 503
    assert response.read() == large[1000 : 6 * MIB + 1]
    connection.close()
    until(lambda: service.ended("completed"))
    (line,) = service.ended("completed")
    assert line["bytes"] == 6 * MIB - 999
    with contextlib.closing(service.open("/static/large.bin", Range="bytes=0-9")[0]):
        until(lambda: service.get("/rows")[0] == 200)


URLS = """
import os
from django.db import transaction
from django.urls import path
from ordinary import views
from ordinary.urls import urlpatterns

def gone(request):
    response = views.rows(request)
    response.status_code = 404
    return response

@transaction.non_atomic_requests
async def async_gone(request):
    response = await views.async_rows(request)
    response.status_code = 404
    return response

urlpatterns += [path("gone", async_gone if os.environ["WORKER_CLASS"] == "asgi" else gone)]
"""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_stream_with_the_status_of_an_error_gives_its_slot_back(start: Start, tmp_path: Path, worker: str) -> None:
    (tmp_path / "more_urls.py").write_text(URLS)
    (tmp_path / "errors.py").write_text('from ordinary.settings import *\nROOT_URLCONF = "more_urls"\n')
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start(worker=worker, streams=1, app=app, DJANGO_SETTINGS_MODULE="errors", path=str(tmp_path))
    for number in range(1, 4):
        connection, response = service.open("/gone?rows=10000&delay=0.01")
        assert (response.status, response.readline()) == (404, b"0\n")
        response.close()
        connection.close()
        until(lambda: len(service.ended("client_gone")) == number)  # noqa: B023
        until(lambda: service.metric("streams_open") == 0)
    assert service.get("/gone") == (404, "0\n1\n2\n")
