"""How a request is made: what reaches the server, over which connection, and what the output says of it."""

import contextlib
import http.server
import io
import json
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
import tracemalloc
import zlib
from types import SimpleNamespace

import brotli
import h2.config
import h2.connection
import h2.events
import pytest
import trustme
from backports import zstd
from streamproof import connect as connect_module
from streamproof.cli import main
from streamproof.observe import NothingObserved, observe
from streamproof.request import MAX_REDIRECTS, Request
from streamproof.route import ConnectTo, Proxy, Resolve, Route, parse_connect_to, parse_proxy, parse_resolve


class Origin:
    """A server that notes what it is asked and answers by a function of the request."""

    def __init__(self, answer, server_class=http.server.ThreadingHTTPServer, address=("127.0.0.1", 0)):
        self.requests = requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body)
                requests.append(asked)
                status, headers, content = answer(asked)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *_):
                pass

        self.server = server_class(address, Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def text(_):
    return 200, {"Content-Type": "text/plain"}, b"a\nb\n"


@pytest.fixture
def origin():
    started = []

    def start(answer=text, **options):
        started.append(Origin(answer, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def verify(url, *options):
    """Verify framing and completeness, and return the status and the observation in the JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(["verify", str(url), "--ask", "framing", "--ask", "completeness", "--json", *options])
    return status, json.loads(out.getvalue())["observations"][-1]


def url_of(one, path="/"):
    return f"http://127.0.0.1:{one.port}{path}"


# Method, body, headers


def test_data_is_posted_as_a_form_unless_a_header_says_otherwise(origin):
    one = origin()
    assert verify(url_of(one), "-d", "a=1", "--data", "b=2")[0] == 0
    assert verify(url_of(one), "-d", "{}", "-H", "content-type: application/json", "-X", "PUT")[0] == 0
    assert verify(url_of(one), "-X", "POST")[0] == 0
    assert verify(url_of(one), "-d", "")[0] == 0
    form, put, bare, empty = one.requests
    assert (form.method, form.body) == ("POST", b"a=1&b=2")
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (put.method, put.body, put.headers.get_all("content-type")) == ("PUT", b"{}", ["application/json"])
    assert (bare.method, bare.headers["content-length"], bare.headers["content-type"]) == ("POST", "0", None)
    assert (empty.method, empty.headers["content-length"]) == ("POST", "0")


def test_data_and_headers_come_out_of_files(origin, tmp_path, monkeypatch):
    one = origin()
    (tmp_path / "body").write_bytes(b'{"a":\r\n 1}\n')
    (tmp_path / "headers").write_text("Authorization: Bearer key\n\nX-Two: 2\n")
    verify(url_of(one), "-d", f"@{tmp_path}/body", "-H", f"@{tmp_path}/headers")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"from standard input")))
    verify(url_of(one), "-d", "@-")
    first, second = one.requests
    assert first.body == b'{"a": 1}', "without line ends, as curl has it"
    assert (first.headers["authorization"], first.headers["x-two"]) == ("Bearer key", "2")
    assert second.body == b"from standard input"


def test_a_url_without_a_subcommand_is_verified(origin, capsys):
    one = origin()
    assert main(["-X", "POST", url_of(one), "--ask", "framing"]) == 0
    assert main([url_of(one), "--ask", "framing"]) == 0
    assert [asked.method for asked in one.requests] == ["POST", "GET"]


def test_the_version_is_told(capsys):
    assert main(["-V"]) == main(["--version"]) == 0
    assert capsys.readouterr().out == "streamproof 0.1.0\n" * 2


# Which protocol, and whose certificate


@pytest.fixture
def secure(tmp_path):
    """Start a TLS server that hands each connection to a function; return its URL and how to trust it."""
    stop = []
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def start(serve, alpn, name="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        context.set_alpn_protocols(alpn)
        listener = socket.create_server(("127.0.0.1", 0))
        stop.append(listener)

        def run():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.settimeout(10)
                    serve(secured)

        threading.Thread(target=run, daemon=True).start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}/", ["--cacert", str(tmp_path / "ca.pem")]

    yield start
    for listener in stop:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def http11(connection):
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(65536)
        if not data:
            return
        request += data
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\nb\n")
    connection.recv(1)


def http2(connection, taken=None):
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    connection.sendall(peer.data_to_send())
    while data := connection.recv(65536):
        for event in peer.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                taken.extend(event.data)
                peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                peer.send_headers(event.stream_id, [(":status", "200")])
                peer.send_data(event.stream_id, b"a\nb\n", end_stream=True)
        connection.sendall(peer.data_to_send())


def either(connection):
    (http2 if connection.selected_alpn_protocol() == "h2" else http11)(connection)


def test_https_negotiates_as_a_browser_does_and_says_which(secure):
    url, trust = secure(either, ["h2", "http/1.1"])
    status, seen = verify(url, *trust)
    assert (status, seen["http_version"]) == (0, "2")
    assert seen["notes"] == ["HTTP/2 was negotiated, as a browser does; HTTP/1.1 was not asked: --http1.1 does"]
    for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
        seen = verify(url, option, *trust)[1]
        assert (seen["http_version"], seen["notes"]) == (version, [])


@pytest.mark.parametrize("alpn", [["http/1.1"], []])
def test_a_server_without_http2_is_asked_over_http11(secure, alpn):
    url, trust = secure(either, alpn)
    status, seen = verify(url, *trust)
    assert (status, seen["http_version"]) == (0, "1.1")
    assert seen["notes"] == ["HTTP/1.1 was negotiated: the server does not offer HTTP/2"]


def test_a_header_that_http2_does_not_know_is_sent_over_http11(secure):
    url, trust = secure(either, ["h2", "http/1.1"])
    assert verify(url, "-H", "Connection: close", *trust)[1]["http_version"] == "1.1"


def test_a_body_larger_than_http2_has_room_for_is_sent_as_the_server_takes_it(secure, tmp_path):
    """65535 bytes until the server says more (RFC 9113 section 6.9.2)."""
    taken = bytearray()
    url, trust = secure(lambda connection: http2(connection, taken), ["h2"])
    (tmp_path / "body").write_bytes(b"0123456789" * 30_000)
    status, seen = verify(url, "-d", f"@{tmp_path}/body", *trust)
    assert (status, seen["status"], len(taken)) == (0, 200, 300_000)


def test_insecure_trusts_any_certificate_and_the_output_names_it(secure, capsys):
    url, _ = secure(either, ["http/1.1"], "ingress.local")
    assert main(["verify", url]) == 2
    said = capsys.readouterr().err
    assert "is not accepted: " in said
    assert "--insecure" in said
    assert main(["verify", url, "-k", "--ask", "framing"]) == 0
    assert "\nthe certificate was not verified (--insecure)\n" in capsys.readouterr().out


# Where to connect to


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop.test:443:127.0.0.1:8443", ConnectTo("shop.test", 443, "127.0.0.1", 8443)),
        ("::127.0.0.1:8443", ConnectTo("", None, "127.0.0.1", 8443)),
        ("::edge.namespace.svc:", ConnectTo("", None, "edge.namespace.svc", None)),
        ("[::1]:80:[fe80::1]:81", ConnectTo("::1", 80, "fe80::1", 81)),
        (":::8080", ConnectTo("", None, "", 8080)),
        ("my_service:80::", ConnectTo("my_service", 80, "", None)),
    ],
)
def test_connect_to(text, expected):
    assert parse_connect_to(text) == expected


@pytest.mark.parametrize("text", ["", "a.test:80", "a:b:c:d", "a:1:b:99999", "a:0:b:1", "::1.2.3:80", "::a..b:80"])
def test_what_connect_to_does_not_understand_is_refused(text):
    with pytest.raises(
        ValueError, match=r"is not HOST1:PORT1:HOST2:PORT2|is not a port|is not an IP address or a host"
    ):
        parse_connect_to(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop.test:443:127.0.0.1", Resolve("shop.test", 443, ("127.0.0.1",))),
        ("*:80:[::1],127.0.0.1", Resolve("*", 80, ("::1", "127.0.0.1"))),
    ],
)
def test_resolve(text, expected):
    assert parse_resolve(text) == expected


@pytest.mark.parametrize("text", ["", "shop.test:443", "shop.test::127.0.0.1", "a:443:elsewhere", ":80:127.0.0.1"])
def test_what_resolve_does_not_understand_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT:ADDRESS"):
        parse_resolve(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:3128", Proxy("127.0.0.1", 3128, None)),
        ("proxy.test", Proxy("proxy.test", 1080, None)),
        ("http://me:s%20cret@[::1]:8080/", Proxy("::1", 8080, "Basic bWU6cyBjcmV0")),
    ],
)
def test_proxy(text, expected):
    assert parse_proxy(text) == expected


@pytest.mark.parametrize("text", ["", "https://a:1", "socks5://a:1", "http://a:x", "http://a:1/path", "http://:80"])
def test_what_is_no_proxy_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a proxy|proxies are not supported"):
        parse_proxy(text)


def test_another_address_is_asked_under_the_host_of_the_url_and_the_output_says_so(origin):
    one = origin()
    seen = verify("http://shop.test/x", "--connect-to", f"shop.test:80:127.0.0.1:{one.port}")[1]
    assert seen["notes"] == [f"connected to 127.0.0.1:{one.port} (--connect-to)"]
    seen = verify(f"http://shop.test:{one.port}/x", "--resolve", f"shop.test:{one.port}:127.0.0.1")[1]
    assert seen["notes"] == ["connected to 127.0.0.1 (--resolve)"]
    assert [asked.headers["host"] for asked in one.requests] == ["shop.test", f"shop.test:{one.port}"]


def test_connect_to_for_another_host_changes_nothing(origin):
    seen = verify(url_of(origin()), "--connect-to", "other.test:80:127.0.0.2:1")[1]
    assert (seen["status"], seen["notes"]) == (200, [])


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def test_a_unix_socket_is_asked(origin, tmp_path):
    path = str(tmp_path / "app.sock")
    one = origin(server_class=UnixServer, address=path)
    status, seen = verify("http://app.test/x", "--unix-socket", path)
    assert (status, one.requests[0].headers["host"]) == (0, "app.test")
    assert seen["notes"] == [f"connected to the Unix socket {path}"]
    with pytest.raises(NothingObserved, match=r"no connection to the Unix socket /nowhere\.sock: No such file"):
        observe(Request("http://app.test/", route=Route(unix_socket="/nowhere.sock")))


def test_a_proxy_is_asked_for_the_whole_url(origin):
    proxy = origin()
    status, seen = verify("http://app.test:81/x?y", "--proxy", f"http://me:word@127.0.0.1:{proxy.port}")
    (asked,) = proxy.requests
    assert (status, asked.path, asked.headers["host"]) == (0, "http://app.test:81/x?y", "app.test:81")
    assert asked.headers["proxy-authorization"] == "Basic bWU6d29yZA=="
    assert seen["notes"] == [f"asked through the proxy 127.0.0.1 port {proxy.port}"]


@pytest.fixture
def tunnel():
    """Start a proxy that knows CONNECT to 127.0.0.1 alone; return its port and what it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def run():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            asked.append(head.decode())
            host, _, port = head.split()[1].decode().rpartition(":")
            if host != "127.0.0.1":
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                client.close()
                continue
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    yield listener.getsockname()[1], asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_https_goes_through_a_proxy_by_connect(secure, tunnel, capsys):
    port, asked = tunnel
    url, trust = secure(either, ["h2", "http/1.1"])
    status, seen = verify(url, "-x", f"http://a:b@127.0.0.1:{port}", *trust)
    place = url.removeprefix("https://").rstrip("/")
    assert (status, seen["http_version"]) == (0, "2")
    assert asked[0].startswith(f"CONNECT {place} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic YTpi" in asked[0]
    assert main(["verify", "https://elsewhere.test/", "-x", f"127.0.0.1:{port}"]) == 2
    assert "the proxy answered CONNECT to elsewhere.test:443 with 407 Proxy Auth" in capsys.readouterr().err


def test_a_proxy_of_the_environment_is_not_used_and_the_output_says_so(origin, monkeypatch):
    one = origin()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert verify(url_of(one))[1]["notes"] == ["HTTP_PROXY is set, but a proxy is used only with --proxy"]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert verify(url_of(one))[1]["notes"] == []


@pytest.fixture
def unanswered():
    """Give the address of a listener that answers nobody any more, as its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    yield listener.getsockname()
    for one in (*fillers, listener):
        one.close()


def test_a_dead_address_of_a_name_does_not_take_all_the_time(origin, unanswered, monkeypatch):
    """As where IPv6 is configured and leads nowhere."""
    one = origin()
    dead, alive = (
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (unanswered, ("127.0.0.1", one.port))
    )
    monkeypatch.setattr(connect_module.socket, "getaddrinfo", lambda *_, **__: [dead, alive])
    began = time.monotonic()
    seen = observe(Request("http://shop.test/", timeout=40))
    assert (seen.status, time.monotonic() - began < 20) == (200, True), "half of the time limit, at the very most"
    monkeypatch.setattr(connect_module.socket, "getaddrinfo", lambda *_, **__: [dead])
    with pytest.raises(NothingObserved, match=r"no connection to shop\.test port 80 within 0\.5 s"):
        observe(Request("http://shop.test/", timeout=0.5))


def test_a_name_with_letters_beyond_ascii_is_asked_as_browsers_do():
    """IDNA 2003 would ask strasse.test, another host."""
    assert Request("http://straße.test:8/").target.authority == "xn--strae-oqa.test:8"


# Redirects


def redirecting(status, location):
    def answer(asked):
        return text(asked) if asked.path == "/new" else (status, {"Location": location}, b"elsewhere")

    return answer


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_location_follows_with_the_method_that_curl_uses(origin, status, method, then):
    one = origin(redirecting(status, "/new"))
    exit_status, seen = verify(url_of(one, "/old"), "-L", "-X", method, "-d", "a")
    old, new = one.requests
    assert (exit_status, old.method, old.body, new.method) == (0, method, b"a", then)
    assert (new.body, new.headers["content-type"] is None) == ((b"", True) if then == "GET" else (b"a", False))
    assert seen["notes"] == [f"{status} from {url_of(one, '/old')} to {url_of(one, '/new')} followed (--location)"]


def test_credentials_do_not_go_to_another_host(origin):
    other = origin()
    one = origin(redirecting(302, url_of(other, "/new")))
    headers = ["-H", "Authorization: key", "-H", "Cookie: a=b", "-H", "Host: shop.test", "-H", "X-Else: 1"]
    assert verify(url_of(one, "/old"), "-L", *headers)[0] == 0
    (asked,) = other.requests
    assert (asked.headers["authorization"], asked.headers["cookie"]) == (None, None)
    assert (asked.headers["host"], asked.headers["x-else"]) == (f"127.0.0.1:{other.port}", "1")
    same = origin(redirecting(302, "/new"))
    verify(url_of(same, "/old"), "-L", *headers)
    assert same.requests[1].headers["authorization"] == "key"


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_redirects_without_an_end_are_bounded(origin, capsys):
    one = origin(redirecting(302, "/old"))
    assert main(["verify", url_of(one, "/old"), "-L"]) == 2
    assert len(one.requests) == MAX_REDIRECTS + 1
    assert f"not followed after {MAX_REDIRECTS} others" in said(capsys)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://a:b/", "http://a b/"])
def test_a_location_that_cannot_be_asked_for_is_shown(origin, capsys, location):
    one = origin(redirecting(302, location))
    assert main(["verify", url_of(one, "/old"), "-L"]) == 2
    assert f"to {location}, which cannot be asked for" in said(capsys)


def test_without_location_a_redirect_is_not_followed_and_the_option_is_named(origin, capsys):
    one = origin(redirecting(302, "/new"))
    assert main(["verify", url_of(one, "/old")]) == 2
    assert len(one.requests) == 1
    assert "which is not followed: --location follows it" in said(capsys)


# Streams that never end


def test_a_feed_is_stopped_after_so_many_events_or_seconds(serve, capsys):
    header = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = serve([header, *[b"9\r\ndata: a\n\n\r\n", 0.2] * 500])
    status, seen = verify(url, "--events", "3")
    assert (status, seen["ended"]) == (0, "stopped")
    began = time.monotonic()
    assert main(["verify", url, "--ask", "framing", "--ask", "completeness", "--for", "1"]) == 0
    assert time.monotonic() - began < 30, "long before the time limit"
    out = said(capsys)
    assert "valid so far, stopped as asked after 1." in out
    assert re.search(r"PASS completeness \d+ events? \(", out)
    silent = serve([header])
    assert main(["verify", silent, "--for", "1"]) == 1
    assert "nothing complete came within 1." in said(capsys)


# A slow reader


def test_a_slow_reader_reads_no_faster_than_it_says(origin):
    one = origin(lambda _: (200, {}, b"x" * 30_000))
    began = time.monotonic()
    status, seen = verify(url_of(one), "--read-rate", "20000")
    assert (status, seen["bytes"]) == (0, 30_000)
    assert time.monotonic() - began > 1.3, "all but the last read is waited for"
    assert seen["notes"] == ["read at 20000 bytes a second at most (--read-rate)"]


# Codings


def squeezed(coding, body):
    if coding == "br":
        return brotli.compress(body)
    if coding == "zstd":
        return zstd.compress(body)
    return zlib.compress(body) if coding == "deflate" else zlib.compress(body, wbits=-15)


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "raw deflate"])
def test_a_coding_is_undone_and_a_false_or_cut_one_fails(origin, coding):
    body = b"line\n" * 3000
    whole = squeezed(coding, body)
    for content, status in ((whole, 0), (whole[:-2], 1), (b"not that coding", 1)):
        one = origin(lambda _, content=content: (200, {"Content-Encoding": coding.split()[-1]}, content))
        exit_status, seen = verify(url_of(one), "--expect-bytes", "15000")
        assert exit_status == status, seen
        assert status or seen["bytes"] == 15_000


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate"])
def test_what_a_coding_blows_up_to_is_bounded(origin, coding):
    content = squeezed(coding, bytes(64 << 20))
    one = origin(lambda _: (200, {"Content-Encoding": coding}, content))
    tracemalloc.start()
    seen = verify(url_of(one), "--max-bytes", str(8 << 20))[1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (seen["ended"], seen["bytes"]) == ("too_large", 8 << 20)
    assert peak < 32 << 20


@pytest.mark.parametrize(("coding", "name"), [("gzip", "gzip"), ("br", "brotli"), ("zstd", "zstd")])
def test_a_coding_that_is_claimed_and_not_sent_fails_and_leaves_timing_open(serve, capsys, coding, name):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nContent-Encoding: "
    event = b"9\r\ndata: 1\n\n\r\n"
    assert main(["verify", serve([head + coding.encode() + b"\r\n\r\n", event, 0.6, event, b"0\r\n\r\n"])]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"FAIL completeness 0 events (0 bytes) arrived, then what came is not valid {name}" in said
    assert "INCONCLUSIVE timing nothing of the body could be decoded" in said


def lazy(asked):
    """Answer as a server that flushes gzip and not brotli, without production times."""
    coding = asked.headers.get("accept-encoding", "")
    return "br" if "br" in coding else "gzip" if "gzip" in coding else ""


class LazyServer:
    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                coding = lazy(self)
                old = self.request_version == "HTTP/1.0"
                self.send_response(200)
                self.send_header("Content-Type", "application/x-ndjson")
                if coding:
                    self.send_header("Content-Encoding", coding)
                self.send_header("Connection", "close") if old else self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                squeeze = brotli.Compressor() if coding == "br" else zlib.compressobj(wbits=31)

                def send(data):
                    if data:
                        self.wfile.write(data if old else b"%x\r\n%s\r\n" % (len(data), data))

                for number in range(8):
                    row = b'{"n": %d}\n' % number
                    if coding == "br":
                        row = squeeze.process(row)
                    elif coding:
                        row = squeeze.compress(row) + squeeze.flush(zlib.Z_SYNC_FLUSH)
                    send(row)
                    time.sleep(0.25)
                send(squeeze.finish() if coding == "br" else squeeze.flush() if coding else b"")
                if not old:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_server_that_flushes_gzip_and_not_brotli_fails(capsys):
    one = LazyServer()
    assert main(["verify", url_of(one), "--ask", "protocols"]) == 1
    out, err = capsys.readouterr()
    assert "HTTP/1.1 with br: timing (Content-Encoding: br): " in " ".join(out.split())
    assert err == "protocols makes 8 requests, each of at most 60 s\n"
    assert "HTTP/1.1 with gzip" in " ".join(out.split()).partition("whole and in time over ")[2]
    one.server.shutdown()
    one.server.server_close()
