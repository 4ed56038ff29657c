"""The only module that knows Kubernetes: finds the way from an Ingress to its pods, forwards a port, runs a Job."""

import contextlib
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import kr8s
from kr8s.objects import Ingress, IngressClass, Job, Pod, Service, new_class

from streamproof.edges.facts import Ingress as Facts
from streamproof.edges.ingress_nginx import CONTROLLER as INGRESS_NGINX
from streamproof.ingress import ready_pods, route, service_port

_SLICES = new_class("EndpointSlice", version="discovery.k8s.io/v1", namespaced=True)
# How long a probe may take to start, and between two looks at it, in seconds.
_START = 120.0
_LOOK = 0.5
_CONTAINER = "streamproof"
# Reasons of a waiting container that do not go away by waiting.
_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


class Trouble(Exception):
    """The cluster cannot be used as asked; the message is one sentence for the user."""


class Wrong(Trouble):
    """What was asked for is not in the cluster, so that asking again does not help."""


@dataclass(frozen=True)
class Path:
    """The way from the edge to a pod, as the cluster describes it.

    Attributes:
        facts: what the Ingress says about the edge.
        host: that the Ingress is for; empty for any.
        tls: whether the edge serves that host by TLS.
        rewritten: path and query as the edge asks the pod for them.
        addresses: of the edge from outside, by the Ingress' status, without those that only the cluster reaches.
        service: its name and port.
        pods: name, address and port of each ready pod behind it.
        edge: host and ports, without and with TLS, of the controller's Service; None if it was not found.
    """

    facts: Facts
    host: str
    tls: bool
    rewritten: str
    addresses: list[str]
    service: tuple[str, int]
    pods: list[tuple[str, str, int]]
    edge: tuple[str, int, int] | None


