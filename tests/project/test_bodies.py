"""What clients send: forms and files, through an edge that does not buffer them, and by clients that stall."""

import contextlib
import hashlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.service import WORKERS, Service, until
from tests.project.conftest import MIB, Start, ask, multipart


@pytest.mark.parametrize("size", [0, 5 * MIB])
def test_forms_and_files_arrive(service: Service, edge: int, size: int) -> None:
    body, kind = multipart(size)
    pieces = [body[start : start + MIB] for start in range(0, len(body), MIB)]
    for port in (service.port, edge):
        for sent in (body, iter(pieces)):
            assert ask(port, "POST", "/upload", sent, Content_Type=kind) == (200, b"5 %d" % size)
        sent = iter(pieces)
        assert ask(port, "POST", "/ninja/upload", sent, Content_Type=kind) == (200, b'{"note": 5, "size": %d}' % size)


def test_a_file_streams_back_to_who_sends_it(service: Service, edge: int) -> None:
    file = bytes(range(256)) * (3 * MIB // 256)
    body, kind = multipart(3 * MIB)
    body = body.replace(b"x" * (3 * MIB), file)
    status, back = ask(edge, "POST", "/echo", body, Content_Type=kind)
    assert (status, hashlib.sha256(back).digest()) == (200, hashlib.sha256(file).digest())
    until(lambda: service.metric("streams_open") == 0)


def test_a_slow_client_has_its_form_taken(service: Service, edge: int) -> None:
    body, kind = multipart(1000)

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(body), 400):
            time.sleep(0.5)
            yield body[start : start + 400]

    assert ask(edge, "POST", "/upload", slowly(), Content_Type=kind) == (200, b"5 1000")


@pytest.fixture
def little_room() -> Iterator[Path]:
    """A folder for what is temporary of 16 MiB, as the chart's is."""
    folder = Path(tempfile.mkdtemp(prefix="little-", dir="/dev/shm"))
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    subprocess.run([*root, "mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*root, "umount", "--lazy", folder], check=True)
    folder.rmdir()


@pytest.mark.parametrize("worker", WORKERS)
def test_a_body_that_finds_no_room_is_refused_and_costs_no_worker(start: Start, little_room: Path, worker: str) -> None:
    service = start(worker=worker, TMPDIR=str(little_room))
    stream, response = service.open("/rows?rows=2000&delay=0.1")
    body, kind = multipart(40 * MIB)
    for path in ("/nowhere", "/upload"):
        for announced in (True, False):
            pieces = (body[start : start + MIB] for start in range(0, len(body), MIB))
            status, said = ask(service.port, "POST", path, body if announced else pieces, Content_Type=kind)
            assert (status, said.count(b"\n")) == (413, 1)
    body, kind = multipart(5 * MIB)
    assert ask(service.port, "POST", "/upload", body, Content_Type=kind)[0] == 200, "there is room for this one"
    assert response.readline() == b"0\n"
    response.close()
    stream.close()
    until(lambda: service.metric("streams_open") == 0)
    assert service.log.count("Booting worker") == 1
    assert "Traceback" not in service.log


HALF = {
    "header": b"GET /rows HTTP/1.1\r\nHost: loc",
    "upload": b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
    "chunks": b"POST /order HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n5\r\ncusto",
}


@contextlib.contextmanager
def stalled(service: Service, count: int) -> Iterator[None]:
    """Have so many clients of each kind that have begun a request and send no more of it."""
    with contextlib.ExitStack() as stack:
        for half in (*HALF.values(), b""):
            for _ in range(count):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                client.sendall(half)
        yield


def test_stalled_clients_keep_nobody_from_the_probes_and_streams(service: Service) -> None:
    connection, response = service.open("/rows?rows=60&delay=0.1")
    with stalled(service, 5):
        for _ in range(3):
            assert service.get("/livez", timeout=25)[0] == 200
        assert service.get("/rows", timeout=25) == (200, "0\n1\n2\n")
        body, kind = multipart(5 * MIB)
        assert ask(service.port, "POST", "/upload", body, Content_Type=kind)[0] == 200
        assert response.read() == b"".join(b"%d\n" % number for number in range(60))
    connection.close()
    until(lambda: service.metric("streams_open") == 0)


HURRIED = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordinary.settings")
from django_streamproof import bodies
from django_streamproof.gunicorn import *
bodies.STALL_SECONDS = 3.0
"""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_body_that_does_not_come_ends_in_time(start: Start, tmp_path: Path, worker: str) -> None:
    (tmp_path / "hurried.py").write_text(HURRIED)
    service = start("--config", str(tmp_path / "hurried.py"), worker=worker, streams=2)
    marked = HALF["upload"].replace(b"/upload", b"/echo")
    with contextlib.ExitStack() as stack:
        clients = []
        for half in (HALF["upload"], HALF["chunks"], marked, marked):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=60)))
            clients[-1].sendall(half)
        # Some more, but too slowly.
        clients[0].settimeout(0.25)
        answer = b""
        for _ in range(60):
            with contextlib.suppress(TimeoutError):
                clients[0].send(b"-")
                answer = clients[0].recv(4096)
                break
        answers = [answer, *(client.recv(4096) for client in clients[1:])]
        assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 408 Request Timeout"] * 4
    until(lambda: service.get("/rows")[0] == 200)
    until(lambda: service.metric("streams_open") == 0)
    assert "Traceback" not in service.log


def test_more_stalled_clients_than_there_are_threads_for_give_way(start: Start) -> None:
    service = start(streams=2)
    with stalled(service, 60):
        assert service.get("/livez", timeout=60)[0] == 200
        assert service.get("/rows", timeout=60) == (200, "0\n1\n2\n")
