"""ingress-nginx: the default."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from cluster.edges import Edge
from cluster.run import Trouble

if TYPE_CHECKING:
    from cluster.kind import Cluster


def nginx_conf(cluster: Cluster) -> str:
    """Return the edge's configuration as the controller has written it."""
    controller = ("-n", EDGE.name, "-l", EDGE.pods, "--field-selector=status.phase=Running")
    pod = cluster.kubectl("get", "pods", *controller, "-o", "jsonpath={.items[0].metadata.name}")
    return cluster.kubectl("exec", "-n", EDGE.name, pod, "--", "cat", "/etc/nginx/nginx.conf")


def settle(cluster: Cluster, host: str) -> None:
    """Wait until nginx has what the Ingress for a host asks for."""
    ingresses = json.loads(cluster.kubectl("get", "ingress", "-A", "-o", "json"))["items"]
    annotations: dict[str, str] = {}
    for ingress in ingresses:
        if host in [rule.get("host", "") for rule in ingress["spec"]["rules"]]:
            annotations |= ingress["metadata"].get("annotations", {})
    prefix = "nginx.ingress.kubernetes.io/"
    asked = {
        "client_max_body_size"
        if name == f"{prefix}proxy-body-size"
        else name.removeprefix(prefix).replace("-", "_"): value
        for name, value in annotations.items()
        if name.startswith(f"{prefix}proxy-")
    }
    found: dict[str, str] = {}
    for _ in range(60):
        part = nginx_conf(cluster).partition(f"## start server {host or '_'}\n")[2].partition("## end server")[0]
        found = dict(re.findall(r"^\s*(proxy_\w+|client_max_body_size)\s+(\S+?)s?;", part, re.MULTILINE))
        if all(found.get(name) == value for name, value in asked.items()):
            time.sleep(1)  # the file is written before the reload
            return
        time.sleep(0.5)
    raise Trouble(f"the edge has not taken up its Ingress: that asks for {asked}, and nginx.conf has {found}")


EDGE = Edge(
    name="ingress-nginx",
    chart=("ingress-nginx", "--repo", "https://kubernetes.github.io/ingress-nginx", "--version", "4.15.1"),
    origin="kubernetes.github.io/ingress-nginx/index.yaml",
    node_ports=(30080, 30443),
    pods="app.kubernetes.io/component=controller",
    service="ingress-nginx-controller.ingress-nginx.svc",
    setting="the annotations `proxy-buffering`, `proxy-http-version` and `proxy-read-timeout`",
    route="ingress",
    settle=settle,
)
