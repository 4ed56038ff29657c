"""Traefik, which reads the Ingresses of ingress-nginx."""

from cluster.edges import Edge

EDGE = Edge(
    name="traefik",
    chart=("traefik", "--repo", "https://traefik.github.io/charts", "--version", "41.6.0"),
    node_ports=(30082, 30445),
    pods="app.kubernetes.io/name=traefik",
    service="traefik.traefik.svc",
    setting="the entry point's `lifeCycle.graceTimeOut`, 10 s by default",
    route="ingress",
)
