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


_PREFIX = "nginx.ingress.kubernetes.io/"
# The annotations that set a directive of a location: its name, and which of its arguments where it is one of several.
_DIRECTIVES: dict[str, tuple[str, int | None]] = {
    "proxy-body-size": ("client_max_body_size", None),
    "proxy-buffer-size": ("proxy_buffer_size", None),
    "proxy-buffering": ("proxy_buffering", None),
    "proxy-buffers-number": ("proxy_buffers", 0),
    "proxy-connect-timeout": ("proxy_connect_timeout", None),
    "proxy-cookie-domain": ("proxy_cookie_domain", None),
    "proxy-cookie-path": ("proxy_cookie_path", None),
    "proxy-http-version": ("proxy_http_version", None),
    "proxy-max-temp-file-size": ("proxy_max_temp_file_size", None),
    "proxy-next-upstream": ("proxy_next_upstream", None),
    "proxy-next-upstream-timeout": ("proxy_next_upstream_timeout", None),
    "proxy-next-upstream-tries": ("proxy_next_upstream_tries", None),
    "proxy-read-timeout": ("proxy_read_timeout", None),
    "proxy-request-buffering": ("proxy_request_buffering", None),
    "proxy-send-timeout": ("proxy_send_timeout", None),
}


def nginx_conf(cluster: Cluster) -> str:
    """Return the edge's configuration as the controller has written it, the newest one's where it is being replaced."""
    pod = cluster.ready_pods(EDGE.name, EDGE.pods)[0]["metadata"]["name"]
    return cluster.kubectl("exec", "-n", EDGE.name, pod, "--", "cat", "/etc/nginx/nginx.conf")


def settle(cluster: Cluster, host: str) -> None:
    """Wait until nginx has what the Ingress for a host asks for."""
    ingresses = json.loads(cluster.kubectl("get", "ingress", "-A", "-o", "json"))["items"]
    annotations: dict[str, str] = {}
    for ingress in ingresses:
        if host in [rule.get("host", "") for rule in ingress["spec"]["rules"]]:
            annotations |= ingress["metadata"].get("annotations", {})
    reason = ""
    for _ in range(60):
        try:
            part = nginx_conf(cluster).partition(f"## start server {host or '_'}\n")[2].partition("## end server")[0]
            reason = (
                "; ".join(differences(annotations, part)) if part else f"nginx.conf has no server for {host or 'any'}"
            )
            if not reason:
                time.sleep(1)  # the file is written before the reload
                return
        except Trouble as error:  # the controller that was asked has gone
            reason = str(error)
        time.sleep(0.5)
    raise Trouble(f"the edge has not taken up its Ingress: {reason}")


def differences(annotations: dict[str, str], conf: str) -> list[str]:
    """Return in which directives a server of nginx.conf is not yet as the annotations of its Ingress ask for.

    Args:
        annotations: all of the Ingress; those that set no directive of a location are not looked at.
        conf: the server's part of nginx.conf, a directive a line.
    """
    there = {name: value.split() for name, value in re.findall(r"^\s*(\w+)\s+(.*?)\s*;\s*$", conf, re.MULTILINE)}
    found = []
    for name, value in annotations.items():
        directive, which = _DIRECTIVES.get(name.removeprefix(_PREFIX), ("", None))
        if not directive:
            continue
        words = there.get(directive, [])
        has = words if which is None else words[which : which + 1]
        # The controller adds the unit of a time, and moves non_idempotent to the end.
        if sorted(re.sub(r"^(\d+)s$", r"\1", word) for word in has) != sorted(value.split()):
            found.append(f"{name} asks for {value}, and nginx.conf has {directive} {' '.join(words)}")
    return found


EDGE = Edge(
    name="ingress-nginx",
    chart=("ingress-nginx", "--repo", "https://kubernetes.github.io/ingress-nginx", "--version", "4.15.1"),
    node_ports=(30080, 30443),
    pods="app.kubernetes.io/component=controller",
    service="ingress-nginx-controller.ingress-nginx.svc",
    setting="the annotations `proxy-buffering`, `proxy-http-version` and `proxy-read-timeout`",
    route="ingress",
    settle=settle,
)
