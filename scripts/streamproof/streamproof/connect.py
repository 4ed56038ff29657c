"""Connections: name resolution, TCP, a proxy's tunnel, TLS. What is said over them is no concern of this module."""

import errno
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import h11

from streamproof.observation import Observation, Protocol
from streamproof.request import Request
from streamproof.route import Proxy

# After how many seconds the next address is tried alongside (RFC 8305 section 5, Connection Attempt Delay).
_NEXT_ADDRESS = 0.25
# What the kernel is to hold for a client that stalls or reads slowly, in bytes, so that it is felt further up. It takes
# it twice.
_SMALL_BUFFER = 64 << 10


class NothingObserved(Exception):
    """No connection came about, so there is nothing to judge; the message is one sentence for the user.

    Attributes:
        observations: of what was tried, in a run of several requests.
    """

    observations: Sequence[Observation] = ()


class NotOffered(NothingObserved):
    """The server does not speak the protocol that was asked for, which is not wrong."""


@dataclass(frozen=True)
class Connection:
    """A connection, ready for the request.

    Attributes:
        socket: of it.
        protocol: what is spoken over it.
        seconds: how long TCP took to connect.
    """

    socket: socket.socket
    protocol: Protocol
    seconds: float


def connect(
    request: Request, protocols: Sequence[Protocol], remaining: Callable[[], float], *, small_buffer: bool = False
) -> Connection:
    """Connect to where a request is to go, and speak TLS if its URL says so.

    Args:
        request: what is asked for.
        protocols: what may be spoken, the best first; several are negotiated by ALPN (RFC 7301).
        remaining: returns the seconds that are left, above zero.
        small_buffer: let the kernel hold little for a client that does not read.

    Raises:
        ValueError: the certificates to trust are none.
        NothingObserved: no connection came about.
        NotOffered: the server speaks none of these protocols.
    """
    context = _tls_context(request, protocols) if request.target.tls else None
    plain, seconds = _plain(request, remaining, small_buffer)
    try:
        if context is None:
            return Connection(plain, protocols[0], seconds)
        if request.route.proxy is not None:
            _tunnel(plain, request, request.route.proxy, remaining)
        secured = _secured(plain, context, request, protocols, remaining)
    except BaseException:
        plain.close()
        raise
    chosen = secured.selected_alpn_protocol()
    if "HTTP/2" not in protocols or chosen == "h2":
        return Connection(secured, "HTTP/2" if chosen == "h2" else protocols[-1], seconds)
    if len(protocols) > 1:
        return Connection(secured, "HTTP/1.1", seconds)
    secured.close()
    raise NotOffered(f"{request.target.place} does not offer HTTP/2")


def check_certificates(request: Request) -> None:
    """Find out whether the certificates to trust are any.

    Raises:
        ValueError: they are none.
    """
    if request.target.tls:
        _tls_context(request, ["HTTP/1.1"])


def _tls_context(request: Request, protocols: Sequence[Protocol]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=request.cacert)
    except ssl.SSLError as error:
        raise ValueError(f"what is to be trusted is no certificate in PEM: {error}") from error
    if request.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if one == "HTTP/2" else "http/1.1" for one in protocols])
    return context


def _plain(request: Request, remaining: Callable[[], float], small_buffer: bool) -> tuple[socket.socket, float]:
    """Connect by TCP, or to a Unix domain socket; return how many seconds that took too."""
    route, target = request.route, request.target
    if route.unix_socket is not None:
        connection = socket.socket(socket.AF_UNIX)
        began = time.monotonic()
        try:
            connection.settimeout(remaining())
            connection.connect(route.unix_socket)
        except OSError as error:
            connection.close()
            raise NothingObserved(
                f"no connection to the Unix socket {route.unix_socket}: {error.strerror or error}"
            ) from None
        return connection, time.monotonic() - began
    host, port = route.place(target.host, target.port)
    place = f"{host} port {port}"
    given = None if route.proxy else route.addresses(host, port)
    if route.proxy is not None:
        host, port = route.proxy.host, route.proxy.port
        place = f"the proxy {host} port {port}"
    addresses = list(chain.from_iterable(_resolved(one, port) for one in given or [host]))
    try:
        return _first(addresses, remaining, small_buffer)
    except TimeoutError:
        raise NothingObserved(f"no connection to {place} within {request.timeout:g} s") from None
    except OSError as error:
        raise NothingObserved(f"no connection to {place}: {error.strerror or error}") from None


