"""Whatever is asked of a running gunicorn: it answers, bounds its work, and shows nobody a traceback."""

import os
import re
import socket
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tests.endpoints import ALL, METRICS, PARAMETERS
from tests.local.service import WORKERS, Service, until

# FUZZ_EXAMPLES=20000 for a long run.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
# 503: all streams are taken. 501: gunicorn's, for a transfer coding that it doesn't know (RFC 9112 section 6.1).
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-4]\d\d|501|503) ")

VALUES = [
    "0",
    "1",
    "20",
    "100",
    "100000",
    "10000000",
    "4294967296",
    "-1",
    "+1",
    "1e9",
    "0x10",
    "1_0",
    "٣",
    "NaN",
    "%",
    "🐍",
    "text",
    "sse",
    "ndjson",
    "row",
    "batch",
    "no",
]
VALUES += ["", " 1", "9" * 5000, "a" * 3000, "\x00", "\r\nX-Injected: 1"]
HEADERS = [
    "Host",
    "Last-Event-ID",
    "Accept-Encoding",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Request-ID",
    "Range",
    "If-None-Match",
    "If-Modified-Since",
    "Expect",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Cookie",
    "Content-Type",
    "Upgrade",
    "TE",
    "X-HTTP-Method-Override",
    "X_Forwarded_For",
    "Content-Encoding",
    "Origin",
]
HEADER_VALUES = [
    "1",
    "-1",
    "chunked",
    "gzip",
    "close",
    "keep-alive",
    "100-continue",
    "bytes=0-",
    "websocket",
    "h2c",
    "localhost",
    "évil",
    "*",
]
HEADER_VALUES += ["", "\x00", "\xff" * 9, "9" * 400, "a.b, c", "203.0.113.9, " * 50, "identity, chunked"]
METHODS = b"GET GET GET GET GET GET HEAD POST PUT DELETE OPTIONS TRACE CONNECT get G\xc3\x89T PRI".split()

parameters = st.lists(
    st.tuples(st.sampled_from(PARAMETERS) | st.text(max_size=9), st.sampled_from(VALUES) | st.text(max_size=9)),
    max_size=5,
)
targets = st.one_of(
    st.builds(
        lambda path, pairs: path.encode() + b"?" + b"&".join(_escaped(name) + b"=" + _escaped(v) for name, v in pairs),
        st.sampled_from((*ALL, METRICS)),
        parameters,
    ),
    st.builds(lambda path, query: path.encode() + b"?" + query, st.sampled_from(ALL), st.binary(max_size=40)),
    st.binary(max_size=60).map(lambda path: b"/" + path),
    st.sampled_from(
        [b"*", b"//", b"/..%2f..%2fetc/passwd", b"http://elsewhere.example/measure", b"/%00", b"/" + b"a" * 9000]
    ),
)


def _escaped(text: str) -> bytes:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass")).encode()


@pytest.fixture(scope="module", params=WORKERS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # Streams that nobody stops would take up all slots for minutes.
    service = Service(
        tmp_path_factory.mktemp("fuzz"), worker=request.param, streams=4, STREAM_SECONDS="2", LOG_FORMAT="json"
    )
    service.wait_until_up()
    yield service
    service.end()


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(method=st.sampled_from(METHODS), target=targets, host=st.sampled_from([b"localhost", b"127.0.0.1:80", b"other"]))
@example(method=b"GET", target=b"/measure?fail_after=0&rows=1", host=b"localhost")
def test_any_target_is_answered(service: Service, method: bytes, target: bytes, host: bytes) -> None:
    request = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (method, target, host)
    _judge(request, _answer(service, request))


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
    path=st.sampled_from(
        [b"/measure?rows=2&format=sse&delay_ms=0", b"/download_csv", b"/readyz", b"/metrics", b"/nowhere"]
    ),
    fields=st.lists(
        st.tuples(
            st.sampled_from(HEADERS).map(str.encode),
            st.sampled_from(HEADER_VALUES).map(str.encode) | st.binary(max_size=30),
        ),
        max_size=3,
    ),
)
@example(method=b"GET", path=b"/download_csv", fields=[(b"Content-Length", b"9" * 400)])
def test_any_header_is_answered(
    service: Service, method: bytes, path: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: localhost", *(b"%b: %b" % field for field in fields)]
    request = b"\r\n".join([*lines, b"Connection: close", b"", b"5\r\nhello\r\n0\r\n\r\n" + b"x" * 500])
    _judge(request, _answer(service, request))


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    method=st.binary(max_size=8),
    target=st.binary(max_size=60),
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"http/1.1", b"", b"X"])
    | st.binary(max_size=9),
    rest=st.binary(max_size=200),
)
def test_bytes_that_are_no_request_are_refused_or_dropped(
    service: Service, method: bytes, target: bytes, version: bytes, rest: bytes
) -> None:
    request = b" ".join((method, target, version)) + b"\r\n" + rest
    answer = _answer(service, request, more=False)
    if answer:
        _judge(request, answer)


def _answer(service: Service, request: bytes, *, more: bool = True) -> bytes:
    """Return how the answer begins; a client that sends no `more` closes its side, so that nobody waits for it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(request)
        if not more:
            client.shutdown(socket.SHUT_WR)
        while len(answer) < 40:
            try:
                part = client.recv(4096)
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
    event(answer[9:12].decode() or "no answer")
    return answer


def _judge(request: bytes, answer: bytes) -> None:
    assert STATUS_LINE.match(answer), (request, answer)
    assert b"Traceback" not in answer


def test_and_it_is_as_well_as_before(service: Service) -> None:
    until(lambda: service.metric("streams_open") == 0)
    assert service.get("/measure?rows=3&delay_ms=0")[0] == 200
    lines = service.lines
    assert not [line for line in lines if "Booting worker" in line["message"]][1:], "no worker has died"
    assert not [line for line in lines if "exception" in line and line.get("outcome") != "source_error"]
    assert all("fail_after asked" in line["exception"] for line in lines if line.get("outcome") == "source_error")
