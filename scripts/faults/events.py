"""What happens to the streams: a function each, and one table of them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from cluster import release, run
from cluster.run import ROOT, Trouble

from faults.target import Target

# Kills processes below the first one, the server's workers, within a pod: argv is how many, and seconds between two.
KILL_WORKERS = """
import os, pathlib, random, signal, sys, time
count, pause = int(sys.argv[1]), float(sys.argv[2])
killed = 0
while killed < count:
    workers = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if parent == "1" and "gunicorn" in (process / "cmdline").read_text():
                workers.append(int(process.name))
        except OSError:
            pass
    if workers:
        os.kill(random.choice(workers), signal.SIGKILL)
        killed += 1
    time.sleep(pause)
print(killed)
"""

# Fills the container's memory with processes that are each smaller than any of the server's, so that these are the ones
# that the kernel chooses.
_EAT = """
import os, pathlib, time
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if "gunicorn" in (process / "cmdline").read_text():
            (process / "oom_score_adj").write_text("1000")
    except OSError:
        pass
for _ in range(200):
    if os.fork() == 0:
        eaten = bytearray(os.urandom(4 << 20))
        time.sleep(4)
        os._exit(0)
time.sleep(4)
"""


def helm_upgrade(target: Target) -> None:
    """Upgrade the release to an image with another tag."""
    target.upgrade("--set", f"image.tag={target.load_next_image()}")


def rollout_restart(target: Target) -> None:
    """Replace all pods."""
    target.restart()


def scale_down(target: Target) -> None:
    """Leave one pod."""
    target.scale(1)


def evict(target: Target) -> None:
    """Evict one pod, and see that the disruption budget holds a second eviction back.

    Raises:
        Trouble: it doesn't.
    """
    first, second, *_ = target.names()
    target.evict(first)
    try:
        target.evict(second)
    except Trouble as error:
        if "disruption budget" not in str(error):
            raise
    else:
        raise Trouble("a second pod could be evicted at once: the disruption budget holds nobody back")
    target.rolled_out()


def drain_node(target: Target) -> None:
    """Drain a node with streams on it, but not with the edge, and take it back."""
    target.drain(target.node_of_app())


def drain_node_of_edge(target: Target) -> None:
    """Drain the node on which the edge runs, and take it back."""
    target.drain(target.node_of_edge())


def reload_edge(target: Target) -> None:
    """Add eight Ingresses and remove them, each of which makes the edge reload.

    Raises:
        Trouble: it has reloaded less often.
    """
    before = _reloads(target)
    for verb in ("add", "delete"):
        for number in range(8):
            if verb == "add":
                target.add_ingress(f"another-{number}")
            else:
                target.kubectl("delete", "ingress", f"another-{number}")
            # The controller looks at most every 3.3 s, and what comes faster shares a reload.
            time.sleep(4)
    reloads = _reloads(target) - before
    if reloads < 12:
        raise Trouble(f"16 changes made the edge reload only {reloads} times: nothing was tested")


def _reloads(target: Target) -> int:
    (name,) = (pod["metadata"]["name"] for pod in target.ready_edge_pods())
    logged = target.cluster.kubectl("logs", "-n", release.EDGE, name, "--tail=-1")
    return logged.count("Backend successfully reloaded")


def restart_control_plane(target: Target) -> None:
    """Kill controller manager and scheduler in a rollout; the kubelet starts them again, and the rollout goes on."""
    target.kubectl("rollout", "restart", "deploy/streaming")
    time.sleep(2)
    for component in ("kube-controller-manager", "kube-scheduler"):
        target.kill(target.control_plane(component))
    target.rolled_out()


def restart_edge(target: Target) -> None:
    """Replace the controller's pod; the new one is ready before the old one goes."""
    target.cluster.kubectl("-n", release.EDGE, "rollout", "restart", "deploy/ingress-nginx-controller")
    target.edge_rolled_out()


def hurry_old_workers(target: Target) -> None:
    """Give what a reload of the edge replaces only five seconds; this takes a reload itself."""
    _set_shutdown(target, "5s")
    time.sleep(5)


def reload_hurried(target: Target) -> None:
    """Reload the edge, and put back what `hurry_old_workers` has set."""
    try:
        target.add_ingress("another")
        time.sleep(10)
    finally:
        _set_shutdown(target, _edge_values()["config"]["worker-shutdown-timeout"])
        target.kubectl("delete", "ingress", "another")
    time.sleep(10)


def _set_shutdown(target: Target, timeout: str) -> None:
    patch = json.dumps({"data": {"worker-shutdown-timeout": timeout}})
    command = ("patch", "configmap", "ingress-nginx-controller", "-n", release.EDGE, "--type=merge", "-p", patch)
    target.cluster.kubectl(*command)


def hurry_edge(target: Target) -> None:
    """Give the edge's pods ten seconds to end."""
    _set_edge_grace(target, 10)
    target.await_old_pods(edge=True)


def restart_hurried_edge(target: Target) -> None:
    """Replace the controller's pod, and put back what `hurry_edge` has set."""
    try:
        restart_edge(target)
        target.await_old_pods(edge=True)
    finally:
        _set_edge_grace(target, _edge_values()["terminationGracePeriodSeconds"])


