"""ingress-nginx: which annotation of an Ingress explains what was seen.

The values where an Ingress sets none:
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/configmap/
"""

from collections.abc import Sequence

from streamproof.edges.facts import Ingress
from streamproof.observation import Observation
from streamproof.verdict import Verdict, secs

CONTROLLER = "k8s.io/ingress-nginx"
_PREFIX = "nginx.ingress.kubernetes.io/"
_UNSET = {"proxy-buffering": "off", "proxy-http-version": "1.1", "proxy-read-timeout": "60"}


def why(seen: Observation, before: Observation | None, failed: Sequence[Verdict], ingress: Ingress) -> str:
    """Say by which setting a stream goes wrong at the edge.

    Args:
        seen: at the edge.
        before: at the hop before; None where nothing was.
        failed: of what was seen.
        ingress: what the edge is told.
    """
    questions = [verdict.question for verdict in failed]
    cut = seen.ended == "truncated" or "completeness" in questions
    if cut:
        waited = _silence(seen)
        if waited is not None and _is_read_timeout(waited, ingress):
            return (
                f"It was cut after {secs(waited)} without a byte, and the Ingress {ingress.name} says "
                f"{_said(ingress, 'proxy-read-timeout')} seconds: set {_PREFIX}proxy-read-timeout above the longest "
                "pause, or have the app send heartbeats"
            )
    if "timing" in questions:
        return _late(seen, before, ingress)
    if cut and _setting(ingress, "proxy-http-version") == "1.0":
        return (
            f"The Ingress {ingress.name} says proxy-http-version 1.0, with which a response of the app that breaks off "
            "looks whole: take that annotation away"
        )
    return (
        f"The edge cut or changed the response, and no annotation of the Ingress {ingress.name} explains it: look at "
        "the controller's log and ConfigMap"
    )


def why_timed_out(seen: Observation, ingress: Ingress) -> str:
    """Say why a 504 came after so long; empty where nothing explains that."""
    if not _is_read_timeout(seen.duration, ingress):
        return ""
    return (
        f"The Ingress {ingress.name} says {_said(ingress, 'proxy-read-timeout')} seconds: the app sent nothing for "
        "that long"
    )


def _late(seen: Observation, before: Observation | None, ingress: Ingress) -> str:
    buffering = _setting(ingress, "proxy-buffering") == "on"
    upstream = before.framing if before else None
    remedy = f'set {_PREFIX}proxy-buffering: "off", or have the app send X-Accel-Buffering: no'
    server = before.header("server") if before else None
    if server is not None and server.lower().startswith("nginx"):
        # nginx obeys that header and keeps it to itself (proxy_hide_header's default).
        remedy += " (the pod answers by an nginx of its own, which keeps that from the edge without "
        remedy += "proxy_pass_header X-Accel-Buffering)"
    if buffering and _setting(ingress, "proxy-http-version") == "1.0":
        return (
            f"The Ingress {ingress.name} says proxy-buffering on and proxy-http-version 1.0: the app's body comes "
            f"without chunks then, and nginx waits for a full buffer; {remedy}"
        )
    if buffering and upstream not in (None, "chunked"):
        return (
            f"The Ingress {ingress.name} says proxy-buffering on, and the app's body is not chunked ({upstream}), so "
            f"nginx waits for a full buffer; {remedy}"
        )
    if buffering and seen.url.startswith("https:") and seen.http_version == "1.1":
        return (
            f"The Ingress {ingress.name} says proxy-buffering on, and over TLS with HTTP/1.1 nginx then waits for a "
            f"full TLS buffer; {remedy}"
        )
    if buffering:
        return (
            f"The Ingress {ingress.name} says proxy-buffering on, which alone delays no chunked body: look for "
            f"compression (use-gzip) in the controller's ConfigMap too; {remedy}"
        )
    return (
        f"No annotation of the Ingress {ingress.name} explains it, it has {_said(ingress, 'proxy-buffering')}: look "
        "for proxy-buffering and use-gzip in the controller's ConfigMap, and for what stands in front of the controller"
    )


def _silence(seen: Observation) -> float | None:
    """Return for how many seconds the app had been silent when the response ended.

    From the last production time, if there is one: a hop that buffers gives out what it has only when it gives up.
    """
    if seen.rows and seen.rows[-1].produced is not None:
        return seen.ended_at - seen.rows[-1].produced
    last = next((read.at for read in reversed(seen.reads) if read.size), None)
    return None if last is None else seen.ended_at - last


def _is_read_timeout(waited: float, ingress: Ingress) -> bool:
    try:
        timeout = float(_setting(ingress, "proxy-read-timeout").removesuffix("s"))
    except ValueError:
        return False
    return abs(waited - timeout) <= max(1.0, timeout / 20)


def _setting(ingress: Ingress, name: str) -> str:
    """Return what ingress-nginx takes for a setting, and how one would write it."""
    return ingress.annotations.get(_PREFIX + name, _UNSET[name])


def _said(ingress: Ingress, name: str) -> str:
    """Name a setting and its value for a sentence, and say whether that is the Ingress' own."""
    own = _PREFIX + name in ingress.annotations
    return f"{name} {_setting(ingress, name)}{'' if own else ' (the default, if the ConfigMap sets no other)'}"
