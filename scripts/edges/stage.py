"""One release of the chart behind all edges of a cluster at once: one Service, an Ingress, an HTTPRoute."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass, field, replace
from typing import Any

from cluster import edges, release
from cluster.edges.envoy_gateway import CERTIFICATE, certificate
from cluster.edges.envoy_gateway import EDGE as GATEWAY
from cluster.run import Trouble
from faults.target import HOST, NAMESPACE, Target

# ingress-nginx redirects plain HTTP for a host that has TLS, so that has another.
TLS_HOST = "localhost"
# Seconds without a byte: short, so that to ask what comes then does not take minutes.
READ_TIMEOUT = 10


@dataclass
class Stage(Target):
    """The release as it is behind one of the edges; `behind` gives it behind another.

    Attributes:
        installed: the edges of the cluster, the default first.
    """

    installed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find out which edges there are.

        Raises:
            Trouble: the cluster has none of them.
        """
        self.installed = sorted(self.cluster.record().get("edges", []), key=lambda name: (name != edges.DEFAULT, name))
        if not self.installed:
            raise Trouble(f"the cluster {self.cluster.name} has no edge: `make kind-up EDGE=…` adds one")

    def behind(self, edge: str) -> Stage:
        """Return the same release, behind another edge."""
        return replace(self, cluster=replace(self.cluster, edge=edge))

    @property
    def edge(self) -> edges.Edge:
        """The edge that it is behind."""
        return edges.find(self.cluster.edge)

    def install(self, *options: str) -> None:
        """Install the chart with two pods and a route for each kind of edge, or put back what was changed."""
        kinds = {edges.find(name).route for name in self.installed}
        values = {
            "gunicorn": {"threads": 128},
            "resources": {"limits": {"memory": "512Mi"}},
            "streaming": {"readTimeout": READ_TIMEOUT},
            "ingress": {"enabled": "ingress" in kinds, "host": HOST},
            "httpRoute": {"enabled": "httpRoute" in kinds, "hostnames": [HOST, TLS_HOST]},
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            release.install(self.cluster, "streaming", NAMESPACE, "--values", file.name, *options)
        self._serve_tls("ingress" in kinds)
        for name in self.installed:
            release.await_edge(self.behind(name).cluster, HOST)
        self.await_old_pods()

    def _serve_tls(self, ingress: bool) -> None:
        """Have the edges serve the second host by TLS, all with the same certificate."""
        if not self.kubectl("get", "secret", CERTIFICATE, "--ignore-not-found"):
            secret = certificate(NAMESPACE)
            for namespace in {NAMESPACE, *({GATEWAY.name} & set(self.installed))}:
                made = secret | {"metadata": {"name": CERTIFICATE, "namespace": namespace}}
                apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
                self.cluster.kubectl(*apply, stdin=json.dumps(made))
        if ingress:
            found = json.loads(self.kubectl("get", "ingress", "streaming", "-o", "json"))
            metadata = {"name": "tls", "annotations": found["metadata"]["annotations"]}
            spec = found["spec"] | {"tls": [{"secretName": CERTIFICATE, "hosts": [TLS_HOST]}]}
            spec["rules"][0]["host"] = TLS_HOST
            self.kubectl("apply", "-f", "-", stdin=json.dumps(found | {"metadata": metadata, "spec": spec}))

    def authority(self) -> str:
        """Return the certificate that the edges' own is signed by, as PEM."""
        jsonpath = "jsonpath={.data.ca\\.crt}"
        return base64.b64decode(self.kubectl("get", "secret", CERTIFICATE, "-o", jsonpath)).decode()

    def edge_pods(self) -> list[dict[str, Any]]:
        """Return the pods of the edge that streams go through."""
        return self.pods(self.edge.name, self.edge.pods)

    def restart_edge(self) -> None:
        """Replace the edge's pod as a deploy of the edge does; the old one may be there still."""
        (name,) = {pod["metadata"]["ownerReferences"][0]["name"].rpartition("-")[0] for pod in self.edge_pods()}
        rollout = ("-n", self.edge.name, "rollout")
        self.cluster.kubectl(*rollout, "restart", f"deploy/{name}")
        self.cluster.kubectl(*rollout, "status", f"deploy/{name}", "--timeout=180s", timeout=190)

    def memory(self) -> dict[str, float]:
        """Return how many MiB each deployment in the edge's namespace has in use, by the kubelet."""
        found: dict[str, float] = {}
        for node in self.cluster.containers():
            summary = json.loads(self.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
            for pod in summary["pods"]:
                if pod["podRef"]["namespace"] == self.edge.name:
                    name = pod["podRef"]["name"].rsplit("-", 2)[0]
                    found[name] = found.get(name, 0) + pod["memory"]["workingSetBytes"] / (1 << 20)
        return found