def _set_edge_grace(target: Target, seconds: int) -> None:
    patch = json.dumps({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": seconds}}}})
    command = ("patch", "deploy", "ingress-nginx-controller", "-n", release.EDGE, "-p", patch)
    target.cluster.kubectl(*command)
    target.edge_rolled_out()


def _edge_values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "k8s/edges/ingress-nginx.yaml").read_text())["controller"]
    return values


def kill_pod(target: Target) -> None:
    """Kill all processes of a pod."""
    target.kill(target.ready_pods()[0])


def kill_worker(target: Target) -> None:
    """Kill one worker process; its parent starts another."""
    target.execute(target.names()[0], KILL_WORKERS, "1", "0")


def stop_node(target: Target) -> None:
    """Stop the node on which the edge runs, and start it again."""
    node = target.node_of_edge()
    run.output("docker", "stop", "--time", "10", node)
    time.sleep(3)
    run.output("docker", "start", node)


def exhaust_memory(target: Target) -> None:
    """Have the kernel kill the server for its memory."""
    # It goes with the container.
    with contextlib.suppress(Trouble):
        target.execute(target.names()[0], _EAT)


def kill_edge(target: Target) -> None:
    """Kill all processes of the controller's pod."""
    target.kill(target.ready_edge_pods()[0])


def nothing(target: Target) -> None:
    """Let the source's own error do it."""
    time.sleep(15)


@dataclass(frozen=True)
class Event:
    """One thing that happens.

    Attributes:
        name: to ask for it.
        title: in the report.
        do: makes it happen, and returns when Kubernetes or the engine says that it is done.
        expected: none: no stream may be lost. noticed: streams are lost, and each is reported as truncated or refused.
            control: what protects the streams is taken away, so at least one must be lost. apart: said, not judged.
        prepare: before the load begins or goes on.
        edge: it is the edge whose old pods go.
        query: further parameters of the streams.
    """

    name: str
    title: str
    do: Callable[[Target], None]
    expected: Literal["none", "noticed", "control", "apart"] = "none"
    prepare: Callable[[Target], None] | None = None
    edge: bool = False
    query: str = ""


def _end(**seconds: int) -> Callable[[Target], None]:
    return lambda target: target.set_end(**seconds)


def _one_pod(target: Target) -> None:
    target.scale(1)


def _end_of_one(**seconds: int) -> Callable[[Target], None]:
    def prepare(target: Target) -> None:
        _one_pod(target)
        target.set_end(**seconds)

    return prepare


EVENTS = (
    Event("helm-upgrade", "helm upgrade with a new image tag", helm_upgrade),
    Event("rollout-restart", "kubectl rollout restart", rollout_restart),
    Event("scale-down", "scale from 4 pods to 1", scale_down, prepare=lambda target: target.scale(4)),
    # With a single pod there is no other for the edge to try.
    Event("single-restart", "kubectl rollout restart of a single pod", rollout_restart, prepare=_one_pod),
    Event("eviction", "eviction of a pod, as a drain does", evict, prepare=lambda target: target.scale(2)),
    Event("node-drain", "drain of a node with streams", drain_node, prepare=lambda target: target.scale(4)),
    Event("reloads", "16 reloads of the edge", reload_edge),
    Event("control-plane", "controller manager and scheduler killed in a rollout", restart_control_plane),
    Event("edge-restart", "rollout restart of the edge", restart_edge, "apart", edge=True),
    Event("edge-drain", "drain of the edge's node", drain_node_of_edge, "apart", edge=True),
    Event("pod-kill", "SIGKILL to a pod", kill_pod, "noticed"),
    Event("worker-kill", "SIGKILL to a worker", kill_worker, "noticed"),
    Event("out-of-memory", "a pod out of memory", exhaust_memory, "noticed"),
    Event("edge-kill", "SIGKILL to the edge", kill_edge, "noticed"),
    Event("node-stop", "the edge's node stopped and started", stop_node, "noticed"),
    Event("source-error", "the source fails after 5 rows", nothing, "noticed", query="&fail_after=5"),
    # With two pods nothing is lost: the edge tries the other where one refuses.
    Event("no-prestop", "no preStop, and a single pod", rollout_restart, "control", _end_of_one(pre_stop=0)),
    Event("no-graceful", "graceful timeout 1 s", rollout_restart, "control", _end(graceful=1)),
    # Kubernetes refuses a grace period that is not longer than the preStop sleep, 5 s.
    Event("no-grace", "grace period 6 s: 1 s after preStop", rollout_restart, "control", _end(grace=6)),
    Event("nothing-left", "all three taken away", rollout_restart, "control", _end(pre_stop=0, graceful=1, grace=1)),
    Event("no-shutdown-time", "worker-shutdown-timeout 5 s", reload_hurried, "control", hurry_old_workers),
    Event(
        "no-edge-grace",
        "grace period of the edge 10 s",
        restart_hurried_edge,
        "control",
        hurry_edge,
        edge=True,
    ),
)
