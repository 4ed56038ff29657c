"""The table of cases: what is asked of which server, and the verdict that is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamproof.run import Question
from streamproof.verdict import Result

# Rows are far enough apart that a busy machine does not make them late. What is small fits into a buffer of 4 KiB.
SMALL = "rows=6&size=64&delay_ms=400"
LARGE = "rows=16&size=1024&delay_ms=250"
CUT = "rows=6&size=64&delay_ms=150&cut_after=3"
# 48 MiB as fast as it goes.
FAST = "rows=1000&size=49152&delay_ms=0"
# The bytes that the file servers serve.
FILE = b"".join(b"line %06d\n" % number for number in range(30_000))

Expected = Mapping[Question, tuple[Result, str]]


@dataclass(frozen=True)
class Case:
    """One URL, what is asked of it, and the right answers.

    Attributes:
        name: unique.
        server: which one is asked.
        target: path and query.
        expected: result and a part of the sentence, by question; these are the questions that are asked.
        options: of `Request`, `Expected` and `Asking`, by the names of their fields.
    """

    name: str
    server: str
    target: str
    expected: Expected
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heavy(self) -> bool:
        """Whether it takes so much of the processor that others which run beside it could be late."""
        return "backpressure" in self.expected or "concurrency" in self.expected


class Line(NamedTuple):
    """One line of the truth table: an edge, the HTTP version in which it asks the app, how the app frames its body."""

    edge: str
    server: str
    version: str
    framing: str

    def case(self, stream: str) -> str:
        """Return the name of its case with the stream that is small, large, cut or fast."""
        return f"{self.edge}, HTTP/{self.version}, {self.framing}: {stream}"


_NGINX = [
    Line(f"nginx, proxy_buffering {buffering}", f"nginx {buffering} {version}", version, framing)
    for buffering in ("off", "on")
    for version, framing in (
        ("1.1", "chunked"),
        ("1.1", "length"),
        ("1.1", "close"),
        ("1.0", "length"),
        ("1.0", "close"),
    )
]
_OTHERS = [
    Line(f"{name}, no setting", name.lower(), "1.1", framing)
    for name in ("Envoy", "Caddy")
    for framing in ("chunked", "length", "close")
]
LINES = [*_NGINX, *_OTHERS]

_WHOLE: tuple[Result, str] = ("PASS", "and the digest is right")
_CHUNKED: tuple[Result, str] = ("PASS", "terminating chunk seen")
_LENGTH: tuple[Result, str] = ("PASS", "exactly that many bytes arrived")
_CLOSE: tuple[Result, str] = ("INCONCLUSIVE", "the close of the connection is the only end")
_IN_TIME: tuple[Result, str] = ("PASS", "arrived before the next one was produced")
_AT_END: tuple[Result, str] = ("FAIL", "all rows arrived together at the end")
_BURSTS: tuple[Result, str] = ("FAIL", "this looks like a 4 KiB buffer")
_TRUNCATED: tuple[Result, str] = ("FAIL", "truncated: 3 of 6 rows")
_NO_END: tuple[Result, str] = ("FAIL", "truncated: ")
_REFUSED: tuple[Result, str] = ("INCONCLUSIVE", "the response is 426 Upgrade Required")
_RUNNING: tuple[Result, str] = ("INCONCLUSIVE", "still running")
_STOPS: tuple[Result, str] = ("PASS", "backpressure reaches the app")
_ABSORBS: tuple[Result, str] = ("PASS", "a hop absorbs the stream")


_LOOKS_WHOLE: Expected = {"framing": _CHUNKED, "completeness": ("FAIL", "where only the app's close ends the body")}


def _of_lines() -> Iterator[Case]:
    for line in LINES:
        buffers = line.edge.endswith(" on")
        framed = _LENGTH if line.framing == "length" else _CHUNKED
        # nginx passes on at once what it gets as chunks (src/http/ngx_http_upstream.c, src/event/ngx_event_pipe.c), and
        # Caddy what has no length (https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#streaming).
        held = (buffers and line.framing != "chunked") or (line.server == "caddy" and line.framing == "length")
        for stream, query, shape in (("small", SMALL, _AT_END), ("large", LARGE, _BURSTS)):
            expected: Expected = {"framing": framed, "completeness": _WHOLE, "timing": shape if held else _IN_TIME}
            yield Case(line.case(stream), line.server, f"/?framing={line.framing}&{query}", expected)
        # An app that ends its body by closing has no way to say that it broke off.
        cut: Expected = _LOOKS_WHOLE if line.framing == "close" else {"framing": _NO_END, "completeness": _TRUNCATED}
        yield Case(line.case("cut"), line.server, f"/?framing={line.framing}&{CUT}", cut)
        absorbs: Expected = {"backpressure": _ABSORBS if buffers else _STOPS}
        yield Case(line.case("fast"), line.server, f"/?framing={line.framing}&{FAST}", absorbs)


_CHUNKED_SMALL = f"/?framing=chunked&{SMALL}"
_GOOD: Expected = {"framing": _CHUNKED, "completeness": _WHOLE, "timing": _IN_TIME}
_HELD: Expected = {"framing": _CHUNKED, "completeness": _WHOLE, "timing": _AT_END}

CASES = [
    *_of_lines(),
    # The app alone: what streamproof says where nothing is in between.
    Case("app, chunked", "app", _CHUNKED_SMALL, _GOOD),
    Case("app, length", "app", f"/?framing=length&{SMALL}", _GOOD | {"framing": _LENGTH}),
    Case("app, close", "app", f"/?framing=close&{SMALL}", _GOOD | {"framing": _CLOSE}),
    Case(
        "app, chunked, cut",
        "app",
        f"/?framing=chunked&{CUT}",
        {"framing": ("FAIL", "no terminating chunk"), "completeness": _TRUNCATED},
    ),
    Case(
        "app, close, cut",
        "app",
        f"/?framing=close&{CUT}",
        {"framing": _CLOSE, "completeness": ("FAIL", "to a client that goes by framing, this looks complete")},
    ),
    Case(
        "app, close, reset",
        "app",
        f"/?framing=close&{CUT}&reset=1",
        {"framing": ("FAIL", "truncated"), "completeness": _TRUNCATED},
    ),
    Case(
        "app, both Transfer-Encoding and Content-Length",
        "app",
        f"/?framing=both&{SMALL}",
        {"framing": ("FAIL", "which HTTP forbids")},
    ),
    Case(
        "nginx off, both Transfer-Encoding and Content-Length",
        "nginx off 1.1",
        f"/?framing=both&{SMALL}",
        {"framing": ("FAIL", "the response is 502")},
    ),
    Case(
        "nginx off, a row twice",
        "nginx off 1.1",
        f"{_CHUNKED_SMALL}&repeat=3",
        {"framing": _CHUNKED, "completeness": ("FAIL", "a row is duplicated: row 3 stands where row 4 was due")},
    ),
    # A reset is noticed where a close is not.
    Case(
        "nginx off, HTTP/1.0, reset",
        "nginx off 1.0",
        f"/?framing=close&{CUT}&reset=1",
        {"framing": ("FAIL", "truncated"), "completeness": _TRUNCATED},
    ),
    # What nginx's other settings do.
    Case(
        "nginx on, HTTP/1.0, X-Accel-Buffering: no",
        "nginx on 1.0",
        f"/?framing=close&{SMALL}&accel_buffering=no",
        _GOOD,
    ),
    Case("nginx off, X-Accel-Buffering: yes", "nginx off 1.0", f"/?framing=close&{SMALL}&accel_buffering=yes", _HELD),
    Case(
        "nginx on, HTTP/1.0, X-Accel-Buffering ignored",
        "nginx ignoring",
        f"/?framing=close&{SMALL}&accel_buffering=no",
        _HELD,
    ),
    # Of two nginx the one in front does not get to know that header, unless the one behind it is told to pass it on.
    Case(
        "two nginx on, HTTP/1.0, X-Accel-Buffering: no",
        "bad nginx before nginx",
        f"/?framing=close&{SMALL}&accel_buffering=no",
        _HELD,
    ),
    Case(
        "two nginx on, HTTP/1.0, X-Accel-Buffering: no passed on",
        "bad nginx before nginx passing",
        f"/?framing=close&{SMALL}&accel_buffering=no",
        _GOOD,
    ),
    Case(
        "nginx on, HTTP/1.0, 1 KiB buffers",
        "nginx 1 KiB",
        "/?framing=close&rows=24&size=256&delay_ms=200",
        _HELD | {"timing": ("FAIL", "this looks like a 1 KiB buffer")},
    ),
    Case(
        "nginx on, HTTP/1.0, 16 KiB buffers, 15 KiB",
        "nginx 16 KiB",
        "/?framing=close&rows=15&size=1024&delay_ms=200",
        _HELD,
    ),
    Case(
        "nginx on, HTTP/1.0, 16 KiB buffers, 80 KiB",
        "nginx 16 KiB",
        "/?framing=close&rows=20&size=4096&delay_ms=200",
        _HELD | {"timing": ("FAIL", "this looks like a 16 KiB buffer")},
    ),
    # What is left over of a row after full buffers comes with the next row, even if it is chunked. A bare socket shows
    # the same.
    Case(
        "nginx on, HTTP/1.0, rows larger than a buffer",
        "nginx on 1.0",
        "/?framing=close&rows=6&size=10000&delay_ms=400",
        _HELD | {"timing": ("FAIL", "they came one by one")},
    ),
    Case(
        "nginx on, HTTP/1.1, rows larger than a buffer",
        "nginx on 1.1",
        "/?framing=chunked&rows=6&size=10000&delay_ms=400",
        _GOOD | {"timing": ("FAIL", "5 of 6 rows were late")},
    ),
    Case("nginx on, no file", "nginx no file", f"/?framing=chunked&{FAST}", {"backpressure": _STOPS}),
    Case(
        "nginx off, absorbing expected",
        "nginx off 1.1",
        f"/?framing=chunked&{FAST}",
        {"backpressure": ("FAIL", "expected was absorb")},
        {"backpressure": "absorb"},
    ),
    Case(
        "nginx on, backpressure expected",
        "nginx on 1.1",
        f"/?framing=chunked&{FAST}",
        {"backpressure": ("FAIL", "expected was backpressure")},
        {"backpressure": "backpressure"},
    ),
    Case(
        "nginx off, too little to tell backpressure",
        "nginx off 1.1",
        "/?framing=chunked&rows=100&size=10000&delay_ms=0",
        {"backpressure": ("INCONCLUSIVE", "may all be in socket buffers")},
    ),
    Case(
        "nginx that limits the rate",
        "nginx slow",
        "/?framing=chunked&rows=16&size=1024&delay_ms=0",
        {"framing": _CHUNKED, "completeness": _WHOLE, "timing": ("FAIL", "rows were")},
    ),
    Case(
        "nginx off, rows without pauses",
        "nginx off 1.1",
        "/?framing=chunked&rows=100&size=64&delay_ms=0",
        _GOOD | {"timing": ("INCONCLUSIVE", "largest lag")},
    ),
    Case("nginx that does not chunk", "nginx not chunking", _CHUNKED_SMALL, _GOOD | {"framing": _CLOSE}),
    Case(
        "nginx that does not chunk, cut",
        "nginx not chunking",
        f"/?framing=chunked&{CUT}",
        {"framing": _CLOSE, "completeness": ("FAIL", "looks complete")},
    ),
    Case("nginx off before nginx on with HTTP/1.0", "nginx before a bad one", _CHUNKED_SMALL, _HELD),
    Case(
        "nginx off before nginx on with HTTP/1.0, cut",
        "nginx before a bad one",
        f"/?framing=chunked&{CUT}",
        {"framing": _CHUNKED, "completeness": ("FAIL", "framing alone would have called it complete")},
    ),
    Case("nginx off before Envoy", "nginx before Envoy", _CHUNKED_SMALL, _GOOD),
    # Protocols.
    Case(
        "nginx off, HTTP/1.0 client",
        "nginx off 1.1",
        _CHUNKED_SMALL,
        _GOOD | {"framing": _CLOSE},
        {"protocol": "HTTP/1.0"},
    ),
    Case("Caddy, HTTP/1.0 client", "caddy", _CHUNKED_SMALL, _GOOD | {"framing": _CLOSE}, {"protocol": "HTTP/1.0"}),
    Case(
        "Envoy, HTTP/1.0 client",
        "envoy",
        _CHUNKED_SMALL,
        {"framing": _REFUSED, "completeness": _REFUSED, "timing": _REFUSED},
        {"protocol": "HTTP/1.0"},
    ),
    Case(
        "nginx off, HTTP/2",
        "nginx tls off",
        _CHUNKED_SMALL,
        _GOOD | {"framing": ("PASS", "END_STREAM seen")},
        {"protocol": "HTTP/2"},
    ),
    Case(
        "nginx on, HTTP/2",
        "nginx tls on",
        _CHUNKED_SMALL,
        _GOOD | {"framing": ("PASS", "END_STREAM seen")},
        {"protocol": "HTTP/2"},
    ),
    # Negotiated, it would be HTTP/2.
    Case("nginx off, TLS", "nginx tls off", _CHUNKED_SMALL, _GOOD, {"protocol": "HTTP/1.1"}),
    # nginx fills its buffer for TLS (ssl_buffer_size) unless it is told to flush.
    Case("nginx on, TLS", "nginx tls on", _CHUNKED_SMALL, _HELD, {"protocol": "HTTP/1.1"}),
    Case(
        "nginx off, HTTP/2, cut",
        "nginx tls off",
        f"/?framing=chunked&{CUT}",
        {"framing": ("FAIL", "the server reset the stream"), "completeness": _TRUNCATED},
        {"protocol": "HTTP/2"},
    ),
    Case(
        "Caddy, HTTP/2",
        "caddy tls",
        _CHUNKED_SMALL,
        _GOOD | {"framing": ("PASS", "END_STREAM seen")},
        {"protocol": "HTTP/2"},
    ),
    Case(
        "nginx off, HTTP/2, backpressure",
        "nginx tls off",
        f"/?framing=chunked&{FAST}",
        {"backpressure": _STOPS},
        {"protocol": "HTTP/2"},
    ),
    Case(
        "nginx on, HTTP/2, backpressure",
        "nginx tls on",
        f"/?framing=chunked&{FAST}",
        {"backpressure": _ABSORBS},
        {"protocol": "HTTP/2"},
    ),
    Case(
        "nginx off, all protocols over TLS",
        "nginx tls off",
        _CHUNKED_SMALL,
        {"protocols": ("PASS", "as a browser, HTTP/1.0, HTTP/1.0 with gzip, HTTP/2")},
    ),
    Case(
        "nginx on that compresses",
        "nginx gzip on",
        _CHUNKED_SMALL,
        {"protocols": ("FAIL", "HTTP/1.1 with gzip: timing")},
    ),
    Case(
        "nginx off that compresses",
        "nginx gzip off",
        _CHUNKED_SMALL,
        {"protocols": ("PASS", "as a browser, HTTP/1.0")},
    ),
    Case(
        "nginx that closes after each response",
        "nginx not reusing",
        _CHUNKED_SMALL,
        {"protocols": ("PASS", "the connection is not kept open")},
    ),
    Case("Envoy, all protocols", "envoy", _CHUNKED_SMALL, {"protocols": ("PASS", "HTTP/1.0 is refused with 426")}),
    Case("Caddy, all protocols over TLS", "caddy tls", _CHUNKED_SMALL, {"protocols": ("PASS", "HTTP/2")}),
    Case(
        "Envoy, streams at once",
        "envoy",
        _CHUNKED_SMALL,
        {"concurrency": ("PASS", "10 streams at once, all in time and whole")},
        {"short": "/?rows=1"},
    ),
    # Longer than the time limit.
    Case(
        "nginx off, without an end",
        "nginx off 1.1",
        "/?framing=chunked&rows=1000&size=64&delay_ms=400",
        {"framing": _RUNNING, "completeness": _RUNNING, "timing": _IN_TIME},
        {"timeout": 3.0},
    ),
    Case(
        "nginx on, HTTP/1.0, without an end",
        "nginx on 1.0",
        "/?framing=close&rows=1000&size=512&delay_ms=200",
        {"framing": _RUNNING, "completeness": _RUNNING, "timing": _BURSTS},
        {"timeout": 6.0},
    ),
    # The demo under gunicorn.
    Case("nginx off, the demo", "nginx demo", "/measure?rows=6&delay_ms=400", _GOOD),
    Case(
        "nginx off, the demo, cut",
        "nginx demo",
        "/measure?rows=6&delay_ms=150&fail_after=3",
        {"framing": ("FAIL", "no terminating chunk"), "completeness": _TRUNCATED},
    ),
    Case(
        "nginx off, a pause longer than its read timeout",
        "nginx 2 s",
        "/measure?rows=2&delay_ms=4000&format=sse",
        {"idle": ("FAIL", "as a read timeout does")},
        {"read_timeout": 3.0},
    ),
    # All that it has held back comes when it gives up, so that the cut does not follow a gap.
    Case(
        "nginx on, HTTP/1.0, a pause longer than its read timeout",
        "nginx 2 s on",
        "/measure?rows=2&delay_ms=4000&format=sse",
        {"idle": ("INCONCLUSIVE", "a hop that buffers and gives up does this")},
        {"read_timeout": 3.0},
    ),
    Case(
        "nginx off, a pause before the first byte longer than its read timeout",
        "nginx 2 s",
        "/download_csv?rows=1&delay_ms=4000",
        {"idle": ("FAIL", "it answered 504")},
        {"read_timeout": 3.0},
    ),
    Case(
        "nginx off, a pause longer than its read timeout, with a heartbeat",
        "nginx 2 s",
        "/measure?rows=2&delay_ms=4000&format=sse&heartbeat_ms=500",
        {"idle": ("PASS", "thanks to 7 heartbeats")},
        {"read_timeout": 3.0},
    ),
    Case(
        "nginx off, a pause shorter than its read timeout",
        "nginx demo",
        "/measure?rows=2&delay_ms=4000&format=sse",
        {"idle": ("PASS", "survived 4")},
        {"read_timeout": 3.0},
    ),
    Case(
        "nginx off, no pause that long",
        "nginx demo",
        "/measure?rows=3&delay_ms=500",
        {"idle": ("INCONCLUSIVE", "the stream never paused for 3 s")},
        {"read_timeout": 3.0},
    ),
    Case(
        "nginx off, streams at once",
        "nginx demo",
        "/measure?rows=6&delay_ms=500",
        {"concurrency": ("PASS", "10 streams at once, all in time and whole")},
        {"short": "/livez"},
    ),
    Case(
        "nginx that refuses a third stream",
        "nginx of 2",
        _CHUNKED_SMALL,
        {"concurrency": ("FAIL", "2 of 4 streams at once were refused (503 Service Temporarily Unavailable)")},
        {"streams": 4},
    ),
    Case(
        "nginx on with HTTP/1.0, streams at once",
        "nginx on 1.0",
        f"/?framing=close&{SMALL}",
        {"concurrency": ("FAIL", "4 of 4 streams at once failed, the first for timing")},
        {"streams": 4},
    ),
    # Servers and frameworks by other people.
    Case(
        "Python's file server",
        "http.server",
        "/file.txt",
        {"framing": _LENGTH, "completeness": ("PASS", "as many as Content-Length says")},
    ),
    Case(
        "Python's file server, keeping the connection",
        "http.server 1.1",
        "/file.txt",
        {"framing": _LENGTH, "completeness": _WHOLE},
        {"bytes": len(FILE), "sha256": "right"},
    ),
    Case(
        "Python's file server, another file expected",
        "http.server 1.1",
        "/file.txt",
        {"completeness": ("FAIL", "the digest is wrong")},
        {"sha256": "0" * 64},
    ),
    Case(
        "Caddy's file server",
        "caddy files",
        "/file.txt",
        {"framing": _LENGTH, "completeness": _WHOLE},
        {"sha256": "right"},
    ),
    Case(
        "Caddy's file server, a longer file expected",
        "caddy files",
        "/file.txt",
        {"completeness": ("FAIL", "truncated: 360000 of 360001 bytes")},
        {"bytes": len(FILE) + 1},
    ),
    Case(
        "Caddy's file server, no such file",
        "caddy files",
        "/other.txt",
        {"framing": ("INCONCLUSIVE", "the response is 404 Not Found")},
    ),
    Case(
        "uvicorn, Starlette's events",
        "uvicorn",
        "/?pause=0.5",
        {
            "framing": _CHUNKED,
            "completeness": ("PASS", "and a marked end"),
            "timing": ("PASS", "4 events came one by one"),
        },
    ),
    Case(
        "uvicorn, Starlette's events with its ping in long pauses",
        "uvicorn",
        "/?pause=3.5",
        {"idle": ("PASS", "heartbeats: the longest gap without a byte was 1.")},
        {"read_timeout": 2.0},
    ),
    Case(
        "waitress", "waitress", "/", {"framing": _CHUNKED, "completeness": ("PASS", "6 of 6 rows"), "timing": _IN_TIME}
    ),
]
