"""Where to connect to, if not to the URL's host: what curl's --connect-to, --resolve, --unix-socket and --proxy say."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_HOST = r"\[[^]]*\]|[^:]*"


class ConnectTo(NamedTuple):
    """Connect to another host and port; the URL's stay in Host, SNI and the certificate's check.

    An empty host or port, in the first pair, stands for any; in the second, for the one that is there.
    """

    host: str
    port: int | None
    to_host: str
    to_port: int | None


class Resolve(NamedTuple):
    """The addresses of a host and port; the host "*" stands for any."""

    host: str
    port: int
    addresses: tuple[str, ...]


class Proxy(NamedTuple):
    """An HTTP proxy, and what it is to be told as Proxy-Authorization."""

    host: str
    port: int
    authorization: str | None


@dataclass(frozen=True)
class Route:
    """How to get to the URL's host.

    Attributes:
        connect_to: the first that matches counts.
        resolve: addresses that are used instead of the system's name resolution; the first that matches counts.
        unix_socket: path of a Unix domain socket to connect to instead.
        proxy: HTTP proxy: http URLs are asked of it, https by CONNECT through it (RFC 9110 section 9.3.6).
    """

    connect_to: Sequence[ConnectTo] = ()
    resolve: Sequence[Resolve] = ()
    unix_socket: str | None = None
    proxy: Proxy | None = None

    def __post_init__(self) -> None:
        """Refuse ways that exclude each other.

        Raises:
            ValueError: there are several.
        """
        if self.unix_socket is not None and (self.proxy or self.connect_to or self.resolve):
            raise ValueError("--unix-socket excludes --proxy, --connect-to and --resolve")

    def place(self, host: str, port: int) -> tuple[str, int]:
        """Return host and port to connect to for those of a URL."""
        for one in self.connect_to:
            if one.host.lower() in ("", host.lower()) and one.port in (None, port):
                return one.to_host or host, one.to_port or port
        return host, port

    def addresses(self, host: str, port: int) -> Sequence[str] | None:
        """Return the addresses that were given for a host and port; None where the system is to resolve it."""
        for one in self.resolve:
            if one.host.lower() in ("*", host.lower()) and one.port == port:
                return one.addresses
        return None


def parse_connect_to(text: str) -> ConnectTo:
    """Read HOST1:PORT1:HOST2:PORT2, each of which may be empty; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not that; the message says why.
    """
    match = re.fullmatch(rf"({_HOST}):([0-9]*):({_HOST}):([0-9]*)", text)
    if match is None:
        raise ValueError(f"{text!r} is not HOST1:PORT1:HOST2:PORT2, such as shop.test:443:127.0.0.1:8443")
    host, port, to_host, to_port = match.groups()
    return ConnectTo(_host(host), _port(port), _host(to_host), _port(to_port))


def parse_resolve(text: str) -> Resolve:
    """Read HOST:PORT:ADDRESS[,ADDRESS…]; an IPv6 address may stand in brackets.

    Raises:
        ValueError: it is not that; the message says why.
    """
    match = re.fullmatch(rf"({_HOST}):([0-9]+):(.+)", text)
    if match is None:
        raise ValueError(f"{text!r} is not HOST:PORT:ADDRESS, such as shop.test:443:127.0.0.1")
    addresses = tuple(one.removeprefix("[").removesuffix("]") for one in match[3].split(","))
    for one in addresses:
        try:
            ip_address(one)
        except ValueError:
            raise ValueError(f"{one!r} is not an IP address: --resolve requires HOST:PORT:ADDRESS") from None
    host = match[1] if match[1] == "*" else _host(match[1])
    port = _port(match[2])
    if not host or port is None:
        raise ValueError(f"{text!r} is not HOST:PORT:ADDRESS, such as shop.test:443:127.0.0.1")
    return Resolve(host, port, addresses)


def parse_proxy(text: str) -> Proxy:
    """Read [http://][USER:PASSWORD@]HOST[:PORT]; the port is 1080 by default, as curl has it.

    Raises:
        ValueError: it is not that, or a proxy of another kind; the message says why.
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme != "http":
        raise ValueError(f"{parts.scheme}:// proxies are not supported, only http://HOST:PORT")
    try:
        port = parts.port or 1080
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.path not in ("", "/") or parts.query or not text.isascii():
        raise ValueError(f"{text!r} is not a proxy, such as http://127.0.0.1:3128")
    authorization = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(user.encode()).decode("ascii")
    return Proxy(parts.hostname, port, authorization)


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
    except ValueError:
        # A name does not end in a label of digits alone, or 1.2.3 would be one.
        if host and not re.fullmatch(r"([A-Za-z0-9_-]+\.)*(?=[0-9-]*[A-Za-z_])[A-Za-z0-9_-]+", host):
            raise ValueError(f"{text!r} is not an IP address or a host name") from None
    return host


def _port(text: str) -> int | None:
    if text and not 0 < int(text) < 1 << 16:
        raise ValueError(f"{text} is not a port")
    return int(text) if text else None
