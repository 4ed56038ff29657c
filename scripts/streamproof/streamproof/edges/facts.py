"""What an Ingress says about its edge. Pure, as all of this package."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ingress:
    """What an Ingress says about the edge.

    Attributes:
        name: of the Ingress, with its namespace before a slash.
        controller: of its class, such as "k8s.io/ingress-nginx"; empty if that is not known.
        annotations: of the Ingress.
    """

    name: str
    controller: str
    annotations: dict[str, str] = field(default_factory=dict)
