"""What is asked for: one value that goes from the command line to the bytes that are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from streamproof.observation import Protocol

DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Request:
    """One request, and how it is made.

    Attributes:
        url: http or https.
        headers: pairs of name and value to send, in addition to Host, User-Agent, Accept and Accept-Encoding or
            instead of these.
        protocol: what to speak; HTTP/2 requires an https URL.
        cacert: certificates of the authorities to trust, in PEM, instead of the system's.
        address: IP address or host name to connect to instead of the URL's host, and port, if not the URL's.
        timeout: limit in seconds for everything together, except for the system's name resolution.
        max_bytes: limit for the body, encoded or not.
    """

    url: str
    headers: Sequence[tuple[str, str]] = ()
    protocol: Protocol = "HTTP/1.1"
    cacert: str | None = None
    address: tuple[str, int | None] | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        """Refuse limits that would stop a request before it is made.

        Raises:
            ValueError: one is not above zero.
        """
        if not (self.timeout > 0 and self.max_bytes > 0):  # so that NaN is refused too
            raise ValueError("the limits for time and size must be above zero")

    @property
    def target(self) -> "Target":
        """The parts of the URL.

        Raises:
            ValueError: it is not a URL that can be asked for; the message says why.
        """
        return parse_target(self.url)

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields to send, Host first.

        Raises:
            UnicodeError: a name is not ASCII, or a value cannot be encoded.
        """
        given = {name.lower() for name, _ in self.headers}
        defaults = [
            ("Host", self.target.authority),
            ("User-Agent", "streamproof"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ]
        sent = [(name, value) for name, value in defaults if name.lower() not in given] + list(self.headers)
        return [(name.encode("ascii"), value.encode("utf-8")) for name, value in sent]


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
