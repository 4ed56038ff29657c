"""The only module that touches a socket: asks for a URL, time-stamps every read, hands the bytes to the recorder."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace

import h2.exceptions
import h11

from streamproof.http1 import Http1Recorder
from streamproof.http2 import Http2Recorder
from streamproof.observation import Observation, Protocol
from streamproof.record import Recorder
from streamproof.request import Request

_READ_SIZE = 64 << 10
# How long to look for bytes that follow the end of the response, in seconds.
_SURPLUS_WAIT = 0.1
# What the kernel is to hold for a client that stalls, in bytes, so that a stall is felt further up. It takes it twice.
_STALL_BUFFER = 64 << 10


class NothingObserved(Exception):
    """No connection came about, so there is nothing to judge; the message is one sentence for the user."""


class NotOffered(NothingObserved):
    """The server does not speak the protocol that was asked for, which is not wrong."""


def observe(request: Request, *, stall: float = 0.0, on_read: Callable[[Recorder], None] | None = None) -> Observation:
    """Make a request and record what comes back, and when.

    Redirects are not followed. Connection reuse is left at HTTP/1.1's default, so that a response that only the close
    of the connection ends is the server's choice.

    Args:
        request: what to ask for.
        stall: seconds not to read for, as soon as the body has begun; the timeout goes on meanwhile.
        on_read: called after every read, which is time-stamped by then; the next read waits until it returns.

    Raises:
        ValueError: the URL, a header, or what else was given cannot be used; the message says why.
        NothingObserved: no connection came about.
        NotOffered: the server does not speak that protocol.
    """
    asker = _Asker(request, on_read)
    with asker.connect(stalling=stall > 0) as connection:
        return asker.ask(connection, asker.recorder, stall)


def observe_reuse(
    request: Request, *, on_read: Callable[[Recorder], None] | None = None
) -> tuple[Observation, Observation | None]:
    """Make a request over HTTP/1.1, and once more on the same connection.

    Args and raises: as `observe`; the timeout is for each request.

    Returns:
        Both observations; None in place of the second where the connection was not kept open.
    """
    asker = _Asker(replace(request, protocol="HTTP/1.1"), on_read)
    with asker.connect(stalling=False) as connection:
        recorder = asker.http1_recorder()
        first = asker.ask(connection, recorder)
        if not recorder.reusable:
            return first, None
        asker.begin()
        try:
            return first, asker.ask(connection, asker.http1_recorder())
        except NothingObserved:
            return first, None


class _Asker:
    """Connects to where a URL says, and asks."""

    def __init__(self, request: Request, on_read: Callable[[Recorder], None] | None) -> None:
        self._request = request
        self._target = request.target
        self._timeout = request.timeout
        self._protocol = request.protocol
        self._on_read = on_read
        if self._protocol == "HTTP/2" and not self._target.tls:
            raise ValueError("HTTP/2 takes an https URL: it is by TLS that client and server agree on it")
        self._context = _tls_context(self._protocol, request.cacert) if self._target.tls else None
        self.recorder = self._http2_recorder() if self._protocol == "HTTP/2" else self.http1_recorder()
        self.begin()

    def begin(self) -> None:
        """Start the time limit, for a connection or for another request."""
        self._now = _steady_wall_clock()
        self._started_at = self._now()
        self._deadline = self._started_at + self._timeout
        self._connect_seconds = 0.0

    def http1_recorder(self) -> Http1Recorder:
        """Make a recorder for one request in HTTP/1.1 or HTTP/1.0."""
        try:
            return Http1Recorder(self._request)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise ValueError(f"a request with these headers cannot be sent: {error}") from error

    def _http2_recorder(self) -> Http2Recorder:
        self.http1_recorder()  # what is wrong there is wrong here too, and h2 would not say so
        try:
            return Http2Recorder(self._request)
        except h2.exceptions.ProtocolError as error:
            raise ValueError(f"a request with these headers cannot be sent over HTTP/2: {error}") from error

    def ask(self, connection: socket.socket, recorder: Recorder, stall: float = 0.0) -> Observation:
        """Send the request and read until it has ended."""
        recorder.started(self._started_at)
        recorder.connected(self._connect_seconds)
        # Before writing, so that whatever is produced for this request is produced later.
        recorder.sent(self._now())
        try:
            connection.settimeout(self._remaining())
            connection.sendall(recorder.output)
        except OSError as error:
            raise NothingObserved(
                f"the connection to {self._target.place} broke before the request was out: {error}"
            ) from None
        while recorder.ended is None:
            if stall and recorder.byte_count:
                began = self._now()
                time.sleep(min(stall, self._remaining()))
                recorder.stalled(began, self._now())
                stall = 0.0
            self._read(connection, recorder)
            self._send(connection, recorder)
            if self._on_read is not None:
                self._on_read(recorder)
        if recorder.ended == "terminated" and isinstance(recorder, Http1Recorder):
            self._look_for_surplus(connection, recorder)
        return recorder.observation()

    def connect(self, *, stalling: bool) -> socket.socket:
        """Connect, and speak TLS if the URL says so."""
        target = self._target
        host, port = self._request.address or (target.host, None)
        try:
            addresses = socket.getaddrinfo(host, port or target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise NothingObserved(f"the host name {host} could not be resolved: {reason}") from None
        failure: OSError = TimeoutError()
        for family, kind, number, _, address in addresses:
            connection = socket.socket(family, kind, number)
            try:
                if stalling:  # before connecting: the window that TCP may open to is agreed on then
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALL_BUFFER)
                connection.settimeout(self._remaining())
                began = self._now()
                connection.connect(address)
                self._connect_seconds = self._now() - began
                return self._secure(connection, self._context) if self._context else connection
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
        place = target.place if self._request.address is None else f"{host} port {port or target.port}"
        if isinstance(failure, TimeoutError):
            raise NothingObserved(f"no connection to {place} within {self._timeout:g} s")
        raise NothingObserved(f"no connection to {place}: {failure.strerror or failure}")

    def _secure(self, connection: socket.socket, context: ssl.SSLContext) -> socket.socket:
        place = self._target.place
        connection.settimeout(self._remaining())
        try:
            secured = context.wrap_socket(connection, server_hostname=self._target.host)
        except TimeoutError:
            raise NothingObserved(f"the TLS handshake with {place} did not end within {self._timeout:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NothingObserved(f"the certificate of {place} is not accepted: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            if "no application protocol" in str(error):  # the alert's name (RFC 7301 section 3.2)
                raise NotOffered(f"{place} does not offer {self._protocol}") from None
            raise NothingObserved(f"the TLS handshake with {place} failed: {error}") from None
        if self._protocol == "HTTP/2" and secured.selected_alpn_protocol() != "h2":
            secured.close()
            raise NotOffered(f"{place} does not offer {self._protocol}")
        return secured

    def _remaining(self) -> float:
        """Return the seconds that are left, above zero, for a socket takes zero for "do not wait"."""
        return max(self._deadline - self._now(), 0.001)

    def _read(self, connection: socket.socket, recorder: Recorder) -> None:
        asked = self._now()
        if asked >= self._deadline:
            recorder.timed_out(asked)
            return
        connection.settimeout(self._deadline - asked)
        try:
            data = connection.recv(_READ_SIZE)
        except TimeoutError:
            recorder.timed_out(self._now())
            return
        except OSError as error:
            recorder.reset(self._now(), f"the connection broke: {error.strerror or error}")
            return
        at = self._now()
        if data:
            recorder.feed(data, at, at - asked)
        else:
            recorder.closed(at)

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


def _tls_context(protocol: Protocol, cacert: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=cacert)
    except ssl.SSLError as error:
        raise ValueError(f"what is to be trusted is no certificate in PEM: {error}") from error
    context.set_alpn_protocols(["h2" if protocol == "HTTP/2" else "http/1.1"])
    return context


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
