"""Envoy Gateway, by the Gateway API. Its chart makes no Gateway: that is done here, and its certificate made."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import trustme

from cluster.edges import Edge
from cluster.run import ROOT, Trouble

if TYPE_CHECKING:
    from cluster.kind import Cluster

_GATEWAY = ROOT / "k8s" / "edges" / "envoy-gateway.gateway.yaml"
CERTIFICATE = "edge-tls"  # as the Gateway names it


def finish(cluster: Cluster) -> None:
    """Make the Gateway and wait until its Envoy serves. Its certificate is of our making, as other edges have one."""
    if not cluster.kubectl("get", "secret", CERTIFICATE, "-n", EDGE.name, "--ignore-not-found"):
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(certificate(EDGE.name)))
    cluster.kubectl("apply", "--server-side", "-f", str(_GATEWAY))
    wait = ("wait", "-n", EDGE.name, "--for=condition=Programmed", "gateway/edge", "--timeout=180s")
    cluster.kubectl(*wait, timeout=190)
    # Programmed says that an Envoy is there, not that it is the one that was asked for last.
    cluster.kubectl("rollout", "status", "-n", EDGE.name, "deploy/envoy", "--timeout=180s", timeout=190)


def certificate(namespace: str) -> dict[str, Any]:
    """Return a Secret with a new certificate for this machine, and with that of the authority that signed it."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    parts = {
        "tls.crt": b"".join(each.bytes() for each in made.cert_chain_pems),
        "tls.key": made.private_key_pem.bytes(),
        "ca.crt": authority.cert_pem.bytes(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CERTIFICATE, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {name: part.decode() for name, part in parts.items()},
    }


def settle(cluster: Cluster, host: str) -> None:
    """Wait until the HTTPRoutes for a host, and the policies of their namespaces, are accepted as they are now."""
    waiting: list[str] = []
    for _ in range(60):
        found = json.loads(cluster.kubectl("get", "httproutes", "-A", "-o", "json"))["items"]
        routes = [each for each in found if host in each["spec"].get("hostnames", [""])]
        namespaces = {each["metadata"]["namespace"] for each in routes}
        policies = json.loads(cluster.kubectl("get", "backendtrafficpolicies", "-A", "-o", "json"))["items"]
        there = [*routes, *(each for each in policies if each["metadata"]["namespace"] in namespaces)]
        waiting = [f"{each['kind']} {each['metadata']['name']}" for each in there if not _accepted(each)]
        if routes and not waiting:
            time.sleep(1)  # the status is written when Envoy is told
            return
        time.sleep(0.5)
    raise Trouble(f"the edge has not accepted {', '.join(waiting) or 'any HTTPRoute for this host: there is none'}")


def _accepted(each: dict[str, Any]) -> bool:
    status = each.get("status", {})
    conditions = [one for parent in status.get("parents", status.get("ancestors", [])) for one in parent["conditions"]]
    generation = each["metadata"]["generation"]
    return bool(conditions) and all(
        one["status"] == "True" and one["observedGeneration"] == generation
        for one in conditions
        if one["type"] in ("Accepted", "ResolvedRefs")
    )


EDGE = Edge(
    name="envoy-gateway",
    chart=("oci://docker.io/envoyproxy/gateway-helm", "--version", "v1.9.1"),
    node_ports=(30081, 30444),
    pods="gateway.envoyproxy.io/owning-gateway-name=edge",
    service="envoy.envoy-gateway.svc",
    setting="the route's `timeouts.request`, 15 s by default",
    route="httpRoute",
    finish=finish,
    settle=settle,
)
