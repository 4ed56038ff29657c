"""Traefik: which of its settings explains what was seen.

https://doc.traefik.io/traefik/v3.6/reference/install-configuration/entrypoints/
https://doc.traefik.io/traefik/v3.6/reference/routing-configuration/http/load-balancing/service/
"""

from collections.abc import Sequence

from streamproof.edges.facts import Ingress
from streamproof.observation import Observation
from streamproof.verdict import Verdict, secs

CONTROLLER = "traefik.io/ingress-controller"
_MIDDLEWARES = "traefik.ingress.kubernetes.io/router.middlewares"


def why(seen: Observation, before: Observation | None, failed: Sequence[Verdict], ingress: Ingress) -> str:
    """Say by which setting a stream goes wrong at the edge; arguments as `ingress_nginx.why`."""
    named = ingress.annotations.get(_MIDDLEWARES)
    middlewares = f"the Ingress {ingress.name} names {named}" if named else f"the Ingress {ingress.name} names none"
    if any(verdict.question == "timing" for verdict in failed):
        if before is not None and before.framing == "content-length":
            return (
                "The app's body has a Content-Length, and Traefik passes on such a body every 100 ms or when it is "
                "full: set responseForwarding.flushInterval of the service to a negative number"
            )
        return (
            "Traefik collects nothing by itself: look for a middleware with buffering or compress, also at the entry "
            f"point ({middlewares})"
        )
    return (
        f"It ended {secs(seen.duration)} after the request: look at respondingTimeouts.writeTimeout of the entry "
        f"point, which counts to the end of a response, and for a middleware with buffering ({middlewares})"
    )
