"""Makes a request: writes it, time-stamps every read, hands the bytes to the recorder."""

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from urllib.request import getproxies, proxy_bypass

import h2.exceptions
import h11

from streamproof.connect import Connection, NothingObserved, NotOffered, check_certificates, connect
from streamproof.http1 import Http1Recorder
from streamproof.http2 import Http2Recorder
from streamproof.observation import Observation, Protocol
from streamproof.record import Recorder
from streamproof.request import Request

__all__ = ["NotOffered", "NothingObserved", "observe", "observe_reuse"]

T = TypeVar("T")

_READ_SIZE = 64 << 10
# How long to look for bytes that follow the end of the response, in seconds.
_SURPLUS_WAIT = 0.1
# A slow reader reads so many times a second.
_SLOW_READS = 10


class _RedirectedError(Exception):
    def __init__(self, request: Request, note: str) -> None:
        super().__init__(note)
        self.request = request
        self.note = note


def observe(request: Request, *, stall: float = 0.0, on_read: Callable[[Recorder], None] | None = None) -> Observation:
    """Make a request and record what comes back, and when.

    Connection reuse is left at HTTP/1.1's default, so that a response that only the close of the connection ends is the
    server's choice.

    Args:
        request: what to ask for.
        stall: seconds not to read for, as soon as the body has begun; the timeout goes on meanwhile.
        on_read: called after every read, which is time-stamped by then; the next read waits until it returns.

    Raises:
        ValueError: the URL, a header, or what else was given cannot be used; the message says why.
        NothingObserved: no connection came about.
        NotOffered: the server does not speak that protocol.
    """

    def make(asker: _Asker) -> Observation:
        connection = asker.connect(small_buffer=stall > 0)
        with connection.socket:
            return asker.ask(connection, asker.recorder(connection.protocol), stall)

    return _following(request, on_read, make)


def observe_reuse(
    request: Request, *, on_read: Callable[[Recorder], None] | None = None
) -> tuple[Observation, Observation | None]:
    """Make a request over HTTP/1.1, and once more on the same connection.

    Args and raises: as `observe`; the timeout is for each request.

    Returns:
        Both observations; None in place of the second where the connection was not kept open.
    """

    def make(asker: _Asker) -> tuple[Observation, Observation | None]:
        connection = asker.connect(small_buffer=False)
        with connection.socket:
            recorder = asker.http1_recorder()
            first = asker.ask(connection, recorder)
            if not recorder.reusable:
                return first, None
            asker.begin()
            try:
                return first, asker.ask(replace(connection, seconds=0.0), asker.http1_recorder())
            except NothingObserved:
                return first, None

    return _following(replace(request, protocol="HTTP/1.1"), on_read, make)


def _following(request: Request, on_read: Callable[[Recorder], None] | None, make: Callable[["_Asker"], T]) -> T:
    """Make a request, and those that redirects lead to, within one time limit."""
    asker = _Asker(request, on_read)
    while True:
        try:
            return make(asker)
        except _RedirectedError as redirect:
            asker = asker.redirected(redirect)


