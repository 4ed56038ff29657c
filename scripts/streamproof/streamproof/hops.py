"""From the way through a cluster to what is seen at each hop of it: where to ask, from where, and with what."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streamproof.diagnose import Hop, Means, Name
from streamproof.probe import Answer, Task, as_argument, measure, parse_answer
from streamproof.record import Recorder
from streamproof.request import parse_target

if TYPE_CHECKING:  # what it takes may not be installed
    from streamproof.kubernetes import Cluster, Path

# Of the demo: rows slow enough to be judged one by one, and more than socket buffers hold.
DEFAULT_PATH = "/measure?rows=12&delay_ms=250"
DEFAULT_LARGE = "/measure?rows=1000&size=65536&delay_ms=0"

_ON_KIND = "give the edge's URL with --url; on kind that is --url http://127.0.0.1:8080"
# The probe gets its tasks as one argument, and Linux takes 128 KiB of that (execve(2)).
_MAX_CACERT = 32 << 10
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
    """

    stream: str
    large: str | None
    url: str | None
    timeout: float
    image: str | None
    cacert: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can be seen to be wrong before the cluster is asked.

        Raises:
            ValueError: that is so; the message says why.
        """
        for path in (self.stream, self.large or "/"):
            if not path.startswith("/") or path.startswith("//"):
                raise ValueError(f"{path!r} is not a path, which begins with one slash")
            parse_target(f"http://host{path}")
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
    url = wanted.url or next((f"{'https' if path.tls else 'http'}://{one}" for one in path.addresses), None)
    if url is None and wanted.image is None:
        raise ValueError(f"the Ingress {path.facts.name} has no address that can be reached from here: {_ON_KIND}")
    host = path.host or (urlsplit(url).netloc if url else path.service[0])
    pod, pod_address, pod_port = path.pods[0]
    more = f", one of {len(path.pods)}" if len(path.pods) > 1 else ""
    where = f"{pod}:{pod_port}{more}"

    def task(address: tuple[str, int], *, tls: bool = False, large: bool = True) -> Task:
        origin = f"{'https' if tls else 'http'}://{host}"
        return Task(
            origin + wanted.stream,
            wanted.large and origin + wanted.large if large else None,
            address,
            wanted.timeout,
            wanted.cacert if tls else None,
        )

    hops = []
    if wanted.image is None:
        say(f"pod {where}, by port-forward")
        with cluster.forwarded(pod, pod_port) as address:
            # How much of a large stream its tunnel takes in says nothing about the pod.
            hops.append(_hop("pod", where, "port-forward", measure(task(address, large=False), on_read)))
        reason = "port-forward reaches a pod even where a Service is named; --in-cluster measures it"
        hops.append(Hop("Service", f"{path.service[0]}:{path.service[1]}", "port-forward", reason=reason))
    else:
        service, port = path.service
        service_host = f"{service}.{cluster.namespace}.svc"
        places: list[tuple[Name, str, Task]] = [
            ("pod", where, task((pod_address, pod_port))),
            ("Service", f"{service}:{port}", task((service_host, port))),
        ]
        if path.edge is not None:
            edge, plain, secure = path.edge
            number = secure if path.tls else plain
            places.append(("edge", f"{edge}:{number}", task((edge, number), tls=path.tls)))
        say(f"in the cluster, by a Job in the namespace {cluster.namespace}: first the pod")
        hops += _probe(cluster, wanted, places, say)
        if path.edge is None:
            reason = "no Service was found that has the Ingress' address, or you may not list Services"
            hops.append(Hop("edge", "", "in the cluster", reason=reason))
    if url is not None:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        say(f"edge {url}")
        answer = measure(task((parts.hostname or "", port), tls=tls), on_read)
        hop = _hop("edge", url, "from here", answer)
        if hop.reason and wanted.url is None:
            hop = Hop("edge", url, "from here", reason=f"{hop.reason}, the address in the Ingress' status: {_ON_KIND}")
        hops.append(hop)
    return hops


def _probe(
    cluster: "Cluster", wanted: Wanted, places: list[tuple[Name, str, Task]], say: Callable[[str], None]
) -> list[Hop]:
    limit = sum((wanted.timeout + _SPARE) * (1 if one.large is None else 2) for _, _, one in places)
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


def _hop(name: Name, where: str, means: Means, answer: Answer) -> Hop:
    return Hop(name, where, means, answer.stream, answer.large, answer.reason)
