"""Tests of an edge beside ingress-nginx: the one that EDGE names, in the cluster that CLUSTER and PORT_OFFSET name."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cluster.kind import Cluster
from edges.stage import Stage


@pytest.fixture(scope="session")
def stage(cluster: Cluster) -> Iterator[Stage]:
    """The chart, installed behind all edges of the cluster and seen from the one that the tests are about."""
    edge = os.environ.get("EDGE") or "envoy-gateway"
    stage = Stage(cluster).behind(edge)
    assert edge in stage.installed, f"make kind-up EDGE={edge} CLUSTER={cluster.name} PORT_OFFSET={cluster.port_offset}"
    stage.install()
    yield stage
    stage.remove()
