import dataclasses
import gzip
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import pytest
import trustme
from streamproof import observe as observe_module
from streamproof.judge import judge, overall
from streamproof.observe import NothingObserved, NotOffered
from streamproof.report import as_text
from streamproof.request import Request, parse_target
from streamproof.route import Route, parse_connect_to, parse_resolve

CHUNKED = "Transfer-Encoding: chunked"
HTTP11 = ("http/1.1",)


def observe(url, *, stall=0.0, on_read=None, **options):
    return observe_module.observe(Request(url, **options), stall=stall, on_read=on_read)


def route_to(port):
    return Route([parse_connect_to(f"::127.0.0.1:{port}")])


def observe_reuse(url, **options):
    return observe_module.observe_reuse(Request(url, **options))


def rows(stream, pause, number=6, framed=True, ahead=0.0):
    """Make steps that send rows as they are produced."""
    steps = []
    for row in range(1, number + 1):
        steps += [lambda row=row: (stream.chunk if framed else bytes)(stream.row(row, time.time() + ahead)), pause]
    return steps[:-1]


@pytest.fixture
def six(stream):
    return type(stream)(6)


@pytest.fixture
def three(stream):
    """A stream whose rows are to be on time: they are a second apart, by which no busy machine delays one."""
    return type(stream)(3)


class Client:
    """Notes the rows that a client has time-stamped, for a server that waits for that."""

    def __init__(self):
        self._changed = threading.Condition()
        self._rows = 0

    def on_read(self, recorder):
        with self._changed:
            self._rows = recorder.row_count
            self._changed.notify_all()

    def has(self, rows):
        """Make a step of a server: wait until the client has so many rows, and send nothing."""

        def step():
            with self._changed:
                assert self._changed.wait_for(lambda: self._rows >= rows, 30)
            return b""

        return step


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def patient(monkeypatch):
    """Look for what follows the end of a response for as long as no busy machine delays it."""
    monkeypatch.setattr(observe_module, "_SURPLUS_WAIT", 1)


def results(observation):
    return [verdict.result for verdict in judge(observation)]


@pytest.mark.parametrize("ahead", [0, 3600, -3600])
def test_a_good_stream_passes_whatever_the_apps_clock_says(three, serve, ahead):
    url = serve([three.header(CHUNKED), *rows(three, 1, 3, ahead=ahead), three.chunk(b"")])
    seen = observe(url, timeout=30)
    assert overall(judge(seen)) == "PASS", judge(seen)
    assert (seen.ended, seen.chunk_count, seen.row_count, seen.byte_count) == ("terminated", 3, 3, 192)
    assert 0 <= seen.ttfb < 1 < 1.5 < seen.duration < 20


def test_how_long_tcp_took_is_recorded_once_for_a_connection(stream, serve):
    first, second = observe_reuse(serve([stream.chunked(), "request", stream.chunked()]), timeout=10)
    assert 0 < first.connect_seconds < first.request_sent_at - first.started_at
    assert second.connect_seconds == 0


def test_arrivals_never_go_backward(six, serve, monkeypatch):
    """Even if the wall clock is set while the stream runs."""
    sent = []

    def note():
        sent.append(time.perf_counter())
        return b""

    url = serve([note, six.header(CHUNKED), *rows(six, 0.02), note, six.chunk(b"")])
    start = time.time()
    set_back = SimpleNamespace(time=lambda: 2 * start - time.time(), perf_counter=time.perf_counter)
    monkeypatch.setattr(observe_module, "time", set_back)
    began = time.perf_counter()
    seen = observe(url, timeout=30)
    took = time.perf_counter() - began
    times = [read.at for read in seen.reads]
    assert times == sorted(times)
    # What the server was asked for after the start, and what was read after the server had sent it.
    assert sent[1] - sent[0] < times[-1] - seen.started_at < took


def test_rows_that_all_come_at_the_end_fail(six, serve):
    def body():
        first = time.time() - 0.6
        return b"".join(six.chunk(six.row(row, first + 0.1 * (row - 1))) for row in range(1, 7)) + six.chunk(b"")

    seen = observe(serve([six.header(CHUNKED), 0.7, body]), timeout=30)
    assert results(seen) == ["PASS", "PASS", "FAIL"]
    assert "all rows arrived together at the end" in judge(seen)[2].sentence


