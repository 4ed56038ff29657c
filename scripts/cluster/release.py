"""What runs on the cluster: the edge and the demo, both Helm releases, and what to look at when they don't come up."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Collection

from cluster import edges, images, run, tools
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble

EDGE = edges.DEFAULT
RELEASE = "streaming"


def helm(cluster: Cluster, *arguments: str) -> tuple[str, ...]:
    """Return a helm command for this cluster and no other."""
    return (tools.find("helm"), "--kube-context", cluster.context, *arguments)


def install_edge(cluster: Cluster, source: images.Images) -> None:
    """Install the edge that is meant by its chart, or bring it up to date; others stay as they are.

    Raises:
        Trouble: helm failed, or the edge does not get ready.
    """
    edge = edges.find(cluster.edge)
    cluster.load(*source.edge_images)
    values = [f"--values={path}" for path in (ROOT / "k8s" / "edges" / f"{edge.name}.yaml", *source.edge_values)]
    _install(cluster, edge.name, edge.name, *source.edge_chart, "--create-namespace", *values)
    edge.finish(cluster)
    cluster.note(edges=sorted({edge.name, *cluster.record().get("edges", [])}))


def routes(cluster: Cluster) -> tuple[str, ...]:
    """Return the options for helm with which the demo's chart has a route for each edge of the cluster.

    Nothing where the chart's own defaults say it. `helm test` asks the edge that is meant.
    """
    there = [edges.find(name) for name in cluster.record().get("edges", [])]
    if {each.name for each in there} <= {edges.DEFAULT}:
        return ()
    kinds = {each.route for each in there}
    wanted = [f"{kind}.enabled={str(kind in kinds).lower()}" for kind in ("ingress", "httpRoute")]
    return ("--set", ",".join([*wanted, f"test.edge={edges.find(cluster.edge).service}"]))


def restrict(cluster: Cluster, namespace: str) -> None:
    """Make the namespace if there is none, and have it refuse pods that break Pod Security's restricted profile.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(wanted))


def install(cluster: Cluster, release: str = RELEASE, namespace: str = "default", *options: str) -> None:
    """Install the chart, or bring it up to date, and wait until it is ready.

    Args:
        cluster: where.
        release: name of the Helm release.
        namespace: made if it does not exist; held to Pod Security's restricted profile.
        options: further options for helm, such as --set.

    Raises:
        Trouble: the image is not in the cluster, helm failed, or the pods don't get ready.
    """
    if images.APP not in cluster.record().get("images", {}):
        raise Trouble(f"the image {images.APP} is not in the cluster {cluster.name}: run `make image` first")
    restrict(cluster, namespace)
    _install(cluster, release, namespace, str(ROOT / "chart"), *options)


def await_edge(cluster: Cluster, host: str = "") -> None:
    """Wait until the edge routes to the demo as its route says: it takes that up some seconds after Helm is done.

    Args:
        cluster: whose edge.
        host: the Host to ask for, the edge's address if empty.

    Raises:
        Trouble: it does not within 60 s.
    """
    edges.find(cluster.edge).settle(cluster, host)
    url = f"http://127.0.0.1:{cluster.http_port}/readyz"
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    reason: object = None
    for _ in range(60):
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the address is ours
            return
        except OSError as error:
            reason = error
        time.sleep(1)
    raise Trouble(f"the edge does not route to the demo: {url} still answers {reason}\n{diagnostics(cluster)}")


def _install(cluster: Cluster, release: str, namespace: str, chart: str, *options: str) -> None:
    _recover(cluster, release, namespace)
    # Without --reset-values, what was set by hand before would stay.
    upgrade = ("upgrade", "--install", "--reset-values", release, chart, "--namespace", namespace)
    command = helm(cluster, *upgrade, *options)
    try:
        run.step(f"Install {release} by its chart", *command, "--wait", "--timeout", "180s")
    except Trouble as error:
        raise Trouble(f"{error}\n{diagnostics(cluster, namespace)}") from error


def _recover(cluster: Cluster, release: str, namespace: str) -> None:
    """Free a release from an operation that was interrupted: Helm refuses any other until then."""
    try:
        status = json.loads(run.output(*helm(cluster, "status", release, "--namespace", namespace, "-o", "json")))
    except Trouble:
        return  # not installed
    if status["info"]["status"] == "pending-install":
        run.output(*helm(cluster, "uninstall", release, "--namespace", namespace))
    elif status["info"]["status"].startswith("pending-"):
        run.output(*helm(cluster, "rollback", release, "--namespace", namespace))


def restart(cluster: Cluster, loaded: Collection[str]) -> None:
    """Replace the pods that run one of these images, wherever the chart is installed: its tag has got other content."""
    label = "app.kubernetes.io/name=streaming"
    found = json.loads(cluster.kubectl("get", "deploy", "-A", "-l", label, "-o", "json"))
    for deployment in found["items"]:
        if deployment["spec"]["template"]["spec"]["containers"][0]["image"] not in loaded:
            continue
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        cluster.kubectl("rollout", "restart", "-n", namespace, f"deploy/{name}")
        cluster.kubectl("rollout", "status", "-n", namespace, f"deploy/{name}", "--timeout=180s", timeout=190)


def diagnostics(cluster: Cluster, namespace: str = "default") -> str:
    """Return pods, events and the logs of the edge and the demo: what one asks for first when something fails."""
    edge = edges.find(cluster.edge)
    questions = (
        ("get", "pods", "-A", "-o", "wide"),
        *(("get", "events", "-n", each, "--sort-by=.lastTimestamp") for each in sorted({namespace, edge.name})),
        ("logs", "-n", edge.name, "-l", edge.pods, "--all-containers", "--tail=40"),
        ("logs", "-n", namespace, "-l", "app.kubernetes.io/name=streaming", "--tail=40", "--prefix"),
    )
    parts = []
    for question in questions:
        try:
            answer = cluster.kubectl(*question, timeout=30)
        except Trouble as error:
            answer = str(error)
        parts.append(f"--- kubectl {' '.join(question)}\n{answer}")
    return "\n".join(parts)