class Cluster:
    """A cluster, by the user's kubeconfig."""

    def __init__(self, context: str | None, namespace: str | None) -> None:
        """Choose the cluster.

        Args:
            context: of the kubeconfig; its current one if None.
            namespace: of the Ingress; that of the context if None.

        Raises:
            Trouble: there is no such cluster, or it does not answer.
        """
        try:
            with _in_words():
                # With a namespace, or the client takes that of the current context, whatever the context asked for.
                self._api = kr8s.api(context=context, namespace=namespace or "default")
                self.namespace = namespace or _namespace(self._api.auth)
        except (KeyError, ValueError) as error:
            raise Wrong(
                f"the kubeconfig cannot be used ({error}): `kubectl config get-contexts` lists what --context can "
                "name, and KUBECONFIG names another file"
            ) from error

    def path(self, name: str, path: str, host: str | None = None) -> Path:
        """Find the way from an Ingress to its pods.

        Args:
            name: of the Ingress.
            path: that is asked for, with or without a query.
            host: that is asked for; None for the first of the Ingress' that has the path.

        Raises:
            ValueError: the Ingress does not lead there; the message says what to do.
            Trouble: the way cannot be followed; the message says where it ends.
        """
        with _in_words():
            ingress = self._get(Ingress, name, "Ingress")
            controller = self._controller(ingress)
            found = route(ingress, path, host, nginx=controller in ("", INGRESS_NGINX))
            backend = found.backend
            service = self._get(Service, backend["name"], "Service")
            port = service_port(service, backend.get("port", {}))
            pods = self._pods(backend["name"], port.get("name", ""))
            if not pods:
                raise Wrong(f"the Service {backend['name']} has no ready pod: look at its pods first")
            status = ingress.get("status", {}).get("loadBalancer", {}).get("ingress", [])
            addresses = [one.get("hostname") or one.get("ip", "") for one in status]
            edges = self._controllers(addresses)
            inside = {one["spec"].get("clusterIP") for one in edges}
            return Path(
                facts=Facts(
                    name=f"{self.namespace}/{name}",
                    controller=controller,
                    annotations=dict(ingress["metadata"].get("annotations", {})),
                ),
                host=found.host,
                tls=found.tls,
                rewritten=found.path,
                addresses=[one for one in addresses if one and one not in inside],
                # The name of a headless one is that of its pods, whose port counts.
                service=(backend["name"], pods[0][2] if service["spec"].get("clusterIP") == "None" else port["port"]),
                pods=pods,
                edge=_edge(edges),
            )

    def _get(self, kind: Any, name: str, what: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = kind.get(name, namespace=self.namespace, api=self._api).raw.to_dict()
        except kr8s.NotFoundError:
            raise Wrong(f"there is no {what} {name} in the namespace {self.namespace}") from None
        return found

    def _list(self, kind: Any, **where: Any) -> list[dict[str, Any]]:
        return [one.raw.to_dict() for one in kind.list(api=self._api, **where)]

    def _pods(self, service: str, port_name: str) -> list[tuple[str, str, int]]:
        label = {"kubernetes.io/service-name": service}
        return ready_pods(self._list(_SLICES, namespace=self.namespace, label_selector=label), port_name)

    def _controller(self, ingress: dict[str, Any]) -> str:
        name = ingress["spec"].get("ingressClassName")
        name = name or ingress["metadata"].get("annotations", {}).get("kubernetes.io/ingress.class")
        try:
            return str(IngressClass.get(name, api=self._api).raw["spec"]["controller"]) if name else ""
        except (kr8s.NotFoundError, kr8s.ServerError):  # not everybody may read what is not in a namespace
            return ""

    def _controllers(self, addresses: Sequence[str]) -> list[dict[str, Any]]:
        """Find the Services under whose addresses the Ingress is served; none where one may not look."""
        try:
            services = self._list(Service, namespace=kr8s.ALL)
        except kr8s.ServerError:
            return []
        found = []
        for service in services:
            status = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
            own = {value for one in status for value in (one.get("ip"), one.get("hostname"))}
            if (own | {service["spec"].get("clusterIP")}) & set(addresses):
                found.append(service)
        labels = {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}
        return found or [
            one
            for one in services
            if labels.items() <= one["metadata"].get("labels", {}).items()
            and any(port.get("name") == "http" for port in one["spec"].get("ports", []))
        ]

    @contextlib.contextmanager
    def forwarded(self, pod: str, port: int) -> Iterator[tuple[str, int]]:
        """Forward a port of this machine to a pod's, and yield host and port of it.

        Raises:
            Trouble: the cluster does not allow it.
        """
        with _in_words():
            forward = Pod.get(pod, namespace=self.namespace, api=self._api).portforward(port, local_port="auto")
            local = forward.__enter__()  # type: ignore[no-untyped-call]
        try:
            yield "127.0.0.1", local
        finally:
            # Connections may still be open, which leaving the forward would wait for; the process' end closes them. By
            # the thread of the servers' own loop: from another, it can meet the end of such a connection and fail.
            for server in forward.servers:
                server.get_loop().call_soon_threadsafe(server.close)

    def run_probe(self, image: str, arguments: Sequence[str], limit: float) -> Generator[str]:
        """Run streamproof as a Job, yield what it prints line by line, and remove it, whatever happens.

        Args:
            image: with streamproof as its entrypoint.
            arguments: for streamproof.
            limit: after which the cluster ends the Job, in seconds after its start.

        Raises:
            Trouble: the cluster does not allow it, or the probe does not start.
        """
        name = f"streamproof-{uuid.uuid4().hex[:8]}"
        job = Job(probe_manifest(name, self.namespace, image, arguments, limit), api=self._api)
        with _in_words():
            job.create()
            try:
                pod = self._started(name, image)
                # By its name: a service mesh may put another container beside it.
                yield from pod.logs(container=_CONTAINER, follow=True, timeout=None)
            finally:
                with contextlib.suppress(kr8s.NotFoundError):
                    job.delete(propagation_policy="Background")

    def _started(self, job: str, image: str) -> Any:
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            pods: Iterator[Any] = Pod.list(namespace=self.namespace, label_selector={"job-name": job}, api=self._api)
            for pod in pods:
                status = pod.raw.to_dict().get("status", {})
                if status.get("phase") in ("Running", "Succeeded", "Failed"):
                    return pod
                for container in status.get("containerStatuses", []):
                    waiting = container.get("state", {}).get("waiting", {})
                    if waiting.get("reason") in _NO_IMAGE:
                        raise Wrong(
                            f"the cluster cannot have the image {image} ({waiting['reason']}): push it to a registry "
                            "that the cluster reaches; on kind, `make image` builds streamproof:0.1.0 and loads it"
                        )
            time.sleep(_LOOK)
        raise Trouble(
            f"the probe did not start within {_START:g} s: look at the Jobs of {self.namespace} and its quota"
        )


def probe_manifest(name: str, namespace: str, image: str, arguments: Sequence[str], limit: float) -> dict[str, Any]:
    """Describe a Job that runs streamproof once, under Pod Security's restricted profile.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    labels = {"app.kubernetes.io/name": "streamproof"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            # Should this process be killed, the cluster clears up.
            "activeDeadlineSeconds": int(_START + limit),
            "ttlSecondsAfterFinished": 60,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": _CONTAINER,
                            "image": image,
                            "args": list(arguments),
                            "resources": {
                                "requests": {"cpu": "50m", "memory": "64Mi"},
                                "limits": {"memory": "256Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                },
            },
        },
    }


def _namespace(auth: Any) -> str:
    """Return the namespace of the context in use."""
    if not auth.active_context:  # inside a cluster there is none
        return str(auth.namespace or "default")
    return str(auth.kubeconfig.get_context(auth.active_context).get("namespace") or "default")


def _edge(services: Sequence[dict[str, Any]]) -> tuple[str, int, int] | None:
    for service in services:
        ports = {one.get("name"): one["port"] for one in service["spec"].get("ports", [])}
        numbers = set(ports.values())
        plain = ports.get("http", 80 if 80 in numbers else None)
        secure = ports.get("https", 443 if 443 in numbers else None)
        if plain is not None or secure is not None:
            metadata = service["metadata"]
            return f"{metadata['name']}.{metadata['namespace']}.svc", plain or 80, secure or 443
    return None


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Turn what the client raises into one sentence."""
    try:
        yield
    except kr8s.ServerError as error:
        raise Trouble(f"the cluster refuses: {error}") from error
    except kr8s.NotFoundError as error:
        raise Wrong(f"the cluster does not have it: {error}") from error
    except (kr8s.APITimeoutError, httpx.HTTPError, OSError) as error:
        raise Trouble(f"the cluster does not answer: {str(error) or type(error).__name__}") from error
