"""What things happen to: the chart as a release of its own, its pods, the edge and the node."""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster import images, ledger, release, run, tools
from cluster.kind import Cluster, is_ready
from cluster.run import ROOT, Trouble

NAMESPACE = "streaming-faults"
# The chart's own Ingress, one that speaks HTTP/1.0 to the app, and one that leaves all to the edge.
HOST, HTTP10_HOST, BARE_HOST = "faults.test", "faults-http10.test", "faults-bare.test"
# Seconds that the edge waits for a byte of a stream: the chart's streaming.readTimeout, and the edge's own.
READ_TIMEOUTS = {HOST: 120, BARE_HOST: 60}
# The same image under another tag: to Kubernetes it is another one.
NEXT = images.APP + "-next"

_RELEASE = "streaming"
_LABEL = "app.kubernetes.io/name=streaming"
_EDGE_LABEL = "app.kubernetes.io/component=controller"
# One process alone holds 124 streams, so that a pod holds 120 whichever of its processes takes them.
_SIZE = {"gthread": "gunicorn.threads=128", "asgi": "gunicorn.workerClass=asgi"}

# So that a node that goes has a part of the streams; soft, or the pods of a drained node had nowhere to go.
_SPREAD = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]

_SYN = ("-p", "tcp", "--syn", "-j", "DROP")

_HTTP10 = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {
        "name": "http10",
        "annotations": {
            "nginx.ingress.kubernetes.io/proxy-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-http-version": "1.0",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "120",
        },
    },
}
_BARE = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "bare"}}


def ingress(base: dict[str, Any], host: str, service: str = _RELEASE) -> str:
    """Return an Ingress for a host and one of the services in the namespace, as JSON."""
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return json.dumps(base | {"spec": {"ingressClassName": "nginx", "rules": [rule]}})


def client_id(line: dict[str, Any]) -> str | None:
    """Return the X-Request-ID that a client has sent, as the app logs it: apart from its own, if it trusts no edge."""
    identity: str | None = line.get("client_request_id", line.get("request_id"))
    return identity