class _Asker:
    """Connects to where a request goes, and asks."""

    def __init__(self, request: Request, on_read: Callable[[Recorder], None] | None) -> None:
        self._request = request
        self._target = request.target
        self._on_read = on_read
        self._unfollowed: str | None = None
        self._stop_at = 0.0
        self._notes: list[str] = []
        if request.protocol == "HTTP/2" and not self._target.tls:
            raise ValueError("HTTP/2 requires an https URL: it is by TLS that client and server agree on it")
        if request.route.proxy and request.route.connect_to and not self._target.tls:
            raise ValueError("a proxy is asked for the URL itself: --connect-to with --proxy requires an https URL")
        check_certificates(request)
        # So that what cannot be sent is found before a connection is made.
        self.http1_recorder()
        self._protocols = self._possible()
        self.begin()

    def _possible(self) -> list[Protocol]:
        if not self._target.tls or self._request.protocol in ("HTTP/1.0", "HTTP/1.1"):
            return [self._request.protocol or "HTTP/1.1"]
        try:
            self._http2_recorder()
        except ValueError:
            if self._request.protocol is None:  # a header such as Connection
                return ["HTTP/1.1"]
            raise
        return ["HTTP/2"] if self._request.protocol else ["HTTP/2", "HTTP/1.1"]

    def begin(self) -> None:
        """Start the time limit, for a connection or for another request."""
        self._now = _steady_wall_clock()
        self._started_at = self._now()
        self._deadline = self._started_at + self._request.timeout

    def redirected(self, redirect: _RedirectedError) -> "_Asker":
        """Return who asks where a redirect leads to, within the same time limit."""
        other = _Asker(redirect.request, self._on_read)
        other._now, other._started_at, other._deadline = self._now, self._started_at, self._deadline
        other._notes = [*self._notes, redirect.note]
        if redirect.request.redirects == 0:
            other._unfollowed = f"is not followed after {len(other._notes)} others"
        return other

    def recorder(self, protocol: Protocol) -> Recorder:
        """Make a recorder for one request."""
        return self._http2_recorder() if protocol == "HTTP/2" else self.http1_recorder()

    def http1_recorder(self) -> Http1Recorder:
        """Make a recorder for one request in HTTP/1.1 or HTTP/1.0."""
        try:
            return Http1Recorder(self._request)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise ValueError(f"a request with these headers cannot be sent: {error}") from error

    def _http2_recorder(self) -> Http2Recorder:
        try:
            return Http2Recorder(self._request)
        except h2.exceptions.ProtocolError as error:
            raise ValueError(f"a request with these headers cannot be sent over HTTP/2: {error}") from error

    def connect(self, *, small_buffer: bool) -> Connection:
        """Connect, and speak TLS if the URL says so."""
        slow = small_buffer or self._request.read_rate is not None
        return connect(self._request, self._protocols, self._remaining, small_buffer=slow)

    def ask(self, connection: Connection, recorder: Recorder, stall: float = 0.0) -> Observation:
        """Send the request and read until it has ended."""
        rate = self._request.read_rate
        recorder.started(self._started_at)
        recorder.connected(connection.seconds)
        self._stop_at = self._now() + (self._request.stop_seconds or self._request.timeout)
        # Before writing, so that whatever is produced for this request is produced later.
        recorder.sent(self._now())
        try:
            connection.socket.settimeout(self._remaining())
            connection.socket.sendall(recorder.output)
        except OSError as error:
            # A server may answer before it has read all of a body, and close: that answer is still there to be read.
            if not self._request.body:
                raise NothingObserved(
                    f"the connection to {self._target.place} broke before the request was out: {error}"
                ) from None
        while recorder.ended is None:
            if stall and recorder.byte_count:
                began = self._now()
                time.sleep(min(stall, self._remaining()))
                recorder.stalled(began, self._now())
                stall = 0.0
            before = self._now()
            size = _READ_SIZE if rate is None else max(1, min(_READ_SIZE, rate // _SLOW_READS))
            read = self._read(connection.socket, recorder, size)
            self._send(connection.socket, recorder)
            if self._on_read is not None:
                self._on_read(recorder)
            self._look_for_redirect(recorder)
            if recorder.ended is None and 0 < (self._request.stop_events or 0) <= recorder.event_count:
                recorder.stopped(self._now())
            if rate is not None and recorder.ended is None:
                time.sleep(min(max(0.0, before + read / rate - self._now()), self._remaining()))
        if recorder.ended == "terminated" and isinstance(recorder, Http1Recorder):
            self._look_for_surplus(connection.socket, recorder)
        notes = [*self._notes, *self._how(connection)]
        return replace(recorder.observation(), notes=notes, unfollowed=self._unfollowed)

    def _how(self, connection: Connection) -> list[str]:
        """Say what a reader must know of how it was asked."""
        request, route = self._request, self._request.route
        notes = []
        if len(self._protocols) > 1 and connection.protocol == "HTTP/2":
            notes.append("HTTP/2 was negotiated, as a browser does; HTTP/1.1 was not asked: --http1.1 does")
        elif len(self._protocols) > 1:
            notes.append("HTTP/1.1 was negotiated: the server does not offer HTTP/2")
        if request.insecure and self._target.tls:
            notes.append("the certificate was not verified (--insecure)")
        host, port = route.place(self._target.host, self._target.port)
        if (host, port) != (self._target.host, self._target.port):
            notes.append(f"connected to {f'[{host}]' if ':' in host else host}:{port} (--connect-to)")
        if (addresses := route.addresses(host, port)) and not route.proxy:
            notes.append(f"connected to {' or '.join(addresses)} (--resolve)")
        if route.unix_socket is not None:
            notes.append(f"connected to the Unix socket {route.unix_socket}")
        if route.proxy is not None:
            notes.append(f"asked through the proxy {route.proxy.host} port {route.proxy.port}")
        elif (name := _unused_proxy(self._target.tls, self._target.host)) is not None:
            notes.append(f"{name} is set, but a proxy is used only with --proxy")
        if request.read_rate is not None:
            notes.append(f"read at {request.read_rate} bytes a second at most (--read-rate)")
        return notes

    def _remaining(self) -> float:
        """Return the seconds that are left, above zero, for a socket takes zero for "do not wait"."""
        return max(self._deadline - self._now(), 0.001)

    def _read(self, connection: socket.socket, recorder: Recorder, size: int) -> int:
        """Read once, and return how many bytes came."""
        asked = self._now()
        until = min(self._deadline, self._stop_at)
        if asked >= until:
            self._give_up(recorder, asked)
            return 0
        connection.settimeout(until - asked)
        try:
            data = connection.recv(size)
        except TimeoutError:
            self._give_up(recorder, self._now())
            return 0
        except OSError as error:
            recorder.reset(self._now(), f"the connection broke: {error.strerror or error}")
            return 0
        at = self._now()
        if data:
            recorder.feed(data, at, at - asked)
        else:
            recorder.closed(at)
        return len(data)

    def _give_up(self, recorder: Recorder, at: float) -> None:
        if self._stop_at < self._deadline:
            recorder.stopped(at)
        else:
            recorder.timed_out(at)

    def _send(self, connection: socket.socket, recorder: Recorder) -> None:
        data = recorder.to_send()
        if not data or recorder.ended is not None:
            return
        try:
            connection.settimeout(self._remaining())
            connection.sendall(data)
        except TimeoutError:
            recorder.timed_out(self._now())
        except OSError:
            return  # What the server had to say may still be there to be read; if not, reading says what is wrong.

    def _look_for_redirect(self, recorder: Recorder) -> None:
        if self._request.redirects <= 0 or recorder.redirect is None:
            return
        status, location = recorder.redirect
        try:
            request = self._request.redirected(status, location)
        except ValueError:
            self._unfollowed = "cannot be asked for"
            return
        raise _RedirectedError(request, f"{status} from {self._request.url} to {request.url} followed (--location)")

    def _look_for_surplus(self, connection: socket.socket, recorder: Recorder) -> None:
        connection.settimeout(_SURPLUS_WAIT)
        asked = self._now()
        try:
            data = connection.recv(_READ_SIZE)
        except OSError:
            return
        at = self._now()
        if data:
            recorder.feed(data, at, at - asked)
        else:
            recorder.closed(at)


def _unused_proxy(tls: bool, host: str) -> str | None:
    """Return the name of the environment variable by which other programs would use a proxy."""
    kinds = ("https" if tls else "http", "all")
    kind = next((one for one in kinds if one in getproxies()), None)
    return None if kind is None or proxy_bypass(host) else f"{kind.upper()}_PROXY"


def _steady_wall_clock() -> Callable[[], float]:
    """Return a clock that starts at the wall clock's time and then runs on perf_counter.

    Production times come from the app's wall clock, so arrivals must be Unix times too; but a wall clock that is set
    while a stream runs would make arrivals go backward. So it is read only once, here: between two readings of
    perf_counter, and of several tries the closest counts, in case the process was interrupted in between.
    """
    tries = []
    for _ in range(5):
        before = time.perf_counter()
        wall = time.time()
        after = time.perf_counter()
        tries.append((after - before, wall - (before + after) / 2))
    _, anchor = min(tries)
    return lambda: anchor + time.perf_counter()
