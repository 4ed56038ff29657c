"""The hops of a stream on its way through a cluster, and which of them is the first where it goes wrong. Pure.

The settings are those of ingress-nginx, and their values where an Ingress sets none:
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/configmap/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from streamproof.judge import judge, overall
from streamproof.observation import Observation
from streamproof.run import Run
from streamproof.verdict import Result, Verdict, secs

# In the order in which a stream passes them.
Name = Literal["pod", "Service", "edge"]
Means = Literal["port-forward", "in the cluster", "from here"]

INGRESS_NGINX = "k8s.io/ingress-nginx"
_PREFIX = "nginx.ingress.kubernetes.io/"
_UNSET = {"proxy-buffering": "off", "proxy-http-version": "1.1", "proxy-read-timeout": "60"}


@dataclass(frozen=True)
class Ingress:
    """What an Ingress says about the edge.

    Attributes:
        name: of the Ingress, with its namespace before a slash.
        controller: of its class, such as "k8s.io/ingress-nginx"; empty if that is not known.
        annotations: of the Ingress.
    """

    name: str
    controller: str
    annotations: dict[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> str:
        """Return what ingress-nginx takes for a setting, and how one would write it."""
        return self.annotations.get(_PREFIX + name, _UNSET[name])

    def said(self, name: str) -> str:
        """Name a setting and its value for a sentence, and say whether that is the Ingress' own."""
        own = _PREFIX + name in self.annotations
        return f"{name} {self.setting(name)}{'' if own else ' (the default, if the ConfigMap sets no other)'}"


@dataclass(frozen=True)
class Hop:
    """What was seen at one hop.

    Attributes:
        name: which one.
        where: what was asked, in words.
        means: from where.
        stream: the run for framing, completeness and timing; None if there is none.
        large: the run for backpressure; None if that was not asked.
        reason: why there is no run for the stream, in words.
    """

    name: Name
    where: str
    means: Means
    stream: Run | None = None
    large: Run | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """Name and means, for a sentence."""
        return f"the {self.name} ({self.means})"

    def verdicts(self) -> list[Verdict]:
        """Answer what was asked of the stream."""
        return self.stream.verdicts() if self.stream else []

    @property
    def observation(self) -> Observation | None:
        """What was seen of the stream."""
        return self.stream.observed("stream")[0] if self.stream else None


@dataclass(frozen=True)
class Diagnosis:
    """What the hops come to.

    Attributes:
        result: PASS, FAIL, or INCONCLUSIVE where a hop that matters could not be judged.
        first: the first hop where it goes wrong, if one does.
        sentence: which that is, and the setting that usually does it.
    """

    result: Result
    first: Hop | None
    sentence: str


