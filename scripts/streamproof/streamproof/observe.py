"""The only module that touches a socket: asks for a URL, time-stamps every read, hands the bytes to the recorder."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

import h2.exceptions
import h11

from streamproof.http2 import Http2Recorder
from streamproof.observation import Observation, Protocol
from streamproof.record import Http1Recorder, Recorder

DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_BYTES = 64 << 20
_READ_SIZE = 64 << 10
# How long to look for bytes that follow the end of the response, in seconds.
_SURPLUS_WAIT = 0.1
# What the kernel is to hold for a client that stalls, in bytes, so that a stall is felt further up. It takes it twice.
_STALL_BUFFER = 64 << 10


class NothingObserved(Exception):
    """No connection came about, so there is nothing to judge; the message is one sentence for the user."""


class NotOffered(NothingObserved):
    """The server does not speak the protocol that was asked for, which is not wrong."""


def observe(
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
    max_bytes: int = DEFAULT_MAX_BYTES,
    protocol: Protocol = "HTTP/1.1",
    cacert: str | None = None,
    address: tuple[str, int | None] | None = None,
    stall: float = 0.0,
    on_read: Callable[[Recorder], None] | None = None,
) -> Observation:
    """Ask for a URL with GET and record what comes back, and when.

    Redirects are not followed. Connection reuse is left at HTTP/1.1's default, so that a response that only the close
    of the connection ends is the server's choice.

    Args:
        url: http or https.
        headers: pairs of name and value to send, in addition to Host, User-Agent, Accept and Accept-Encoding or
            instead of these.
        timeout: limit in seconds for everything together, except for the system's name resolution.
        max_bytes: limit for the body, encoded or not.
        protocol: what to speak; HTTP/2 takes an https URL.
        cacert: certificates of the authorities to trust, in PEM, instead of the system's.
        address: IP address or host name to connect to instead of the URL's host, and port, if not the URL's.
        stall: seconds not to read for, as soon as the body has begun; the timeout goes on meanwhile.
        on_read: called after every read, which is time-stamped by then; the next read waits until it returns.

    Raises:
        ValueError: the URL, a header, or what else was given cannot be used; the message says why.
        NothingObserved: no connection came about.
        NotOffered: the server does not speak that protocol.
    """
    asker = _Asker(url, headers, timeout, max_bytes, protocol, cacert, address, on_read)
    with asker.connect(stalling=stall > 0) as connection:
        return asker.ask(connection, asker.recorder, stall)


def observe_reuse(
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
    max_bytes: int = DEFAULT_MAX_BYTES,
    cacert: str | None = None,
    address: tuple[str, int | None] | None = None,
    on_read: Callable[[Recorder], None] | None = None,
) -> tuple[Observation, Observation | None]:
    """Ask for a URL over HTTP/1.1, and once more on the same connection.

    Args and raises: as `observe`; the timeout is for each request.

    Returns:
        Both observations; None in place of the second where the connection was not kept open.
    """
    asker = _Asker(url, headers, timeout, max_bytes, "HTTP/1.1", cacert, address, on_read)
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

    def __init__(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        timeout: float,
        max_bytes: int,
        protocol: Protocol,
        cacert: str | None,
        address: tuple[str, int | None] | None,
        on_read: Callable[[Recorder], None] | None,
    ) -> None:
        if not (timeout > 0 and max_bytes > 0):  # so that NaN is refused too
            raise ValueError("the limits for time and size must be above zero")
        self._url = url
        self._target = parse_target(url)
        self._request = _request(self._target, headers)
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._protocol = protocol
        self._address = address
        self._on_read = on_read
        if protocol == "HTTP/2" and not self._target.tls:
            raise ValueError("HTTP/2 takes an https URL: it is by TLS that client and server agree on it")
        self._context = _tls_context(protocol, cacert) if self._target.tls else None
        self.recorder = self._http2_recorder() if protocol == "HTTP/2" else self.http1_recorder()
        self.begin()

    def begin(self) -> None:
        """Start the time limit, for a connection or for another request."""
        self._now = _steady_wall_clock()
        self._started_at = self._now()
        self._deadline = self._started_at + self._timeout

    def http1_recorder(self) -> Http1Recorder:
        """Make a recorder for one request in HTTP/1.1 or HTTP/1.0."""
        return Http1Recorder(
            self._url, self._request, timeout=self._timeout, max_bytes=self._max_bytes, protocol=self._protocol
        )

    def _http2_recorder(self) -> Http2Recorder:
        try:
            return Http2Recorder(
                self._url, self._request, scheme="https", timeout=self._timeout, max_bytes=self._max_bytes
            )
        except h2.exceptions.ProtocolError as error:
            raise ValueError(f"a request with these headers cannot be sent over HTTP/2: {error}") from error

    def ask(self, connection: socket.socket, recorder: Recorder, stall: float = 0.0) -> Observation:
        """Send the request and read until it has ended."""
        recorder.started(self._started_at)
        # Before writing, so that whatever is produced for this request is produced later.
        recorder.sent(self._now())
        try:
            connection.settimeout(self._remaining())
            connection.sendall(recorder.request)
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
        host, port = self._address or (target.host, None)
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
                connection.connect(address)
                return self._secure(connection, self._context) if self._context else connection
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
        place = target.place if self._address is None else f"{host} port {port or target.port}"
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


@dataclass(frozen=True)
class Target:
    """The parts of a URL that a request needs.

    Attributes:
        host, port: where to connect to.
        tls: whether to speak TLS.
        authority: for the Host header.
        path: the request's target, with the query.
    """

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @property
    def place(self) -> str:
        """Host and port, for a sentence."""
        return f"{self.host} port {self.port}"


def parse_target(url: str) -> Target:
    """Take a URL apart.

    Raises:
        ValueError: it is not a URL that can be asked for; the message says why.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"{url!r} is not a URL: it contains a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url!r} does not begin with http:// or https://")
    if not host or port == 0:
        raise ValueError(f"{url!r} is not a URL: it names no {'port' if host else 'host'} to connect to")
    if "@" in parts.netloc:
        raise ValueError("credentials in a URL are not supported, send them with --header 'Authorization: …'")
    tls = parts.scheme == "https"
    # What may stand in a path or a query (RFC 3986 section 3.3), and "%", because escapes are there already.
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~[]") if parts.query else ""
    authority = f"[{host}]" if ":" in host else host
    return Target(
        host=host,
        port=port or (443 if tls else 80),
        tls=tls,
        authority=authority if port is None else f"{authority}:{port}",
        path=path + query,
    )


