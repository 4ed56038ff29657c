"""What is asked for: one value that goes from the command line to the bytes that are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urldefrag, urljoin, urlsplit

import idna

from streamproof.observation import Protocol
from streamproof.route import Route

DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_BYTES = 64 << 20
# As many as browsers follow (https://fetch.spec.whatwg.org/#http-redirect-fetch).
MAX_REDIRECTS = 20

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
# What is for one origin only.
_PRIVATE = ("authorization", "cookie", "host", "proxy-authorization")
# What describes a body that is not sent any more.
_OF_BODY = ("content-type", "content-length", "content-encoding", "transfer-encoding")


@dataclass(frozen=True)
class Request:
    """One request, and how it is made.

    Attributes:
        url: http or https.
        method: "GET" and so on.
        headers: pairs of name and value to send, in addition to Host, User-Agent, Accept and Accept-Encoding or
            instead of these.
        body: what to send; None for none.
        protocol: what to speak; HTTP/2 requires an https URL. None to negotiate it as a browser does: of an https URL
            HTTP/2 or HTTP/1.1 by ALPN (RFC 7301), else HTTP/1.1.
        cacert: certificates of the authorities to trust, in PEM, instead of the system's.
        insecure: trust any certificate.
        route: where to connect to, if not to the URL's host.
        redirects: how many to follow.
        timeout: limit in seconds for everything together, except for the system's name resolution.
        max_bytes: limit for the body, encoded or not.
        stop_events: stop after so many events, of a stream that may never end.
        stop_seconds: stop after so many seconds.
        read_rate: read at most so many bytes a second; None to read as fast as it goes.
        times: regular expression by which to find production times in lines, in a group named time.
    """

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    protocol: Protocol | None = None
    cacert: str | None = None
    insecure: bool = False
    route: Route = field(default_factory=Route)
    redirects: int = 0
    timeout: float = DEFAULT_TIMEOUT
    max_bytes: int = DEFAULT_MAX_BYTES
    stop_events: int | None = None
    stop_seconds: float | None = None
    read_rate: int | None = None
    times: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked whatever the URL is.

        Raises:
            ValueError: that is so; the message says why.
        """
        if not (self.timeout > 0 and self.max_bytes > 0):  # so that NaN is refused too
            raise ValueError("the limits for time and size must be above zero")
        if self.stop_seconds is not None and not 0 < self.stop_seconds < self.timeout:
            raise ValueError(
                f"--for {self.stop_seconds:g} does not fit into the time limit of {self.timeout:g} s: raise --timeout"
            )
        if not _TOKEN.fullmatch(self.method):
            raise ValueError(f"{self.method!r} is not a method")
        if self.method in ("HEAD", "CONNECT"):
            raise ValueError(f"the response to {self.method} has no body, so there is no stream to judge")

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
        if self.body is not None:
            defaults.append(("Content-Type", "application/x-www-form-urlencoded"))
        if self.body is not None or self.method in ("POST", "PUT", "PATCH"):  # RFC 9110 section 8.6
            defaults.append(("Content-Length", str(len(self.body or b""))))
        sent = [(name, value) for name, value in defaults if name.lower() not in given] + list(self.headers)
        return [(name.encode("ascii"), value.encode("utf-8")) for name, value in sent]

    def with_header(self, name: str, value: str) -> "Request":
        """Return the same request with a header, instead of any of that name."""
        others = [(key, content) for key, content in self.headers if key.lower() != name.lower()]
        return replace(self, headers=[*others, (name, value)])

    def redirected(self, status: int, location: str) -> "Request":
        """Return the request that a redirect leads to (RFC 9110 section 15.4), as curl and browsers make it.

        A POST becomes a GET where the status is 301 or 302, everything but GET where it is 303. Credentials and the
        Host header do not go to another origin.

        Raises:
            ValueError: the location is not a URL that can be asked for.
        """
        url = urldefrag(urljoin(self.url, location)).url
        old, new = self.target, parse_target(url)
        dropped: tuple[str, ...] = ()
        method, body = self.method, self.body
        if status == 303 or (status in (301, 302) and method == "POST"):
            method, body = "GET", None
            dropped += _OF_BODY
        if (old.tls, old.host, old.port) != (new.tls, new.host, new.port):
            dropped += _PRIVATE
        headers = [(name, value) for name, value in self.headers if name.lower() not in dropped]
        redirects = self.redirects - 1
        return replace(self, url=url, method=method, headers=headers, body=body, redirects=redirects)


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
        host = host if ":" in host else ascii_host(host)
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


def ascii_host(host: str) -> str:
    """Return a host name as it is resolved and sent (IDNA 2008, RFC 5891, with the mapping of UTS 46 as browsers have).

    Raises:
        ValueError: it is no host name.
    """
    try:
        if host.isascii():  # an underscore, as in Docker's names, is no business of IDNA's
            return host.encode("idna").decode("ascii")  # finds labels that are empty or too long
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} is not a host name: {error}") from error