_Address = tuple[int, int, int, Any]


def _resolved(host: str, port: int) -> list[_Address]:
    """Return a host's addresses, those of IPv6 and IPv4 in turn (RFC 8305 section 4)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NothingObserved(f"the host name {host} could not be resolved: {reason}") from None
    addresses = [(family, kind, number, address) for family, kind, number, _, address in found]
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for pair in zip_longest(first, others) for one in pair if one is not None]


def _first(
    addresses: Sequence[_Address], remaining: Callable[[], float], small_buffer: bool
) -> tuple[socket.socket, float]:
    """Connect to the first of the addresses that answers, and return how many seconds it took to.

    Each gets a head start before the next is tried alongside (RFC 8305), so that a dead one does not take all the time.

    Raises:
        OSError: none of them did; TimeoutError if they did not even refuse.
    """
    untried = list(addresses)
    failure: OSError = TimeoutError()
    deadline = time.monotonic() + remaining()
    next_at = time.monotonic()
    with selectors.DefaultSelector() as selector:
        try:
            while untried or selector.get_map():
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                if untried and (now >= next_at or not selector.get_map()):
                    family, kind, number, address = untried.pop(0)
                    attempt = socket.socket(family, kind, number)
                    selector.register(attempt, selectors.EVENT_WRITE, now)
                    if small_buffer:  # before connecting: the window that TCP may open to is agreed on then
                        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
                    attempt.setblocking(False)
                    code = attempt.connect_ex(address)
                    next_at = now + _NEXT_ADDRESS
                    if code not in (0, errno.EINPROGRESS):
                        failure = OSError(code, os.strerror(code))
                        _drop(selector, attempt)
                    continue
                until = min(deadline, next_at) if untried else deadline
                for key, _ in selector.select(until - now):
                    attempt = key.fileobj  # type: ignore[assignment]
                    code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        selector.unregister(attempt)
                        return attempt, time.monotonic() - float(key.data)
                    failure = OSError(code, os.strerror(code))
                    _drop(selector, attempt)
                    next_at = time.monotonic()
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise failure


def _drop(selector: selectors.BaseSelector, attempt: socket.socket) -> None:
    selector.unregister(attempt)
    attempt.close()


def _tunnel(connection: socket.socket, request: Request, proxy: Proxy, remaining: Callable[[], float]) -> None:
    """Have a proxy connect on (RFC 9110 section 9.3.6)."""
    host, port = request.route.place(request.target.host, request.target.port)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", place)]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    machine = h11.Connection(h11.CLIENT)
    sent = machine.send(h11.Request(method="CONNECT", target=place, headers=headers)) or b""
    try:
        connection.settimeout(remaining())
        connection.sendall(sent + (machine.send(h11.EndOfMessage()) or b""))
        while True:
            event = machine.next_event()
            if event is h11.NEED_DATA:
                connection.settimeout(remaining())
                machine.receive_data(connection.recv(1))  # what follows belongs to TLS
            elif isinstance(event, h11.Response):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise NothingObserved("the proxy closed the connection instead of an answer to CONNECT")
    except (OSError, h11.RemoteProtocolError) as error:
        raise NothingObserved(f"the proxy did not answer CONNECT to {place}: {error}") from None
    if not 200 <= event.status_code < 300:
        answer = f"{event.status_code} {bytes(event.reason).decode('latin-1')}".rstrip()
        raise NothingObserved(f"the proxy answered CONNECT to {place} with {answer}")


def _secured(
    connection: socket.socket,
    context: ssl.SSLContext,
    request: Request,
    protocols: Sequence[Protocol],
    remaining: Callable[[], float],
) -> ssl.SSLSocket:
    place = request.target.place
    connection.settimeout(remaining())
    try:
        return context.wrap_socket(connection, server_hostname=request.target.host)
    except TimeoutError:
        raise NothingObserved(f"the TLS handshake with {place} did not end within {request.timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise NothingObserved(
            f"the certificate of {place} is not accepted: {error.verify_message}; --cacert FILE trusts its authority, "
            "--insecure any"
        ) from None
    except (OSError, ValueError) as error:
        if "no application protocol" in str(error):  # the alert's name (RFC 7301 section 3.2)
            raise NotOffered(f"{place} does not offer {' or '.join(protocols)}") from None
        raise NothingObserved(f"the TLS handshake with {place} failed: {error}") from None