def test_bursts_fail(serve, stream, client):
    def burst(first):
        made = time.time() - 0.15
        return b"".join(stream.chunk(stream.row(first + row, made + 0.05 * row)) for row in range(3))

    # The pause begins when the client has the burst before, so that no two of them are read at once.
    steps = [
        step for first in (1, 4, 7, 10) for step in (0.17, lambda first=first: burst(first), client.has(first + 2))
    ]
    url = serve([stream.header(CHUNKED), *steps, stream.chunk(b"")])
    seen = observe(url, timeout=30, on_read=client.on_read)
    assert results(seen) == ["PASS", "PASS", "FAIL"]
    assert "in 4 bursts of about 192 bytes" in judge(seen)[2].sentence


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("framing", [CHUNKED, "Content-Length: 384"])
def test_a_stream_that_is_cut_fails(six, serve, client, framing, end):
    # A reset takes back what the client has not read.
    url = serve([six.header(framing), *rows(six, 0.03, 3, framing == CHUNKED), client.has(3), end])
    seen = observe(url, timeout=30, on_read=client.on_read)
    assert (seen.ended, seen.row_count) == ("truncated", 3)
    assert results(seen)[:2] == ["FAIL", "FAIL"]


def test_a_stream_until_close_that_is_reset_is_truncated(six, serve):
    seen = observe(serve([six.header(), *rows(six, 0.01, framed=False), 0.05, "reset"]), timeout=10)
    assert (seen.ended, seen.error) == ("truncated", "the connection broke: Connection reset by peer")


def test_a_cut_that_ends_in_a_terminating_chunk_fails(six, serve):
    seen = observe(serve([six.header(CHUNKED), *rows(six, 1, 3), six.chunk(b"")]), timeout=30)
    assert results(seen) == ["PASS", "FAIL", "PASS"]


def test_content_length(three, serve):
    seen = observe(serve([three.header("Content-Length: 192"), *rows(three, 1, 3, framed=False)]), timeout=30)
    assert results(seen) == ["PASS", "PASS", "PASS"]


def test_more_than_content_length_fails(six, serve, patient):
    seen = observe(
        serve([six.header("Content-Length: 384"), *rows(six, 0.01, framed=False), 0.02, b"more"]), timeout=10
    )
    assert results(seen)[0] == "FAIL"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_until_close(three, serve, version):
    seen = observe(serve([three.header(version=version), *rows(three, 1, 3, framed=False), "close"]), timeout=30)
    assert (seen.http_version, seen.ended, seen.framing) == (version, "closed", "until close")
    assert results(seen) == ["INCONCLUSIVE", "PASS", "PASS"]


def test_transfer_encoding_and_content_length_together_fail(six, serve):
    seen = observe(serve([six.header(CHUNKED, "Content-Length: 384"), *rows(six, 0.01), six.chunk(b"")]), timeout=10)
    assert results(seen)[0] == "FAIL"


def test_a_second_response_inside_the_body_fails(six, serve):
    second = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\noops"
    seen = observe(serve([six.header(version="1.0"), *rows(six, 0.01, 3, framed=False), second, "close"]), timeout=10)
    assert seen.second_status_line == 192
    assert results(seen)[:2] == ["FAIL", "FAIL"]


def test_a_stream_without_end_ends_at_the_time_limit(six, serve):
    seen = observe(serve([six.header(CHUNKED), *rows(six, 0.01, 3)]), timeout=2)
    assert (seen.ended, seen.row_count) == ("timeout", 3)
    assert 1 < seen.duration < 10
    assert results(seen)[:2] == ["INCONCLUSIVE", "INCONCLUSIVE"]


def test_a_body_that_trickles_does_not_extend_the_time_limit(six, serve):
    seen = observe(serve([six.header(CHUNKED), *[six.chunk(b"."), 0.05] * 400]), timeout=1)
    assert seen.ended == "timeout"
    assert seen.duration < 10


def test_a_body_that_floods_ends_at_the_time_limit(serve):
    seen = observe(serve([b"HTTP/1.1 200 OK\r\n\r\n", (b"x: y\r\n" * 1000,)]), timeout=1, max_bytes=1 << 40)
    assert seen.ended == "timeout"
    assert seen.duration < 10


def test_a_body_that_is_too_large_ends_at_the_size_limit(six, serve):
    seen = observe(serve([six.header(CHUNKED), *rows(six, 0.01), six.chunk(b"")]), timeout=10, max_bytes=100)
    assert (seen.ended, seen.byte_count) == ("too_large", 100)


def test_endless_headers_end(serve):
    seen = observe(serve([b"HTTP/1.1 200 OK\r\n", (b"x: y\r\n" * 1000,)]), timeout=10)
    assert (seen.status, seen.ended) == (None, "protocol_error")


