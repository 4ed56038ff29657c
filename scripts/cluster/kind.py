"""The kind cluster: made, reused, started again, refused or removed. Only what this project made is ever touched."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster import edges, engine, ledger, run, tools
from cluster.run import ROOT, Trouble

_CONFIG = ROOT / "k8s" / "kind.yaml"
_NEEDED_GIB = 6  # for a cluster and its images, once they are built
_POD_NETWORK = Path(__file__).with_name("pod-network")


@dataclass(frozen=True)
class Cluster:
    """A kind cluster of ours.

    Attributes:
        name: kind's name for it.
        port_offset: added to each host port of k8s/kind.yaml, so that two clusters can stand side by side.
        workers: nodes beside the control plane's; None for as many as there are, or for none in a new cluster.
        edge: name of the edge that is meant: a cluster can have several, each at its own ports.
    """

    name: str
    port_offset: int
    workers: int | None = None
    edge: str = edges.DEFAULT

    @property
    def context(self) -> str:
        """The kubectl context, named in every command so that no other cluster is ever touched."""
        return f"kind-{self.name}"

    @property
    def http_port(self) -> int:
        """The port on 127.0.0.1 at which the edge answers HTTP."""
        return self._host_port(0)

    @property
    def tls_port(self) -> int:
        """The port on 127.0.0.1 at which the edge answers TLS."""
        return self._host_port(1)

    def _host_port(self, which: int) -> int:
        wanted = edges.find(self.edge).node_ports[which]
        (port,) = (each["hostPort"] for each in _mappings() if each["containerPort"] == wanted)
        return int(port) + self.port_offset

    def host_ports(self) -> list[int]:
        """Return all ports on 127.0.0.1 that the cluster takes."""
        return [int(mapping["hostPort"]) + self.port_offset for mapping in _mappings()]

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Return what kubectl prints for this cluster (see `run.output`)."""
        return run.output(tools.find("kubectl"), "--context", self.context, *arguments, stdin=stdin, timeout=timeout)

    def ready_pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Return the pods that are ready and not about to go, the newest first.

        Raises:
            Trouble: there is none.
        """
        found = json.loads(self.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json"))["items"]
        pods = [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)]
        if not pods:
            raise Trouble(f"no pod with {selector} in the namespace {namespace} is ready: kubectl get pods says why")
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)

    def containers(self) -> dict[str, str]:
        """Return the node containers, running or not: name to id."""
        return {node.name: node.identity for node in engine.nodes() if node.cluster == self.name}

    @property
    def _record(self) -> Path:
        return engine.CLUSTERS / f"{self.name}.json"

    def record(self) -> dict[str, Any]:
        """Return what was noted when the cluster was made; empty if it is not ours."""
        try:
            found: dict[str, Any] = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def note(self, **entries: object) -> None:
        """Add entries to the record."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps(self.record() | entries, indent=2))
        partial.replace(self._record)

    def ensure(self, node_image: str, patch: dict[str, Any]) -> None:
        """Make sure that the cluster runs with this configuration: reuse it, start it again, or make it.

        Args:
            node_image: image of the nodes.
            patch: merged into the kind configuration.

        Raises:
            Trouble: a cluster of this name is not ours or is configured otherwise, a port is taken, the disk is too
                full, or kind failed.
        """
        record = self.record()
        there: int = record.get("workers", 0)
        workers = there if self.workers is None else self.workers
        config = self._config(patch, workers)
        wanted = hashlib.sha256(f"{node_image}\n{config}".encode()).hexdigest()
        self.check_ours()
        if self.containers() and record["state"] == "ready":
            if workers != there:
                raise Trouble(
                    f"the cluster {self.name} has {there} workers and WORKERS asks for {workers}: leave WORKERS out, "
                    "or remove the cluster with `make kind-down`, and run this again"
                )
            if record["config"] != wanted:
                raise Trouble(
                    f"the cluster {self.name} was made with another configuration: remove it with `make kind-down`, "
                    "and run this again"
                )
            self._start()
            return
        if self.containers():
            run.say(f" • The cluster {self.name} was left half made: it is made anew")
            self.remove()
        self._create(node_image, config, wanted, workers)

    def check_ours(self) -> None:
        """Refuse a cluster of this name that was not made from here.

        Raises:
            Trouble: there is one.
        """
        nodes = [node for node in engine.nodes() if node.cluster == self.name]
        record = self.record()
        # What was left half made has no list of its containers, and the name alone proves nothing.
        half_made = record.get("state") == "making" and all(node.marked for node in nodes)
        if nodes and not half_made and record.get("containers") != {node.name: node.identity for node in nodes}:
            raise Trouble(
                f"there is a kind cluster named {self.name} that was not made from here, and it is left alone: choose "
                "another name and other ports (CLUSTER=other PORT_OFFSET=100), or remove that one "
                f"(kind delete cluster --name {self.name})"
            )

    def _config(self, patch: dict[str, Any], workers: int = 0) -> str:
        config = yaml.safe_load(_CONFIG.read_text())
        config["nodes"] += [{"role": "worker"} for _ in range(workers)]
        for mapping in config["nodes"][0]["extraPortMappings"]:
            mapping["hostPort"] += self.port_offset
        return yaml.safe_dump(config | {"name": self.name} | patch)

    def _create(self, node_image: str, config: str, wanted: str, workers: int) -> None:
        self.check_ports()
        _check_disk()
        self._record.unlink(missing_ok=True)
        self.note(state="making")
        path = engine.CLUSTERS / f"{self.name}.yaml"
        path.write_text(_marked(config))
        engine.note_pull(node_image)
        if not run.succeeds("docker", "network", "inspect", "kind"):
            ledger.note("network", "kind")
        command = (tools.find("kind"), "create", "cluster", "--config", path, "--image", node_image, "--wait", "180s")
        try:
            run.step(f"Create the cluster {self.name}", *command)
            if workers and yaml.safe_load(config).get("networking", {}).get("disableDefaultCNI"):
                self._connect_pods()
        except Trouble:
            time.sleep(1)  # what a killed kind has asked the engine for comes after its end
            self.remove()
            raise
        self.note(state="ready", config=wanted, containers=self.containers(), workers=workers)

    def _connect_pods(self) -> None:
        """Do kindnet's work where it is not there: each node's pods get a network, and the nodes routes to it.

        Raises:
            Trouble: a node refuses.
        """
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        networks = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in nodes}
        table = "".join(f"{node} {network}\n" for node, network in networks.items())
        for node in networks:
            run.output("docker", "cp", _POD_NETWORK, f"{node}:/usr/local/sbin/pod-network")
            run.output("docker", "exec", "-i", node, "/usr/local/sbin/pod-network", "install", stdin=table)
        # Those that came up before that have addresses of the first node's network.
        self.kubectl("delete", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--wait=false")
        run.say(f" ✓ Connect the pods of {len(networks)} nodes")

    def _running(self) -> list[str]:
        running = run.output("docker", "ps", "--format", "{{.Names}}").split()
        return [name for name in self.containers() if name in running]

    def _start(self) -> None:
        running = self._running()
        stopped = [name for name in self.containers() if name not in running]
        if stopped:
            run.step(f"Start the stopped cluster {self.name}", "docker", "start", *stopped)
        # Also where it runs: the user may have removed the context, and the API server may have just been started.
        run.output(tools.find("kind"), "export", "kubeconfig", "--name", self.name)
        for attempt in range(60):
            try:
                self.kubectl("get", "--raw", "/readyz", timeout=10)
                break
            except Trouble:
                if attempt == 59:
                    raise
                time.sleep(2)
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s", timeout=130)
        run.say(f" ✓ The cluster {self.name} is up")

    def check_ports(self) -> None:
        """Refuse to go on when another program has one of the ports that the cluster needs.

        Raises:
            Trouble: one is taken, or can't be used.
        """
        if self._running():
            return  # they are taken by the cluster itself
        for port in self.host_ports():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise Trouble(f"port {port} on 127.0.0.1 can't be used: {error.strerror}") from error
                    raise Trouble(
                        f"port {port} on 127.0.0.1 is taken: stop what listens there (ss -ltnp 'sport = :{port}'), or "
                        "move all ports with PORT_OFFSET=100"
                    ) from error

    def remove(self) -> bool:
        """Remove the cluster if there is one and it is ours; tell whether there was.

        Raises:
            Trouble: the cluster of this name is not ours, or something is left of it.
        """
        self.check_ours()
        containers = self.containers()
        command = (tools.find("kind"), "delete", "cluster", "--name", self.name)
        # A container that is just being started, or removed, survives this once or makes it fail.
        for attempt in range(5):
            if not self.containers():
                break
            try:
                run.step(f"Remove the cluster {self.name}", *command)
            except Trouble:
                if attempt == 4:
                    raise
            time.sleep(1)
        if self.containers():
            raise Trouble(f"{', '.join(self.containers())} could not be removed: docker rm --force says why")
        self._record.unlink(missing_ok=True)
        self._record.with_suffix(".yaml").unlink(missing_ok=True)
        return bool(containers)

    def load(self, *images: str) -> list[str]:
        """Load images from the engine into the nodes; return those that were not there yet as they are now."""
        loaded: dict[str, str] = self.record().get("images", {})
        new = []
        for image in images:
            identity = run.output("docker", "image", "inspect", "--format", "{{.Id}}", image)
            if loaded.get(image) != identity:
                kind = (tools.find("kind"), "load", "docker-image", image, "--name", self.name)
                run.step(f"Load {image} into the cluster", *kind, log="load")
                loaded[image] = identity
                self.note(images=loaded)
                new.append(image)
        return new


def is_ready(pod: dict[str, Any]) -> bool:
    """Tell whether a pod is ready, as the API says."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _mappings() -> list[dict[str, Any]]:
    mappings: list[dict[str, Any]] = yaml.safe_load(_CONFIG.read_text())["nodes"][0]["extraPortMappings"]
    return mappings


def _marked(config: str) -> str:
    """Return a kind configuration whose nodes can be told from everybody else's (see `engine.Node`)."""
    wanted = yaml.safe_load(config)
    mount = {"hostPath": str(engine.CLUSTERS), "containerPath": "/django-streaming-kubernetes", "readOnly": True}
    for node in wanted["nodes"]:
        node["extraMounts"] = [*node.get("extraMounts", []), mount]
    return yaml.safe_dump(wanted)


def _check_disk() -> None:
    root = Path(run.output("docker", "info", "--format", "{{.DockerRootDir}}"))
    check_disk(root, _NEEDED_GIB)


def check_disk(folder: Path, gib: int) -> None:
    """Refuse to start what would fill the disk.

    Args:
        folder: where it will be written; the nearest folder above it that exists is looked at.
        gib: GiB that must be free.

    Raises:
        Trouble: less is free.
    """
    while not folder.exists():
        if folder == folder.parent:
            return  # the engine's disk is elsewhere (a virtual machine)
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        raise Trouble(f"{folder} has {free:.1f} GiB free and {gib} are needed: make room there, and run this again")