def parse_address(text: str) -> tuple[str, int | None]:
    """Take an IP address or a host name, and the port that may follow it after a colon, apart.

    Raises:
        ValueError: it is no such thing; the message says why.
    """
    # An IPv6 address has colons of its own, so it takes brackets where a port follows.
    match = re.fullmatch(r"\[(?P<v6>[^]]+)\](?::(?P<p6>[0-9]+))?|(?P<v4>[^:]+)(?::(?P<p4>[0-9]+))?", text)
    host = (match["v6"] or match["v4"]) if match else text
    port = int((match["p6"] or match["p4"] or 0) if match else 0) or None
    try:
        ip_address(host)
    except ValueError:
        # A name does not end in a label of digits alone, or 1.2.3 would be one.
        if not re.fullmatch(r"([A-Za-z0-9-]+\.)*(?=[0-9-]*[A-Za-z])[A-Za-z0-9-]+", host):
            raise ValueError(
                f"{text!r} is not an IP address or a host name, with or without a colon and a port"
            ) from None
    if port is not None and port >= 1 << 16:
        raise ValueError(f"{port} is not a port")
    return host, port


def _request(target: Target, headers: Sequence[tuple[str, str]]) -> h11.Request:
    given = {name.lower() for name, _ in headers}
    defaults = [
        ("Host", target.authority),
        ("User-Agent", "streamproof"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
    ]
    try:
        sent = [(name, value) for name, value in defaults if name.lower() not in given] + list(headers)
        request = h11.Request(
            method="GET",
            target=target.path,
            headers=[(name.encode("ascii"), value.encode("utf-8")) for name, value in sent],
        )
        Http1Recorder("", request, timeout=1, max_bytes=1)  # refuses what h11 finds wrong only when it writes
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise ValueError(f"a request with these headers cannot be sent: {error}") from error
    return request


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