@dataclass
class Target:
    """The release under test.

    Attributes:
        cluster: where it is.
        worker_class: gthread or asgi.
        said: what events have to tell beside their outcome.
    """

    cluster: Cluster
    worker_class: str = "gthread"

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Return what kubectl prints in the namespace of the release."""
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, stdin=stdin, timeout=timeout)

    def install(self, *options: str) -> None:
        """Install the chart with two pods, or put back what was changed, beside the other Ingresses."""
        size = (
            *("--set", f"ingress.host={HOST},{_SIZE[self.worker_class]},resources.limits.memory=512Mi"),
            *("--set-json", f"topologySpreadConstraints={json.dumps(_SPREAD)}"),
        )
        release.install(self.cluster, _RELEASE, NAMESPACE, *size, *options)
        self.kubectl("apply", "-f", "-", stdin=ingress(_HTTP10, HTTP10_HOST))
        self.kubectl("apply", "-f", "-", stdin=ingress(_BARE, BARE_HOST))
        for host in (HOST, HTTP10_HOST, BARE_HOST):
            release.await_edge(self.cluster, host)
        self.await_old_pods()

    def remove(self) -> None:
        """Remove all of it."""
        # First the pods: a namespace that is deleted with pods in it waits for half of their grace period.
        command = ("uninstall", _RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=280s")
        run.output(*release.helm(self.cluster, *command, "--cascade=foreground"), timeout=290)
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)

    def load_next_image(self) -> str:
        """Have the image in the cluster under another tag, and return the tag."""
        ledger.note("image", NEXT)
        run.output("docker", "tag", images.APP, NEXT)
        self.cluster.load(NEXT)
        return NEXT.partition(":")[2]

    def pods(self, namespace: str = NAMESPACE, label: str = _LABEL) -> list[dict[str, Any]]:
        """Return all pods, those that are about to go too."""
        found = self.cluster.kubectl("get", "pods", "-n", namespace, "-l", label, "-o", "json")
        items: list[dict[str, Any]] = json.loads(found)["items"]
        return items

    def ready_pods(self) -> list[dict[str, Any]]:
        """Return the pods that are ready and stay (see `Cluster.ready_pods`)."""
        return self.cluster.ready_pods(NAMESPACE, _LABEL)

    def names(self) -> list[str]:
        """Return the names of the pods that are ready and stay."""
        return [pod["metadata"]["name"] for pod in self.ready_pods()]

    def edge_pods(self) -> list[dict[str, Any]]:
        """Return the pods of the edge's controller."""
        return self.pods(release.EDGE, _EDGE_LABEL)

    def ready_edge_pods(self) -> list[dict[str, Any]]:
        """Return those of the edge's pods that are ready and stay (see `Cluster.ready_pods`)."""
        return self.cluster.ready_pods(release.EDGE, _EDGE_LABEL)

    def await_old_pods(self, edge: bool = False, seconds: float = 300) -> None:
        """Wait until every pod that is about to go is gone, and all others are ready.

        Raises:
            Trouble: that takes longer.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pods = self.edge_pods() if edge else self.pods()
            if pods and all("deletionTimestamp" not in pod["metadata"] and is_ready(pod) for pod in pods):
                return
            time.sleep(1)
        raise Trouble(
            f"pods were not gone or not ready after {seconds:.0f} s\n{release.diagnostics(self.cluster, NAMESPACE)}"
        )

    def await_recovery(self, seconds: float = 180) -> None:
        """Wait until the API answers and all pods, the edge's too, are ready, without doing anything for it.

        Raises:
            Trouble: that takes longer.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.cluster.kubectl("get", "--raw", "/readyz", timeout=10)
                self.await_old_pods(seconds=max(until - time.monotonic(), 1))
                self.await_old_pods(edge=True, seconds=max(until - time.monotonic(), 1))
                return
            except Trouble:
                time.sleep(1)
        raise Trouble(f"nothing had recovered after {seconds:.0f} s\n{release.diagnostics(self.cluster, NAMESPACE)}")

    def add_ingress(self, name: str) -> None:
        """Have the edge reload, as for any new Ingress."""
        base = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}}
        self.kubectl("apply", "-f", "-", stdin=ingress(base, f"{name}.test"))

    def evict(self, pod: str) -> None:
        """Evict a pod as a node drain does.

        Raises:
            Trouble: the disruption budget doesn't allow it now.
        """
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))

    def node_of_edge(self) -> str:
        """Return the name of the node, and of its container, on which the edge runs."""
        (node,) = {pod["spec"]["nodeName"] for pod in self.edge_pods() if "deletionTimestamp" not in pod["metadata"]}
        return str(node)

    def node_of_app(self) -> str:
        """Return the name of a node on which pods of the app run, but not the edge.

        Raises:
            Trouble: there is none.
        """
        apps = {pod["spec"]["nodeName"] for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]}
        for node in sorted(apps - {self.node_of_edge()}):
            return str(node)
        raise Trouble(f"no node carries streams but not the edge: all pods are on {', '.join(apps)}")

    def in_node(self, node: str, *command: str) -> str:
        """Return what a command prints in a node."""
        return run.output("docker", "exec", node, *command)

    def drain(self, node: str) -> None:
        """Drain a node as its administrator does, wait until the evicted pods have ended, and take it back."""
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=400s")
        try:
            self.cluster.kubectl("drain", node, *options, timeout=410)
        finally:
            self.cluster.kubectl("uncordon", node)

    def kill(self, pod: dict[str, Any]) -> None:
        """Send SIGKILL to the first process of a pod's only container; the others of the container go with it."""
        self.task(pod, "kill", "--signal", "SIGKILL")

    def task(self, pod: dict[str, Any], *command: str) -> None:
        """Have containerd do something to the processes of a pod's only container: kill, pause, resume."""
        (status,) = pod["status"]["containerStatuses"]
        identity = status["containerID"].removeprefix("containerd://")
        self.in_node(pod["spec"]["nodeName"], "ctr", "--namespace", "k8s.io", "task", *command, identity)

    @contextlib.contextmanager
    def unreachable(self, *pods: dict[str, Any]) -> Iterator[None]:
        """Have new connections to pods get no answer from anywhere but their own node, whose probes go on."""
        rules = [(pod["spec"]["nodeName"], ("FORWARD", "-d", pod["status"]["podIP"], *_SYN)) for pod in pods]
        try:
            for node, rule in rules:
                self.in_node(node, "iptables", "--insert", *rule)
            yield
        finally:
            for node, rule in rules:
                self.in_node(node, "iptables", "--delete", *rule)

    def control_plane(self, component: str) -> dict[str, Any]:
        """Return the pod of a control plane's component."""
        (pod,) = self.pods("kube-system", f"component={component}")
        return pod

    def log(self) -> list[dict[str, Any]]:
        """Return the app's log lines, of containers that have been replaced too; not of pods that are gone."""
        lines = []
        for pod in self.pods():
            name = pod["metadata"]["name"]
            # Not by restartCount: the kubelet may have no more of a container that it has restarted than that number.
            replaced = any(status["lastState"] for status in pod["status"].get("containerStatuses", []))
            for option in ("--previous=true", "--previous=false") if replaced else ("--previous=false",):
                lines += self.kubectl("logs", name, option, "--tail=-1").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def endings(self) -> dict[str, set[str]]:
        """Return for each request of which a stream began how the app says that it ended: empty if it says nothing."""
        found: dict[str, set[str]] = defaultdict(set)
        for line in self.log():
            identity = client_id(line)
            if identity and line["logger"] == "streams":
                found[identity] |= {line["outcome"]} if "outcome" in line else set()
        return found

    def set_end(self, pre_stop: int | None = None, graceful: int | None = None, grace: int | None = None) -> None:
        """Give pods another end than the chart does, each in seconds, and wait until all pods have it."""
        deployment = json.loads(self.kubectl("get", f"deploy/{_RELEASE}", "-o", "json"))
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        spec = "/spec/template/spec"
        patch: list[dict[str, object]] = []
        if pre_stop is not None:
            path = f"{spec}/containers/0/lifecycle/preStop/sleep/seconds"
            patch.append({"op": "replace", "path": path, "value": pre_stop})
        if graceful is not None:
            (index,) = (at for at, each in enumerate(arguments) if each.startswith("--graceful-timeout="))
            path = f"{spec}/containers/0/args/{index}"
            patch.append({"op": "replace", "path": path, "value": f"--graceful-timeout={graceful}"})
        if grace is not None:
            patch.append({"op": "replace", "path": f"{spec}/terminationGracePeriodSeconds", "value": grace})
        self.kubectl("patch", f"deploy/{_RELEASE}", "--type=json", "-p", json.dumps(patch))
        self.rolled_out()
        self.await_old_pods()

    def restart(self) -> None:
        """Replace all pods, and wait until the new ones are ready; the old ones may be there still."""
        self.kubectl("rollout", "restart", f"deploy/{_RELEASE}")
        self.rolled_out()

    def rolled_out(self) -> None:
        """Wait until as many pods as there are to be are ready."""
        self.kubectl("rollout", "status", f"deploy/{_RELEASE}", "--timeout=280s", timeout=290)

    def edge_rolled_out(self) -> None:
        """Wait until the edge has a new pod that is ready; the old one may be there still."""
        command = ("-n", release.EDGE, "rollout", "status", "deploy/ingress-nginx-controller", "--timeout=180s")
        self.cluster.kubectl(*command, timeout=190)

    def scale(self, pods: int) -> None:
        """Have so many pods; those that are too many may be there still."""
        self.kubectl("scale", f"deploy/{_RELEASE}", f"--replicas={pods}")
        self.rolled_out()

    def upgrade(self, *options: str) -> None:
        """Upgrade the release as a user does, keeping what it was installed with."""
        command = ("upgrade", _RELEASE, str(ROOT / "chart"), "--namespace", NAMESPACE, "--reuse-values", *options)
        run.output(*release.helm(self.cluster, *command, "--wait", "--timeout=280s"), timeout=290)

    def execute(self, pod: str, program: str, *arguments: str, timeout: float = 120) -> str:
        """Return what a Python program prints within a pod."""
        return self.kubectl("exec", pod, "--", "python3", "-c", program, *arguments, timeout=timeout)

    def kubectl_command(self, *arguments: str) -> tuple[str, ...]:
        """Return a kubectl command for the namespace of the release."""
        return (str(tools.find("kubectl")), "--context", self.cluster.context, "-n", NAMESPACE, *arguments)
