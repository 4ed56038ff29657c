"""Settings that cannot be used: at the first start, and at a reload while streams are open."""

import contextlib
import http.client
import signal
import socket
from pathlib import Path

import pytest

from tests.local.service import WORKERS, Service, until
from tests.project.conftest import PROJECT, Start

GOOD = """
from ordinary.settings import *
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "first.example"]
"""
GZIP = 'MIDDLEWARE.insert(0, "django.middleware.gzip.GZipMiddleware")\n'
WRONG = {
    'from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured("COLOUR is missing.")\n': (
        "COLOUR is missing."
    ),
    'STREAMPROOF = {"STREAM_SECOND": 5}\n': (
        "STREAMPROOF has an unknown key 'STREAM_SECOND': did you mean 'STREAM_SECONDS'?"
    ),
    GZIP: (
        "MIDDLEWARE has django.middleware.gzip.GZipMiddleware before django_streamproof.requests.logged: those of "
        "django_streamproof must come first."
    ),
    'STREAMPROOF = {"STREAMS_PER_WORKER": 16}\n': (
        "STREAMS_PER_WORKER is 16, but must be a whole number from 1 to 3, less than gunicorn's threads, which are 4."
    ),
    "import nowhere\n": "No module named 'nowhere'",
}


@pytest.mark.parametrize(("more", "sentence"), list(WRONG.items())[:-1])
def test_a_wrong_setting_stops_the_start_with_its_sentence(
    tmp_path: Path, folder: Path, more: str, sentence: str
) -> None:
    (tmp_path / "wrong.py").write_text(GOOD + more)
    options = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "wrong", "PROJECT_FOLDER": str(folder)}
    service = Service(tmp_path, project=PROJECT, **options)
    try:
        assert service.process.wait(60) == 1
    finally:
        service.end()
    # gunicorn's own lines are objects.
    assert [line for line in service.log.splitlines() if line and not line.startswith("{")] == [f"Error: {sentence}"]
    assert not list(tmp_path.glob("metrics-*"))


@pytest.mark.parametrize("worker", WORKERS)
def test_a_reload_with_a_wrong_setting_leaves_workers_and_streams_as_they_are(
    start: Start, tmp_path: Path, worker: str
) -> None:
    settings = tmp_path / "changing.py"
    settings.write_text(GOOD)
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    service = start(worker=worker, app=app, DJANGO_SETTINGS_MODULE="changing", path=str(tmp_path))
    before = service.worker
    connection, response = service.open("/rows?rows=100000&delay=0.1")
    wrong = WRONG if worker == "gthread" else {more: WRONG[more] for more in list(WRONG)[:3]}
    for number, (more, sentence) in enumerate(wrong.items(), start=1):
        settings.write_text(GOOD + more)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.log.count("Not reloaded") == number, 120)  # noqa: B023
        told = [line["message"] for line in service.lines if "Not reloaded" in line["message"]][-1]
        assert told.startswith("Not reloaded, the workers stay as they are: ")
        assert told.endswith(sentence)
    assert service.worker == before
    for _ in range(20):
        assert response.readline().strip().isdigit()
    settings.write_text(GOOD.replace("first.example", "second.example") + 'STREAMPROOF = {"STREAM_SECONDS": 1}\n')
    service.process.send_signal(signal.SIGHUP)

    def reloaded() -> bool:
        # A connection that the old worker has not accepted yet is closed.
        with contextlib.suppress(OSError, http.client.HTTPException):
            return service.get("/rows", timeout=60, Host="second.example")[0] == 200
        return False

    until(reloaded, 120)
    assert service.process.poll() is None
    connection.close()


@pytest.mark.parametrize("worker", WORKERS)
def test_an_edge_that_is_trusted_is_known_where_gunicorn_listens_on_ipv6_too(
    start: Start, tmp_path: Path, worker: str
) -> None:
    (tmp_path / "secure.py").write_text(GOOD + "SECURE_SSL_REDIRECT = True\n")
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as free:
        port = free.getsockname()[1]
    app = {"gthread": "ordinary.wsgi", "asgi": "ordinary.asgi"}[worker]
    options = {"app": app, "DJANGO_SETTINGS_MODULE": "secure", "path": str(tmp_path)}
    service = start("--bind", f"[::]:{port}", worker=worker, **options)
    for number, host in enumerate(("::1", "127.0.0.1")):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        identity = f"edge-{number}"
        said = {
            "Host": "localhost",
            "X-Forwarded-Proto": "https",
            "X-Request-ID": identity,
            "X-Forwarded-For": "10.0.0.7",
        }
        connection.request("GET", "/rows", headers=said)
        response = connection.getresponse()
        assert (response.status, response.headers["X-Request-ID"]) == (200, identity)
        connection.close()
        line = next(line for line in service.lines if line.get("request_id") == identity)
        assert line["client"] == "10.0.0.7"