def test_a_chunk_of_2_to_the_64_ends(six, serve):
    seen = observe(serve([six.header(CHUNKED), b"10000000000000000\r\n", b"." * 999, 0.02, "close"]), timeout=10)
    assert (seen.ended, seen.unfinished_chunk) == ("truncated", 999)


def test_a_server_that_says_nothing(serve):
    seen = observe(serve(["close"]), timeout=10)
    assert (seen.status, seen.ended) == (None, "truncated")
    assert results(seen) == ["INCONCLUSIVE"] * 3


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found"])
def test_another_status_is_inconclusive_and_not_followed(six, server, status):
    one = server([six.header("Location: /elsewhere", "Content-Length: 0", status=status)])
    seen = observe(f"http://127.0.0.1:{one.port}/", timeout=10)
    assert results(seen) == ["INCONCLUSIVE"] * 3
    assert len(one.requests) == 1


def test_the_request(server):
    one = server([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    headers = [("HOST", "demo.local"), ("X-Name", "Grün")]
    observe(f"http://127.0.0.1:{one.port}/a%20b?c=ü&d=%20#e", headers=headers, timeout=10)
    assert one.requests == [
        b"GET /a%20b?c=%C3%BC&d=%20 HTTP/1.1\r\n"
        b"HOST: demo.local\r\nUser-Agent: streamproof\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        b"X-Name: Gr\xc3\xbcn\r\n\r\n"
    ]


def test_a_port_that_nobody_listens_on():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NothingObserved, match=f"127.0.0.1 port {port}: Connection refused"):
        observe(f"http://127.0.0.1:{port}/", timeout=10)


@pytest.fixture(scope="module")
def authority():
    """An authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture(scope="module")
def cacert(authority):
    return authority.cert_pem.bytes().decode()


@pytest.fixture
def secured(authority, server):
    def start(steps, alpn=("h2", "http/1.1"), name="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        context.set_alpn_protocols(list(alpn))
        return f"https://{name}:{server(steps, context).port}/"

    return start


def test_https(three, secured, cacert):
    seen = observe(
        secured([three.header(CHUNKED), *rows(three, 1, 3), three.chunk(b"")], HTTP11), timeout=30, cacert=cacert
    )
    assert overall(judge(seen)) == "PASS", judge(seen)


def test_https_that_is_cut(six, secured, cacert):
    seen = observe(secured([six.header(CHUNKED), *rows(six, 0.01, 3), "close"], HTTP11), timeout=10, cacert=cacert)
    assert (seen.ended, seen.row_count) == ("truncated", 3)


def test_a_certificate_that_is_not_trusted(secured):
    with pytest.raises(NothingObserved, match=r"certificate of 127.0.0.1 port .* is not accepted: unable to get"):
        observe(secured([]), timeout=10)


def test_a_host_that_does_not_resolve_can_be_asked_at_an_address(six, secured, cacert):
    url = secured([six.chunked()], HTTP11, name="edge.invalid")
    port = int(url.rpartition(":")[2].rstrip("/"))
    with pytest.raises(NothingObserved, match=r"the host name edge\.invalid could not be resolved"):
        observe(url, timeout=10, cacert=cacert)
    for ask, text in ((url, f"::127.0.0.1:{port}"), ("https://edge.invalid/", f"edge.invalid:443:127.0.0.1:{port}")):
        route = Route([parse_connect_to(text)])
        assert observe(ask, timeout=10, cacert=cacert, route=route).row_count == 6
    assert observe(url, timeout=10, cacert=cacert, route=Route(resolve=[parse_resolve(f"*:{port}:127.0.0.1")])).status
    with pytest.raises(NothingObserved, match="Hostname mismatch"):
        observe("https://other.invalid/", timeout=10, cacert=cacert, route=route_to(port))


@pytest.mark.parametrize("alpn", [["http/1.1"], []])
def test_a_server_without_http2_does_not_offer_it(secured, cacert, alpn):
    with pytest.raises(NotOffered, match=r"127.0.0.1 port .* does not offer HTTP/2"):
        observe(secured([], alpn), timeout=10, cacert=cacert, protocol="HTTP/2")


def test_http2_takes_tls():
    with pytest.raises(ValueError, match="HTTP/2 requires an https URL"):
        observe("http://127.0.0.1:1/", protocol="HTTP/2")


# HTTP/2 as a server without a library would write it: SETTINGS, and a header block that says 200.
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEADERS = b"\0\0\1\1\4\0\0\0\1\x88"


def test_http2(secured, cacert):
    data = b"\0\0\5\0\1\0\0\0\1abcd\n"
    seen = observe(secured([SETTINGS, HEADERS, 0.1, data]), timeout=10, cacert=cacert, protocol="HTTP/2")
    assert (seen.ended, seen.status, seen.byte_count, seen.row_count) == ("terminated", 200, 5, 1)


# Bad servers: each ends within the limits, in a verdict. Over HTTP/1.1 and, with its frames, over HTTP/2.

LOOP = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
BOMB = gzip.compress(b"\0" * (64 << 20))
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("steps", "ended", "framing"),
    [
        ([(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,)], "timeout", "FAIL"),
        ([OK, *[b"a: b\r\n", 0.02] * 500], "timeout", "FAIL"),
        ([OK, (b"x" * 9999,)], "protocol_error", "FAIL"),
        ([OK, CHUNKED.encode(), b"\r\n\r\n5;", (b"x" * 9999,)], "protocol_error", "FAIL"),
        (
            [OK, CHUNKED.encode(), b"\r\n\r\n", (b"64;" + b"x" * 999 + b"\r\n" + b"y" * 100 + b"\r\n",)],
            "too_large",
            "INCONCLUSIVE",
        ),
        ([OK, CHUNKED.encode(), b"\r\n\r\n0\r\n", (b"x: y\r\n" * 1000,)], "protocol_error", "FAIL"),
        ([OK, CHUNKED.encode(), b"\r\n\r\n", b"10000000000000000\r\n", (b"x" * 9999,)], "too_large", "INCONCLUSIVE"),
        ([OK, CHUNKED.encode(), b"\r\n\r\n", b"1" * 30 + b"\r\n"], "protocol_error", "FAIL"),
        ([OK, b"Content-Length: 99999999999999999999999\r\n\r\n", (b"x" * 9999,)], "protocol_error", "FAIL"),
        ([OK, b"Content-Encoding: gzip\r\n\r\n", BOMB], "too_large", "INCONCLUSIVE"),
        ([OK, b"Content-Encoding: gzip\r\n\r\n", (gzip.compress(b"") * 99,)], "too_large", "INCONCLUSIVE"),
        ([b"HTTP/1.1 200 \xc3\x28\r\nA: \xff\xfe\r\n\r\n\xf0\x28\x8c\xbc\n", "close"], "closed", "INCONCLUSIVE"),
        ([OK, b"X-Stream-Promise: rows=\xff\r\n\r\n", "close"], "closed", "INCONCLUSIVE"),
        ([LOOP], "terminated", "INCONCLUSIVE"),
        ([b"\0" * 70_000], "protocol_error", "FAIL"),
        ([(b"SSH-2.0-OpenSSH_9.2p1\r\n",)], "protocol_error", "FAIL"),
    ],
)
def test_bad_servers_end_in_a_verdict(server, steps, ended, framing):
    one = server(steps)
    # What does not last until the time limit ends long before it.
    seen = observe(f"http://127.0.0.1:{one.port}/", timeout=1 if ended == "timeout" else 60, max_bytes=100_000)
    assert (seen.ended, results(seen)[0]) == (ended, framing)
    assert seen.duration < 30
    assert len(one.requests) == 1
    assert as_text([("stream", seen)], judge(seen))


@pytest.mark.parametrize(
    ("steps", "ended"),
    [
        ([(SETTINGS * 1000,)], "timeout"),
        ([SETTINGS, (b"\0\0\x08\6\0\0\0\0\0pingping" * 1000,)], "timeout"),
        ([SETTINGS, HEADERS, (b"\0\0\0\0\0\0\0\0\1" * 1000,)], "timeout"),
        ([SETTINGS, HEADERS], "timeout"),
        ([SETTINGS, HEADERS, (b"\0\x10\0\0\0\0\0\0\1" + b"x" * 4096,)], "too_large"),
        ([SETTINGS, b"\0\0\0\1\0\0\0\0\1", (b"\0\0\5\x09\0\0\0\0\1\0\1a\1b" * 100,)], "protocol_error"),
        ([SETTINGS, b"\xff\xff\xff\0\0\0\0\0\1", (b"x" * 9999,)], "protocol_error"),
        ([SETTINGS, HEADERS, b"\0\0\4\x08\0\0\0\0\1\0\0\0\0"], "protocol_error"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n", "close"], "protocol_error"),
        ([SETTINGS, HEADERS, "close"], "truncated"),
        ([SETTINGS, HEADERS, 1, "reset"], "truncated"),
    ],
)
def test_bad_http2_servers_end_in_a_verdict(secured, cacert, steps, ended):
    limit = 1 if ended == "timeout" else 60
    seen = observe(secured(steps), timeout=limit, max_bytes=100_000, protocol="HTTP/2", cacert=cacert)
    assert seen.ended == ended, seen.error
    assert seen.duration < 30
    still = ended == "timeout" and seen.status is not None
    assert judge(seen)[0].result == ("INCONCLUSIVE" if still or ended == "too_large" else "FAIL")


def test_a_handshake_that_stalls_ends_at_the_time_limit(serve):
    with pytest.raises(NothingObserved, match=r"did not end within 5 s"):
        observe(serve([]).replace("http:", "https:"), timeout=5, protocol="HTTP/2")


# Two requests on a connection, and a client that stalls


def test_a_connection_is_used_again(six, server):
    answer = [six.header(CHUNKED), *rows(six, 0.02), six.chunk(b"")]
    one = server([*answer, "request", *answer])
    first, second = observe_reuse(f"http://127.0.0.1:{one.port}/", timeout=10)
    assert [results(seen)[:2] for seen in (first, second)] == [["PASS", "PASS"]] * 2
    assert one.requests[0] == one.requests[1]
    assert second.started_at >= first.ended_at


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
        [b"HTTP/1.1 200 OK\r\n\r\nabc", "close"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "close"],
    ],
)
def test_a_connection_that_is_not_kept_is_not_used_again(serve, patient, answer):
    first, second = observe_reuse(serve(answer), timeout=10)
    assert (first.byte_count, second) == (3, None)


def test_what_is_left_of_the_first_response_is_not_taken_for_the_second(server, patient):
    one = server([b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 0.02, b"def", "request", b"more"])
    first, second = observe_reuse(f"http://127.0.0.1:{one.port}/", timeout=10)
    assert (results(first)[0], second) == ("FAIL", None)


def test_a_client_that_stalls_begins_with_the_body_and_notes_when(six, serve, client):
    first, *others = rows(six, 0.02)
    url = serve([six.header(CHUNKED), 0.5, first, client.has(1), *others, six.chunk(b"")])
    seen = observe(url, timeout=30, stall=1.0, on_read=client.on_read)
    # Not with the header, which came half a second before the first row was produced.
    assert seen.rows[0].produced - 0.1 < seen.stall.began
    assert 0.9 < seen.stall.ended - seen.stall.began < 10
    assert seen.stall.byte_count == 64
    assert (seen.ended, seen.byte_count) == ("terminated", 384)
    assert min(row.arrived for row in seen.rows[1:]) > seen.stall.ended


def test_a_stall_does_not_extend_the_time_limit(six, serve):
    seen = observe(serve([six.header(CHUNKED), *rows(six, 0.02)]), timeout=1, stall=30)
    assert (seen.ended, seen.duration < 10) == ("timeout", True)


def test_the_request_in_http10(server):
    one = server([b"HTTP/1.0 200 OK\r\n\r\n", "close"])
    assert observe(f"http://127.0.0.1:{one.port}/", timeout=10, protocol="HTTP/1.0").protocol == "HTTP/1.0"
    assert one.requests[0].startswith(b"GET / HTTP/1.0\r\nHost: 127.0.0.1")


def test_tls_where_none_is_spoken(serve):
    with pytest.raises(NothingObserved, match=r"TLS handshake with 127.0.0.1 port .* did not end within 1 s"):
        observe(serve([]).replace("http:", "https:"), timeout=1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.org", ("example.org", 80, False, "example.org", "/")),
        ("HTTPS://Example.org/a?b", ("example.org", 443, True, "example.org", "/a?b")),
        ("http://[::1]:8080/", ("::1", 8080, False, "[::1]:8080", "/")),
        ("http://bücher.example/ü", ("xn--bcher-kva.example", 80, False, "xn--bcher-kva.example", "/%C3%BC")),
    ],
)
def test_urls(url, expected):
    assert dataclasses.astuple(parse_target(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "http://",
        "http:///path",
        "http://host:port/",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "http://a..b/",
        "http://host/a b",
        "http://host/a\r\nX: y",
        "http://user:secret@host/",
        f"http://{'a' * 64}.example/",
    ],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match=r"is not a URL|does not begin with|credentials"):
        observe(url)


@pytest.mark.parametrize("header", [("a b", "c"), ("ä", "c"), ("a", "b\nc"), ("Content-Length", "5"), ("", "")])
def test_headers_that_cannot_be_sent_are_refused(header):
    with pytest.raises(ValueError, match="cannot be sent"):
        observe("http://127.0.0.1:1/", headers=[header])


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"max_bytes": 0}])
def test_limits_must_be_above_zero(limits):
    with pytest.raises(ValueError, match="above zero"):
        observe("http://127.0.0.1:1/", **limits)