def diagnose(hops: Sequence[Hop], ingress: Ingress) -> Diagnosis:
    """Find the first hop where the stream goes wrong, and the setting that usually does it.

    Args:
        hops: in the order in which a stream passes them, the edge last.
        ingress: what the edge is told.
    """
    seen = [hop for hop in hops if hop.stream is not None]
    results = {id(hop): overall(hop.verdicts()) for hop in seen}
    nearest = next((hop for hop in seen[:1] if _open_alone(hop) and any(map(_compared, seen[1:]))), None)
    if nearest is not None:  # it is what the others are held against, and need not be judged itself
        results[id(nearest)] = "PASS"
    beyond = seen[-1] if seen and seen[-1].name == "edge" else None
    for index, hop in enumerate(seen):
        if results[id(hop)] != "FAIL":
            continue
        failed = [verdict for verdict in hop.verdicts() if verdict.result == "FAIL"]
        if hop.means == "port-forward" and beyond and _passes_alone(beyond):
            return Diagnosis(
                "INCONCLUSIVE",
                None,
                f"the stream passes {beyond.label}, but not the tunnel to {hop.where}: {failed[0].sentence}. Either "
                "the tunnel did that, or the edge asked another pod: try again, or with --in-cluster",
            )
        before = seen[index - 1] if index else None
        if before is None and hop.name != "pod":
            place = f"at {hop.label} or before it, where nothing could be measured"
        elif before is not None and results[id(before)] == "INCONCLUSIVE":
            place = f"at {hop.label}, or before it: {before.label} could not be judged"
        elif before is not None:
            place = f"at {hop.label}, and not yet at {before.label}"
        else:
            place = "in the app itself"
        cause = _unanswered(hop, ingress) or _CAUSES[hop.name](hop, before, failed, ingress)
        return Diagnosis("FAIL", hop, f"it first goes wrong {place}: {failed[0].sentence}. {cause}")
    for hop in hops:
        # That a port-forward does not reach a Service leaves nothing open where the edge beyond it is in order.
        if hop.stream is None and (hop.name, hop.means) != ("Service", "port-forward"):
            return Diagnosis("INCONCLUSIVE", None, f"{hop.label} could not be measured: {hop.reason}")
    for hop in seen:
        if results[id(hop)] == "INCONCLUSIVE":
            open_one = next(verdict for verdict in hop.verdicts() if verdict.result == "INCONCLUSIVE")
            hint = _unanswered(hop, ingress)
            return Diagnosis(
                "INCONCLUSIVE", None, f"{hop.label} could not be judged: {open_one.sentence}{hint and f'. {hint}'}"
            )
    sentence = "the stream is in order at every hop that was measured"
    if nearest is not None:
        sentence += f": {_timing(next(filter(_compared, seen[1:]))).sentence}"
    return Diagnosis("PASS", None, sentence)


def _timing(hop: Hop) -> Verdict:
    return next(verdict for verdict in hop.verdicts() if verdict.question == "timing")


def _open_alone(hop: Hop) -> bool:
    """Tell whether arrivals at a hop leave nothing open but whether the app itself sends like that."""
    return [one.question for one in hop.verdicts() if one.counts and one.result != "PASS"] == ["timing"] and (
        _timing(hop).result == "INCONCLUSIVE" and _timing(hop).numbers.get("evidence") == "arrivals"
    )


def _passes_alone(hop: Hop) -> bool:
    """Tell whether a hop is in order whatever it is compared with."""
    return hop.observation is not None and overall(judge(hop.observation)) == "PASS"


def _compared(hop: Hop) -> bool:
    """Tell whether timing was decided by comparison with the first hop."""
    return _timing(hop).numbers.get("evidence") == "baseline" and _timing(hop).result != "INCONCLUSIVE"


def _app(hop: Hop, _: Hop | None, failed: Sequence[Verdict], __: Ingress) -> str:
    questions = [verdict.question for verdict in failed]
    seen = hop.observation
    if seen is not None and seen.status is None and seen.ended == "protocol_error":
        return (
            "An edge answers 502 to such a header, and a client that is lenient hides it: find what sets it twice or "
            "wrongly, as an app does that sets Transfer-Encoding, which is its server's to set"
        )
    if seen is not None and seen.status is not None and seen.status >= 500:
        return "Look at the app's log: it answered with an error"
    if seen is not None and ("framing" in questions or "completeness" in questions) and seen.ended != "terminated":
        return (
            f"Usually a worker that is killed: gunicorn's timeout (30 s by default; it broke off after "
            f"{secs(seen.duration)}) ends a sync worker that streams for longer; or an exception while the body is "
            "made, which the app's log shows"
        )
    if "timing" in questions:
        tunnel = (
            "; the tunnel of a port-forward may delay rows too, which --in-cluster rules out"
            if hop.means == "port-forward"
            else ""
        )
        return (
            "Usually a synchronous iterator under ASGI, all of which Django consumes before the first byte: stream an "
            f"asynchronous one there. Or a middleware that collects the body, as GZipMiddleware does with gzip{tunnel}"
        )
    return "Look at the app's log: it sent less than it promised, or other bytes"


def _service(_: Hop, before: Hop | None, __: Sequence[Verdict], ___: Ingress) -> str:
    other = " or another pod than the one measured" if before else ""
    return (
        "A Service forwards connections and buffers nothing: look for a proxy that a service mesh puts beside the pods,"
        f"{other}"
    ).rstrip(",")


