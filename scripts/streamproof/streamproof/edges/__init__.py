"""What each edge calls the setting that usually is behind what was seen: a module for each. Pure."""

from collections.abc import Sequence

from streamproof.edges import ingress_nginx, traefik
from streamproof.edges.facts import Ingress
from streamproof.observation import Observation
from streamproof.verdict import Verdict


def why(seen: Observation, before: Observation | None, failed: Sequence[Verdict], ingress: Ingress) -> str:
    """Say by which setting a stream goes wrong at the edge; arguments as `ingress_nginx.why`."""
    if ingress.controller in ("", ingress_nginx.CONTROLLER):
        return ingress_nginx.why(seen, before, failed, ingress)
    if ingress.controller == traefik.CONTROLLER:
        return traefik.why(seen, before, failed, ingress)
    return (
        f"Its controller is {ingress.controller}, whose settings are not known here. Four questions to ask of it: does "
        "it collect a response before it passes it on, and does X-Accel-Buffering: no stop that; does it compress "
        "without a flush; after what silence does it cut; does it limit the time of a whole response"
    )


def why_unanswered(seen: Observation, ingress: Ingress) -> str:
    """Say what usually is behind a response of the edge that is not the stream; empty where that is not known."""
    is_nginx = ingress.controller in ("", ingress_nginx.CONTROLLER)
    if seen.status == 504 and is_nginx and (timed_out := ingress_nginx.why_timed_out(seen, ingress)):
        return timed_out
    if seen.status in (502, 503, 504):
        return "The edge has no answer from a pod: look at the pods, and at the controller's log"
    if (seen.status or 0) >= 500:
        return "The edge answers with an error of its own: look at the controller's log"
    if seen.status in (301, 302, 307, 308):
        return "The edge redirects: give the https URL with --url"
    if seen.status == 404:
        return "Either the edge does not know that host and path (yet), or the app does not"
    return ""
