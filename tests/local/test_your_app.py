"""docs/your-app.md: the project that its blocks make, its memory, and what is lost with each piece that is left out."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doc_blocks.pages import ROOT, blocks

from tests.local.service import Service, until

ROWS = 200_000
MIB = 1 << 20
Start = Callable[..., Service]

# Beside what the page has: a project's settings without one piece, and views that only a test wants.
SETTINGS = """
from shop.settings import *
ROOT_URLCONF = "shop.more_urls"
{}
"""
URLS = """
from django.http import StreamingHttpResponse
from django.urls import path
from orders import async_views, views
from orders.models import Order
from shop.urls import urlpatterns

def fails(request):
    raise ValueError("the view failed")

async def values_list(request):
    async def rows():
        yield b"first\\n"
        async for row in Order.objects.values_list("id", "cents").aiterator():
            yield b"%d,%d\\n" % row
    return StreamingHttpResponse(rows())

urlpatterns += [
    path("async-orders.csv", async_views.export),
    path("one-by-one.csv", lambda request: StreamingHttpResponse(views.lines(), headers=views.CSV)),
    path("fails", fails),
    path("values-list.csv", values_list),
]
"""


def commands() -> list[str]:
    """Return the page's commands that make the project, and those that only write files of it."""
    page = blocks((ROOT / "docs" / "your-app.md").read_text(encoding="utf-8"))
    texts = [[command.text for command in block.commands] for block in page]
    image = next(number for number, text in enumerate(texts) if text[0].startswith("make image"))
    written = [text for text in texts[image:] if text[0].startswith("cat >> build/shop/")]
    return [command for text in [*texts[:image], *written] for command in text]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "shop"
    script = "\n".join(commands()).replace("build/shop", str(folder))
    # Without the PYTHONPATH on which our own packages are: the project must have all that it needs.
    left_out = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    (folder / "shop" / "more_urls.py").write_text(URLS)
    return folder


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def run(change: str = "", **options: str) -> Service:
            name = f"without_{len(list((project / 'shop').glob('without_*.py')))}"
            (project / "shop" / f"{name}.py").write_text(SETTINGS.format(change))
            service = Service(
                tmp_path, project=project, DJANGO_SETTINGS_MODULE=f"shop.{name}", PYTHONPATH="", **options
            )
            stack.callback(service.end)
            until(lambda: service.process.poll() is not None or "Booting worker" in service.log, 60)
            assert service.process.poll() is None, service.log
            until(lambda: service.get("/nowhere", timeout=30)[0] == 404, 60)
            return service

        yield run


def without(name: str) -> str:
    return f"MIDDLEWARE.remove({name!r})"


def grown(service: Service, path: str) -> int:
    """Return by how much the worker's memory grows with an export, and see that it is whole."""
    before = service.peak()
    status, body = service.get(path, timeout=120)
    assert (status, body.count("\n")) == (200, ROWS + 1)
    return service.peak() - before


@pytest.mark.parametrize(("worker", "path"), [("gthread", "/orders.csv"), ("asgi", "/async-orders.csv")])
def test_the_export_is_flat_in_memory_and_the_one_at_once_is_not(start: Start, worker: str, path: str) -> None:
    service = start(worker=worker)
    flat = grown(service, path)
    assert flat < 20 * MIB
    assert grown(service, path) < 5 * MIB, "a second one takes no more"
    assert grown(service, "/orders-at-once.csv") > 50 * MIB


def test_under_asgi_the_synchronous_export_is_an_error_that_says_what_it_needs(start: Start) -> None:
    service = start(worker="asgi")
    assert service.get("/orders.csv")[0] == 500
    assert "WrongIterator: /orders.csv must stream an asynchronous iterator under ASGI" in service.log


def test_values_list_cannot_be_iterated_over_asynchronously(start: Start) -> None:
    service = start(worker="asgi")
    with pytest.raises(http.client.IncompleteRead):
        service.get("/values-list.csv")
    (line,) = service.ended("source_error")
    assert "SynchronousOnlyOperation" in line["exception"]


def test_with_all_pieces_nothing_is_lost(start: Start) -> None:
    """What the tests below find missing, each where one piece is left out."""
    service = start(streams=1)
    assert service.get("/readyz") == (200, "ok\n")
    assert service.get("/static/admin/css/base.css")[0] == 200
    assert service.get("/admin/login/", timeout=20)[0] == 200
    assert head_seconds(service) < 2
    assert service.get("/fails")[0] == 500
    assert "ValueError: the view failed" in service.log
    assert [line["status"] for line in service.lines if line["message"] == "GET /fails 500"] == [500]
    connection, response = service.open("/ticks")
    assert service.get("/ticks")[0] == 503
    assert service.get("/readyz", timeout=2)[0] == 200
    response.read()
    connection.close()
    until(lambda: service.ended("completed"))
    assert service.metric('streams_ended_total{outcome="completed"}') == 1


def head_seconds(service: Service) -> float:
    """Return how long the server is busy with a HEAD: until it closes the connection."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"HEAD /ticks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        while connection.recv(4096):
            pass
    return time.monotonic() - started


def test_without_bounded_streams_take_all_threads_and_leave_no_trace(start: Start) -> None:
    service = start(without("django_streamproof.middleware.bounded"), streams=1)
    streams = [service.open("/ticks") for _ in range(2)]
    with pytest.raises(TimeoutError):
        service.get("/readyz", timeout=1)
    for connection, response in streams:
        assert response.read().count(b"\n") == 5
        connection.close()
    assert service.get("/metrics")[0] == 200
    assert service.metric('streams_ended_total{outcome="completed"}') == 0
    assert service.ended("completed") == []


def test_without_head_without_body_head_runs_the_whole_stream(start: Start) -> None:
    assert head_seconds(start(without("django_streamproof.middleware.head_without_body"))) > 3


def test_without_logged_a_request_has_no_line_and_no_id(start: Start) -> None:
    service = start(without("django_streamproof.requests.logged"))
    connection, response = service.open("/nowhere")
    connection.close()
    assert "X-Request-ID" not in response.headers
    assert [line for line in service.lines if line["logger"] == "streams.requests"] == []


def test_without_the_probes_a_pod_never_gets_ready(start: Start) -> None:
    service = start(without("django_streamproof.health.probes"))
    assert {service.get(path)[0] for path in ("/readyz", "/livez", "/metrics")} == {404}


def test_without_whitenoise_the_admin_has_no_css(start: Start) -> None:
    assert start(without("whitenoise.middleware.WhiteNoiseMiddleware")).get("/static/admin/css/base.css")[0] == 404


def test_without_logging_a_view_that_fails_leaves_no_traceback(start: Start) -> None:
    service = start("LOGGING = {}")
    assert service.get("/fails")[0] == 500
    assert service.get("/ticks")[0] == 200
    assert service.ended("completed")
    assert "the view failed" not in service.log


def test_without_gunicorns_settings_it_does_not_know_what_to_serve(project: Path) -> None:
    empty = project / "gunicorn.conf.py"
    command = [sys.executable, "-m", "gunicorn", "--config", os.devnull]
    assert empty.is_file()
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "No application module specified" in done.stderr


def test_without_batched_each_row_is_a_chunk(start: Start) -> None:
    service = start()
    for path in ("/orders.csv", "/one-by-one.csv"):
        assert service.get(path, timeout=60)[1].count("\n") == ROWS + 1
    until(lambda: len(service.ended("completed")) == 2)
    batched, unbatched = [line["chunks"] for line in service.ended("completed")]
    assert unbatched == ROWS + 1
    assert batched < ROWS / 100
