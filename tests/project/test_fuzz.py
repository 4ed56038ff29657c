"""Whatever clients send to an ordinary project, and however slowly: it costs no slot, thread, worker or connection."""

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.local.service import Service, until
from tests.project.conftest import ask, multipart

# FUZZ_EXAMPLES=5000 for a long run.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
# Clients that have begun a request and go on holding it.
STALLED = 20
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) ")

PATHS = "rows rows?name=%07 private order marked-order limited exported polled?rows=2 echo upload nowhere admin/"
PATHS += (
    " rest/orders rest/export ninja/orders ninja/export ninja/upload static/admin/css/base.css file/small metrics livez"
)
TYPES = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "text/plain; charset=nonsense",
    "",
]
FORM = multipart(300)[0]
BODIES = [b"", b"customer=ada", b'{"customer": "ada"}', b"{", b"[" * 2000, b"%" * 50, b"a&" * 2000, FORM, FORM[:200]]
BODIES += [FORM.replace(b"filename", b"filename*"), FORM.replace(b"hello", b"\x00\xff"), b"--b--", b"x" * 70_000]

sent = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]),
        "path": st.sampled_from(PATHS.split()),
        "kind": st.sampled_from(TYPES),
        "body": st.sampled_from(BODIES) | st.binary(max_size=200),
        "framing": st.sampled_from(["length", "length", "chunked", "chunked", "less", "more", "garbage", "none"]),
        "expect": st.booleans(),
        # How much of the request is sent, in how many pieces, and what comes then.
        "part": st.floats(0, 1) | st.just(1.0),
        "pieces": st.integers(1, 4),
        "then": st.sampled_from(["read", "read", "close", "reset", "shut", "stall", "look"]),
    }
)


def encode(method: str, path: str, kind: str, body: bytes, framing: str, expect: bool) -> bytes:
    lines = [f"{method} /{path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    lines += ["Expect: 100-continue"] if expect else []
    if framing in ("length", "less", "more"):
        lines.append(f"Content-Length: {max(0, len(body) + {'length': 0, 'less': -3, 'more': 5}[framing])}")
    elif framing in ("chunked", "garbage"):
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        chunks = [piece for piece in (body[:half], body[half:]) if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in chunks)
        body += b"0\r\n\r\n" if framing == "chunked" else b"zz\r\n"
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


@pytest.fixture(scope="module")
def held() -> Iterator[list[socket.socket]]:
    clients: list[socket.socket] = []
    yield clients
    for client in clients:
        client.close()


@settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(request=sent, through_edge=st.booleans())
@example(
    request={
        "method": "POST",
        "path": "echo",
        "kind": TYPES[2],
        "body": FORM,
        "framing": "length",
        "expect": False,
        "part": 0.9,
        "pieces": 1,
        "then": "stall",
    },
    through_edge=False,
)
def test_whatever_a_client_sends_it_is_answered(
    service: Service,
    edge: int,
    held: list[socket.socket],
    request: dict[str, object],
    through_edge: bool,
) -> None:
    fields = dict(request)
    then, pieces, part = str(fields.pop("then")), int(str(fields.pop("pieces"))), float(str(fields.pop("part")))
    whole = encode(**fields)  # type: ignore[arg-type]
    data = whole[: int(len(whole) * part)]
    client = socket.create_connection(("127.0.0.1", edge if through_edge else service.port), timeout=60)
    with contextlib.suppress(ConnectionError):
        step = max(1, -(-len(data) // pieces))
        for start in range(0, len(data), step):
            client.sendall(data[start : start + step])
    if then == "stall" and len(held) < STALLED:
        held.append(client)
        return
    with contextlib.closing(client):
        if then == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif then == "look" and data == whole:
            with contextlib.suppress(ConnectionError):
                client.recv(20)
        elif then in ("read", "shut"):
            answer = b""
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                while piece := client.recv(65536):
                    answer += piece
            assert not answer or STATUS_LINE.match(answer), answer[:200]
            assert b"Traceback" not in answer


def test_and_nothing_was_lost(service: Service, held: list[socket.socket]) -> None:
    assert service.get("/livez", timeout=25)[0] == 200
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(service.port, "GET", "/orders")[0], range(8)))
    assert answers == [200] * 8, "threads and connections to the database"
    until(lambda: service.metric("streams_open") == 0)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection, response = service.open("/rows?rows=100&delay=0.1")
            stack.callback(connection.close)
            assert response.readline() == b"0\n"
        assert service.metric("streams_open") == 4
    until(lambda: service.metric("streams_open") == 0)
    lines = service.lines
    assert sum("Booting worker" in line["message"] for line in lines) == 1, "no worker has died"
    body, kind = multipart(1000)
    assert ask(service.port, "POST", "/upload", body, Content_Type=kind) == (200, b"5 1000")