def _edge(hop: Hop, before: Hop | None, failed: Sequence[Verdict], ingress: Ingress) -> str:
    if before is not None and before.name == "edge":
        return "Usually a load balancer, CDN or proxy in front of the controller, or a proxy on this side"
    if ingress.controller not in ("", INGRESS_NGINX):
        return (
            f"Its controller is {ingress.controller}, whose settings are not known here: look for buffering of "
            "responses, for compression and for the timeout between two reads"
        )
    questions = [verdict.question for verdict in failed]
    seen = hop.observation
    cut = seen is not None and (seen.ended == "truncated" or "completeness" in questions)
    if seen is not None and cut:
        waited = _silence(seen)
        if waited is not None and _is_read_timeout(waited, ingress):
            return (
                f"It was cut after {secs(waited)} without a byte, and the Ingress {ingress.name} says "
                f"{ingress.said('proxy-read-timeout')} seconds: set {_PREFIX}proxy-read-timeout above the longest "
                "pause, or have the app send heartbeats"
            )
    if "timing" in questions:
        return _late(hop, before, ingress)
    if cut and ingress.setting("proxy-http-version") == "1.0":
        return (
            f"The Ingress {ingress.name} says proxy-http-version 1.0, with which a response of the app that breaks off "
            "looks whole: take that annotation away"
        )
    return (
        f"The edge cut or changed the response, and no annotation of the Ingress {ingress.name} explains it: look at "
        "the controller's log and ConfigMap"
    )


def _late(hop: Hop, before: Hop | None, ingress: Ingress) -> str:
    buffering = ingress.setting("proxy-buffering") == "on"
    upstream = before.observation.framing if before and before.observation else None
    remedy = f'set {_PREFIX}proxy-buffering: "off", or have the app send X-Accel-Buffering: no'
    server = before.observation.header("server") if before and before.observation else None
    if server is not None and server.lower().startswith("nginx"):
        # nginx obeys that header and keeps it to itself (proxy_hide_header's default).
        remedy += " (the pod answers by an nginx of its own, which keeps that from the edge without "
        remedy += "proxy_pass_header X-Accel-Buffering)"
    if buffering and ingress.setting("proxy-http-version") == "1.0":
        return (
            f"The Ingress {ingress.name} says proxy-buffering on and proxy-http-version 1.0: the app's body comes "
            f"without chunks then, and nginx waits for a full buffer; {remedy}"
        )
    if buffering and upstream not in (None, "chunked"):
        return (
            f"The Ingress {ingress.name} says proxy-buffering on, and the app's body is not chunked ({upstream}), so "
            f"nginx waits for a full buffer; {remedy}"
        )
    seen = hop.observation
    if buffering and seen is not None and seen.url.startswith("https:") and seen.http_version == "1.1":
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
        f"No annotation of the Ingress {ingress.name} explains it, it has {ingress.said('proxy-buffering')}: look for "
        "proxy-buffering and use-gzip in the controller's ConfigMap, and for what stands in front of the controller"
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
        timeout = float(ingress.setting("proxy-read-timeout").removesuffix("s"))
    except ValueError:
        return False
    return abs(waited - timeout) <= max(1.0, timeout / 20)


def _unanswered(hop: Hop, ingress: Ingress) -> str:
    """Say what usually is behind a response that is not the stream."""
    seen = hop.observation
    if seen is None or seen.status in (None, 200) or hop.name != "edge":
        return ""
    if seen.status == 504 and _is_read_timeout(seen.duration, ingress):
        return (
            f"The Ingress {ingress.name} says {ingress.said('proxy-read-timeout')} seconds: the app sent nothing for "
            "that long"
        )
    if seen.status in (502, 503, 504):
        return "The edge has no answer from a pod: look at the pods, and at the controller's log"
    if seen.status >= 500:
        return "The edge answers with an error of its own: look at the controller's log"
    if seen.status in (301, 302, 307, 308):
        return "The edge redirects: give the https URL with --url"
    if seen.status == 404:
        return "Either the edge does not know that host and path (yet), or the app does not"
    return ""


_CAUSES = {"pod": _app, "Service": _service, "edge": _edge}
