"""From the way through a cluster to what is seen at each hop of it: where to ask, from where, and with what."""

import base64
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streamproof.diagnose import Hop, Means, Name
from streamproof.probe import Answer, Task, as_argument, measure, parse_answer
from streamproof.record import Recorder
from streamproof.request import Request, parse_target
from streamproof.run import DEFAULT_QUESTIONS, Run

if TYPE_CHECKING:  # what it takes may not be installed
    from streamproof.kubernetes import Cluster, Path

_ON_KIND = "give the edge's URL with --url; on kind that is --url http://127.0.0.1:8080"
# The probe gets its tasks as one argument, and Linux takes 128 KiB of that (execve(2)).
_MAX_CACERT = 32 << 10
# How many requests, one after the other, a comparison with the pod takes at most.
_REQUESTS = 8
# For connecting and clearing up, in seconds for each task of a probe.
_SPARE = 10.0


@dataclass(frozen=True)
class Wanted:
    """What the user wants to be asked at each hop.

    Attributes:
        stream: path and query of the stream.
        large: path and query of a stream for backpressure; None not to ask.
        url: the edge's from outside, scheme, host and port; None to take what the Ingress' status says.
        timeout: limit in seconds for each request.
        image: of the probe, to measure in the cluster; None to measure from here.
        cacert: certificates of the authorities to trust at the edge, in PEM, instead of the system's.
        method, headers, body, insecure, stop_events: as in `Request`, for each hop.
        host: that is asked for; None for the Ingress'.
    """

    stream: str
    large: str | None
    url: str | None
    timeout: float
    image: str | None
    cacert: str | None = None
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    insecure: bool = False
    stop_events: int | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can be seen to be wrong before the cluster is asked.

        Raises:
            ValueError: that is so; the message says why.
        """
        for path in (self.stream, self.large or "/"):
            if not path.startswith("/") or path.startswith("//"):
                raise ValueError(f"{path!r} is not a path, which begins with one slash")
            parse_target(f"http://{'host' if self.host is None else self.host}{path}")
        Request("http://host/", method=self.method)
        if self.image is not None and (self.headers or self.body is not None):
            raise ValueError(
                "--header and --data would stand in the Job of --in-cluster, for all to read who may read Jobs: leave "
                "--in-cluster out"
            )
        if self.image is not None and len(self.cacert or "") > _MAX_CACERT:
            raise ValueError(
                f"the probe takes at most {_MAX_CACERT >> 10} KiB of certificates to trust: give it the one of the "
                "edge's authority"
            )
        if self.url is not None and parse_target(self.url).path != "/":
            raise ValueError(f"{self.url!r} has a path: give scheme, host and port, and the path with --path")


def measure_hops(
    cluster: "Cluster",
    path: "Path",
    wanted: Wanted,
    say: Callable[[str], None],
    on_read: Callable[[Recorder], None] | None = None,
) -> list[Hop]:
    """Measure at every hop that can be reached, one after the other.

    Args:
        cluster: where.
        path: the way through it.
        wanted: what to ask.
        say: called with what is about to be measured.
        on_read: as for `observe`.

    Raises:
        ValueError: the edge has no address that is known; the message says what to do.
        streamproof.kubernetes.Trouble: the cluster does not do what it takes.
    """
    url = wanted.url or next(
        (f"{'https' if path.tls else 'http'}://{f'[{one}]' if ':' in one else one}" for one in path.addresses), None
    )
    if url is None and wanted.image is None:
        raise ValueError(f"the Ingress {path.facts.name} has no address that can be reached from here: {_ON_KIND}")
    host = wanted.host or path.host or (urlsplit(url).netloc if url else path.service[0])
    pod, pod_address, pod_port = path.pods[0]
    more = f", one of {len(path.pods)}" if len(path.pods) > 1 else ""
    where = f"{pod}:{pod_port}{more}"
    secure = urlsplit(url).scheme == "https" if url else path.tls

    def task(address: tuple[str, int], *, edge: bool = False, tls: bool = False, large: bool = True) -> Task:
        origin = f"{'https' if tls else 'http'}://{host}"
        headers = list(wanted.headers)
        # Where the edge is asked by TLS, it tells the app so, which may redirect whoever does not.
        if secure and not edge and not any(name.lower() == "x-forwarded-proto" for name, _ in headers):
            headers.append(("X-Forwarded-Proto", "https"))
        return Task(
            origin + (wanted.stream if edge else path.rewritten),
            wanted.large and origin + wanted.large if large and (edge or path.rewritten == wanted.stream) else None,
            address,
            wanted.timeout,
            wanted.cacert if tls else None,
            wanted.method,
            headers,
            None if wanted.body is None else base64.b64encode(wanted.body).decode("ascii"),
            wanted.insecure,
            wanted.stop_events,
        )

    def edge(baseline: Task | None) -> Hop:
        if url is None:
            raise ValueError("there is no URL")
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        say(f"edge {url}")
        answer = measure(task((parts.hostname or "", port), edge=True, tls=tls), baseline, on_read)
        hop = _hop("edge", url, "from here", answer)
        if hop.reason and wanted.url is None:
            hop = Hop("edge", url, "from here", reason=f"{hop.reason}, the address in the Ingress' status: {_ON_KIND}")
        return hop

    hops = []
    if wanted.image is None:
        say(f"pod {where}, by port-forward, and the edge, in turn and at once")
        with cluster.forwarded(pod, pod_port) as address:
            # How much of a large stream its tunnel takes in says nothing about the pod.
            nearest = task(address, large=False)
            beyond = edge(nearest)
            hops.append(
                _baseline(beyond, where) or _hop("pod", where, "port-forward", measure(nearest, on_read=on_read))
            )
        reason = "port-forward reaches a pod even where a Service is named; --in-cluster measures it"
        hops.append(Hop("Service", f"{path.service[0]}:{path.service[1]}", "port-forward", reason=reason))
        hops.append(beyond)
    else:
        service, port = path.service
        service_host = f"{service}.{cluster.namespace}.svc"
        places: list[tuple[Name, str, Task]] = [
            ("pod", where, task((pod_address, pod_port))),
            ("Service", f"{service}:{port}", task((service_host, port))),
        ]
        if path.edge is not None:
            controller, plain, by_tls = path.edge
            number = by_tls if path.tls else plain
            places.append(("edge", f"{controller}:{number}", task((controller, number), edge=True, tls=path.tls)))
        say(f"in the cluster, by a Job in the namespace {cluster.namespace}: first the pod")
        hops += _probe(cluster, wanted, places, say)
        if path.edge is None:
            reason = "no Service was found that has the Ingress' address, or you may not list Services"
            hops.append(Hop("edge", "", "in the cluster", reason=reason))
        if url is not None:
            hops.append(_against(hops[0], edge(None)))
    return hops


def _probe(
    cluster: "Cluster", wanted: Wanted, places: list[tuple[Name, str, Task]], say: Callable[[str], None]
) -> list[Hop]:
    limit = sum((wanted.timeout + _SPARE) * (_REQUESTS if one.large is None else _REQUESTS + 1) for _, _, one in places)
    argument = as_argument([one for _, _, one in places])
    hops: list[Hop] = []
    said: list[str] = []
    # Closed here whatever happens, as that removes the Job.
    with closing(cluster.run_probe(wanted.image or "", ["probe", argument], limit)) as lines:
        for line in lines:
            try:
                answer = parse_answer(line)
            except ValueError:
                said.append(line)
                continue
            name, where, _ = places[len(hops)]
            hop = _hop(name, where, "in the cluster", answer)
            if hop.reason and name != "edge":
                hop = Hop(name, where, "in the cluster", reason=f"{hop.reason}; a NetworkPolicy may keep the probe out")
            hops.append(hop)
            if len(hops) < len(places):
                say(f"in the cluster, by that Job: {places[len(hops)][0]}")
    reason = f"the probe ended early{': ' + said[-1] if said else ''}; it takes an image with this streamproof"
    return hops + [Hop(name, where, "in the cluster", reason=reason) for name, where, _ in places[len(hops) :]]


def _baseline(beyond: Hop, where: str) -> Hop | None:
    """Return the pod as it was seen when what is beyond was held against it: a POST may cost money."""
    seen = beyond.stream.observed("baseline")[:1] if beyond.stream else []
    if not seen:
        return None
    if seen[0].ended == "no_connection":
        return Hop("pod", where, "port-forward", reason=seen[0].error or "")
    return Hop("pod", where, "port-forward", Run(list(DEFAULT_QUESTIONS), [replace(seen[0], role="stream")]))


def _against(pod: Hop, hop: Hop) -> Hop:
    """Judge a hop by what was seen of the pod before, where both cannot be asked at once."""
    baseline = pod.observation
    if baseline is None or hop.stream is None:
        return hop
    seen = [replace(baseline, role="baseline"), *hop.stream.observations]
    return replace(hop, stream=replace(hop.stream, observations=seen))


def _hop(name: Name, where: str, means: Means, answer: Answer) -> Hop:
    return Hop(name, where, means, answer.stream, answer.large, answer.reason)
