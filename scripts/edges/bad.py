"""For each edge a setting with which a stream is really late or cut: what passes behind it had not been looked at."""

from __future__ import annotations

import json
from typing import Any

from faults.target import NAMESPACE

from edges.stage import Stage

# One for each edge: Traefik reads the Ingress that is bad with ingress-nginx, too.
HOSTS = {name: f"bad-{name}.test" for name in ("ingress-nginx", "envoy-gateway", "traefik")}
_NGINX = "nginx.ingress.kubernetes.io/"


def spoil(stage: Stage) -> None:
    """Give the release a route with a bad setting through the edge, for a host of its own."""
    for each in BAD[stage.edge.name]:
        stage.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(each))


def _object(version: str, kind: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata = {"name": "bad", "namespace": NAMESPACE, "annotations": annotations}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


WHAT = {
    "ingress-nginx": "proxy-buffering on, HTTP/1.0",
    "envoy-gateway": "no timeouts.request in the route",
    "traefik": "the middleware buffering",
}
_SERVICE = {"service": {"name": "streaming", "port": {"name": "http"}}}
_PATH = {"path": "/", "pathType": "Prefix", "backend": _SERVICE}
_GATEWAY = {"name": "edge", "namespace": "envoy-gateway"}
_TRAEFIK = {"name": "streaming", "port": "http"}

BAD = {
    # Buffering, and no chunks to the app: all comes at the end.
    "ingress-nginx": [
        _object(
            "networking.k8s.io/v1",
            "Ingress",
            {"ingressClassName": "nginx", "rules": [{"host": HOSTS["ingress-nginx"], "http": {"paths": [_PATH]}}]},
            **{f"{_NGINX}proxy-buffering": "on", f"{_NGINX}proxy-http-version": "1.0"},
        )
    ],
    # No timeout in the route, so Envoy's default: 15 s for all of a response.
    "envoy-gateway": [
        _object(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            {
                "parentRefs": [_GATEWAY],
                "hostnames": [HOSTS["envoy-gateway"]],
                "rules": [{"backendRefs": [{"name": "streaming", "port": 80}]}],
            },
        )
    ],
    # The middleware that is made to hold responses back: all comes at the end.
    "traefik": [
        _object("traefik.io/v1alpha1", "Middleware", {"buffering": {"maxResponseBodyBytes": 0}}),
        _object(
            "traefik.io/v1alpha1",
            "IngressRoute",
            {
                "entryPoints": ["web"],
                "routes": [
                    {
                        "kind": "Rule",
                        "match": f"Host(`{HOSTS['traefik']}`)",
                        "middlewares": [{"name": "bad"}],
                        "services": [_TRAEFIK],
                    }
                ],
            },
        ),
    ],
}
