"""A request id and a log line for every request."""

import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Generator, Sequence

from django.http import HttpRequest, HttpResponseBase

from django_streamproof import logs
from django_streamproof.around import around
from django_streamproof.conf import conf

# Not "requests": that is the library's of this name, which many projects quiet.
logger = logging.getLogger("streams.requests")

# What edges send: hex digits in ingress-nginx, UUIDs in Envoy; long enough for the others.
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,100}")
# Characters of a path in the log.
_SHOWN_PATH = 1000
# Values of parameters that are secret by their name.
_SECRET = re.compile(r"([?&][^=&]*(?:token|secret|passw|key|sig|auth|session)[^=&]*=)[^&]*", re.IGNORECASE)
_QUIET = ("/livez", "/readyz", "/metrics")


@around
def logged(request: HttpRequest) -> Generator[None, HttpResponseBase, HttpResponseBase]:
    """Give each request an id, send it back as X-Request-ID, and log how the request was answered.

    The id is the edge's, so that its log and this one can be put together. Anybody else's is a field of its own, as it
    could be that of another's request. For a stream the lines come from `streams`; the probes and the scrapes, every
    few seconds, are logged at the level debug, so by default not.

    The outermost of all, so that nothing answers without it.
    """
    request.started = time.monotonic()
    asked = request.headers.get("X-Request-ID", "")
    sane = _SANE_ID.fullmatch(asked) is not None
    edges = conf().trusted_edges
    believed = sane and _within(request.META.get("REMOTE_ADDR", ""), edges)
    request_id = asked if believed else uuid.uuid4().hex
    logs.request_id.set(request_id)
    request.log_fields = {
        "request_id": request_id,
        **({"client_request_id": asked} if sane and not believed else {}),
        "client": client_of(request, edges),
        "method": request.method,
        "path": _SECRET.sub(r"\1***", request.get_full_path())[:_SHOWN_PATH],
    }
    response = yield
    response["X-Request-ID"] = request_id
    if not getattr(request, "streamed", False):
        _log(request, response)
    return response


def _log(request: HttpRequest, response: HttpResponseBase) -> None:
    fields = request.log_fields | {
        "status": response.status_code,
        "duration_s": round(time.monotonic() - request.started, 3),
    }
    level = logging.DEBUG if request.path_info in _QUIET else logging.INFO
    logger.log(level, "%s %s %s", fields["method"], fields["path"], response.status_code, extra={"fields": fields})


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_of(request: HttpRequest, edges: Sequence[Network]) -> str:
    """Return the client's address: from X-Forwarded-For, as far as trusted edges wrote it.

    Each hop appends whom it was asked by, so it is read from the right, up to the first address that is no edge's. What
    is left of that, anybody may have written.
    """
    address = request.META.get("REMOTE_ADDR", "")
    for said in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        if not _within(address, edges) or not _is_address(said.strip()):
            break
        address = said.strip()
    return str(address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, networks: Sequence[Network]) -> bool:
    if not _is_address(address):
        return False
    found = ipaddress.ip_address(address)
    # As a socket for both families has those of IPv4.
    known = getattr(found, "ipv4_mapped", None) or found
    return any(known in network for network in networks)
