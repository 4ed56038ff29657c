"""Each end of a stream, as the log and the metrics tell it, and as it is on the wire: directly and behind an edge."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.service import WORKERS, Service, until
from tests.project.conftest import Start

END = b"0\r\n\r\n"


def send(port: int, target: str, method: str = "GET", body: str = "") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    client.sendall(f"{head}{more}\r\n{body}".encode())
    return client


def rest(client: socket.socket) -> bytes:
    """Return all that still comes, however the connection ends."""
    came = b""
    with contextlib.closing(client), contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            came += part
    return came


def payload(answer: bytes) -> bytes:
    """Return what the whole chunks of an answer hold."""
    _, _, left = answer.partition(b"\r\n\r\n")
    held = b""
    while b"\r\n" in left:
        size, _, left = left.partition(b"\r\n")
        length = int(size, 16)
        held, left = held + left[:length], left[length + 2 :]
    return held


@pytest.fixture(params=["directly", "behind an edge"])
def port(request: pytest.FixtureRequest, service: Service, edge: int) -> Iterator[int]:
    yield service.port if request.param == "directly" else edge
    until(lambda: service.metric("streams_open") == 0)


def counted(service: Service, outcome: str) -> float:
    return service.metric(f'streams_ended_total{{outcome="{outcome}"}}')


@pytest.mark.parametrize(
    ("outcome", "request_"),
    [
        ("completed", ("/rows",)),
        ("completed", ("/exported",)),
        ("completed", ("/ninja/export", "POST", json.dumps({"customer": "wire"}))),
        ("source_error", ("/rows?fail=1",)),
        ("stopped", ("/limited?rows=600&delay=0.1",)),
    ],
)
def test_a_stream_has_its_last_chunk_exactly_when_it_is_logged_as_completed(
    service: Service, port: int, outcome: str, request_: tuple[str, ...]
) -> None:
    before, logged = counted(service, outcome), len(service.ended(outcome))
    answer = rest(send(port, *request_))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(END) == (outcome == "completed")
    until(lambda: counted(service, outcome) == before + 1)
    line = service.ended(outcome)[logged]
    assert line["bytes"] == len(payload(answer))
    assert line["status"] == 200


def test_a_client_that_goes_is_logged_as_gone(service: Service, port: int) -> None:
    before = counted(service, "client_gone")
    client = send(port, "/rows?rows=600&delay=0.1")
    assert client.recv(10)
    client.close()
    until(lambda: counted(service, "client_gone") == before + 1)


def test_a_stream_that_is_refused_is_a_whole_answer(service: Service, port: int) -> None:
    before = counted(service, "refused")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(contextlib.closing(send(service.port, "/rows?rows=600&delay=0.1")))
            assert client.recv(10)
        answer = rest(send(port, "/rows"))
    assert answer.startswith(b"HTTP/1.1 503")
    assert payload(answer).endswith(b"try again in 5 s.\n")
    assert answer.endswith(END)
    assert counted(service, "refused") == before + 1
    assert service.ended("refused")[-1]["status"] == 503


@pytest.mark.parametrize("worker", WORKERS)
def test_at_a_stop_short_streams_end_and_long_ones_are_cut(start: Start, tmp_path: Path, worker: str) -> None:
    service = start("--graceful-timeout", "6", worker=worker, streams=4)
    short, long = send(service.port, "/rows?rows=20&delay=0.1"), send(service.port, "/rows?rows=600&delay=0.1")
    begun = [client.recv(10) for client in (short, long)]
    assert all(begun)
    service.process.terminate()
    ended, cut = (first + rest(client) for first, client in zip(begun, (short, long), strict=True))
    service.process.wait(60)
    assert ended.endswith(END)
    assert not cut.endswith(END)
    (completed,), (stopped,) = service.ended("completed"), service.ended("stopped")
    assert (completed["bytes"], stopped["bytes"]) == (len(payload(ended)), len(payload(cut)))
    assert stopped["reason"] == "the worker is going"
