"""The only module that touches a socket: asks for a URL, time-stamps every read, hands the bytes to the recorder."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import h11

from streamcheck.observation import Observation
from streamcheck.record import Recorder

DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_BYTES = 64 << 20
_READ_SIZE = 64 << 10
# How long to look for bytes that follow the end of the response, in seconds.
_SURPLUS_WAIT = 0.1


class NothingObserved(Exception):
    """No connection came about, so there is nothing to judge; the message is one sentence for the user."""


def observe(
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
    max_bytes: int = DEFAULT_MAX_BYTES,
    on_read: Callable[[Recorder], None] | None = None,
) -> Observation:
    """Ask for a URL with GET over HTTP/1.1 and record what comes back, and when.

    Redirects are not followed. Connection reuse is left at HTTP/1.1's default, so that a response that only the close
    of the connection ends is the server's choice.

    Args:
        url: http or https.
        headers: pairs of name and value to send, in addition to Host, User-Agent, Accept and Accept-Encoding or
            instead of these.
        timeout: limit in seconds for everything together, except for the system's name resolution.
        max_bytes: limit for the body.
        on_read: called after every read, which is time-stamped by then; the next read waits until it returns.

    Raises:
        ValueError: the URL or a header cannot be used; the message says why.
        NothingObserved: no connection came about.
    """
    if not (timeout > 0 and max_bytes > 0):  # so that NaN is refused too
        raise ValueError("the limits for time and size must be above zero")
    target = parse_target(url)
    recorder = _recorder(url, target, headers, timeout, max_bytes)
    now = _steady_wall_clock()
    deadline = now() + timeout
    with _connect(target, timeout, lambda: deadline - now()) as connection:
        # Before writing, so that whatever is produced for this request is produced later.
        recorder.sent(now())
        try:
            connection.settimeout(max(deadline - now(), 0.001))
            connection.sendall(recorder.request)
        except OSError as error:
            raise NothingObserved(
                f"the connection to {target.place} broke before the request was out: {error}"
            ) from None
        while recorder.ended is None:
            _read(connection, recorder, now, deadline)
            if on_read is not None:
                on_read(recorder)
        if recorder.ended == "terminated":
            _look_for_surplus(connection, recorder, now)
    return recorder.observation()


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


def _recorder(url: str, target: Target, headers: Sequence[tuple[str, str]], timeout: float, max_bytes: int) -> Recorder:
    given = {name.lower() for name, _ in headers}
    defaults = [
        ("Host", target.authority),
        ("User-Agent", "streamcheck"),
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
        return Recorder(url, request, timeout=timeout, max_bytes=max_bytes)
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise ValueError(f"a request with these headers cannot be sent: {error}") from error


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


def _connect(target: Target, timeout: float, remaining: Callable[[], float]) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NothingObserved(f"the host name {target.host} could not be resolved: {reason}") from None
    failure: OSError = TimeoutError()
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(remaining(), 0.001))
            connection.connect(address)
            return _secure(connection, target, timeout, remaining) if target.tls else connection
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
    if isinstance(failure, TimeoutError):
        raise NothingObserved(f"no connection to {target.place} within {timeout:g} s")
    raise NothingObserved(f"no connection to {target.place}: {failure.strerror or failure}")


def _secure(connection: socket.socket, target: Target, timeout: float, remaining: Callable[[], float]) -> socket.socket:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    connection.settimeout(max(remaining(), 0.001))
    try:
        return context.wrap_socket(connection, server_hostname=target.host)
    except TimeoutError:
        raise NothingObserved(f"the TLS handshake with {target.place} did not end within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise NothingObserved(f"the certificate of {target.place} is not accepted: {error.verify_message}") from None
    except (OSError, ValueError) as error:
        raise NothingObserved(f"the TLS handshake with {target.place} failed: {error}") from None


def _read(connection: socket.socket, recorder: Recorder, now: Callable[[], float], deadline: float) -> None:
    asked = now()
    if asked >= deadline:
        recorder.timed_out(asked)
        return
    connection.settimeout(deadline - asked)
    try:
        data = connection.recv(_READ_SIZE)
    except TimeoutError:
        recorder.timed_out(now())
        return
    except OSError as error:
        recorder.reset(now(), f"the connection broke: {error.strerror or error}")
        return
    at = now()
    if data:
        recorder.feed(data, at, at - asked)
    else:
        recorder.closed(at)


def _look_for_surplus(connection: socket.socket, recorder: Recorder, now: Callable[[], float]) -> None:
    connection.settimeout(_SURPLUS_WAIT)
    asked = now()
    try:
        data = connection.recv(_READ_SIZE)
    except OSError:
        return
    if data:
        recorder.feed(data, now(), now() - asked)
