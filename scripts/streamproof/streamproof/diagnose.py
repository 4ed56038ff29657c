"""The hops of a stream on its way through a cluster, and which of them is the first where it goes wrong. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streamproof import edges
from streamproof.edges.facts import Ingress
from streamproof.judge import judge, overall
from streamproof.observation import Observation
from streamproof.run import Run
from streamproof.verdict import Result, Verdict, secs

# In the order in which a stream passes them.
Name = Literal["pod", "Service", "edge"]
Means = Literal["port-forward", "in the cluster", "from here"]


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
    if hop.observation is None:
        return ""
    return edges.why(hop.observation, before.observation if before else None, failed, ingress)


def _unanswered(hop: Hop, ingress: Ingress) -> str:
    """Say what usually is behind a response that is not the stream."""
    seen = hop.observation
    if seen is None or seen.status in (None, 200) or hop.name != "edge":
        return ""
    return edges.why_unanswered(seen, ingress)


_CAUSES = {"pod": _app, "Service": _service, "edge": _edge}
