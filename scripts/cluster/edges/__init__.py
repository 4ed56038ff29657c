"""What a cluster can have as its edge: each a chart with values in k8s/edges/, and a module here of the same name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.run import Trouble

if TYPE_CHECKING:
    from cluster.kind import Cluster

DEFAULT = "ingress-nginx"
NAMES = sorted(each.name.replace("_", "-") for each in pkgutil.iter_modules(__path__))


def _nothing(cluster: Cluster) -> None:
    pass


def _nothing_for(cluster: Cluster, host: str) -> None:
    pass


@dataclass(frozen=True)
class Edge:
    """What an edge's module says of it, as its `EDGE`.

    Attributes:
        name: of the edge, and so of its values file, its Helm release and its namespace.
        chart: upstream's chart as arguments for helm, its version the last; what is built from package registries
            brings its own.
        node_ports: for HTTP and for TLS, as its values set them; k8s/kind.yaml maps them to ports of 127.0.0.1.
        pods: label selector of the pods that streams go through.
        service: its Service as pods reach it.
        setting: what a stream needs most of it, for people.
        route: group of our chart's values for the object that it reads its routes from: ingress or httpRoute.
        finish: does what is to be done after the chart's install; safe to repeat.
        settle: waits until what was asked of the edge for a host is in force: an old configuration answers for some
            seconds after a change.
    """

    name: str
    chart: tuple[str, ...]
    node_ports: tuple[int, int]
    pods: str
    service: str
    setting: str
    route: str
    finish: Callable[[Cluster], None] = _nothing
    settle: Callable[[Cluster, str], None] = _nothing_for


def find(name: str) -> Edge:
    """Return an edge by its name.

    Raises:
        Trouble: there is none of that name.
    """
    if name not in NAMES:
        raise Trouble(f"there is no edge {name}: set EDGE to one of {', '.join(NAMES)}")
    edge: Edge = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").EDGE
    return edge
