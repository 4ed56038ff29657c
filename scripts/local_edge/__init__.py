"""The app behind a real nginx on loopback, with the directives that the ingress-nginx controller renders."""

from local_edge.edge import LocalEdge, StartFailed

__all__ = ["LocalEdge", "StartFailed"]
