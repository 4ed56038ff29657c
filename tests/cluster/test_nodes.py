"""The network of a cluster with workers: on the path from package registries it is ours."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import images
from cluster.kind import Cluster

NAMESPACE = "streaming-nodes"
# Answers with the address that it was asked from.
SERVER = """
import socket
listener = socket.create_server(("", 8000))
while True:
    peer, (address, _) = listener.accept()
    with peer:
        peer.sendall(address.encode())
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 8000), timeout=10) as server:
    print(server.recv(100).decode())
"""


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A pod on each node, the control plane's too: name to address."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    nodes = cluster.kubectl("get", "nodes", "-o", "name").replace("node/", "").split()
    for node in nodes:
        container = {"name": "pod", "image": images.APP, "command": ["python3", "-c", SERVER]}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": spec}
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pods", "--all", "--timeout=60s")
    yield {node: get(cluster, node)["status"]["podIP"] for node in nodes}
    cluster.kubectl("delete", "namespace", NAMESPACE)


def get(cluster: Cluster, pod: str) -> Any:
    return json.loads(cluster.kubectl("get", "pod", "-n", NAMESPACE, pod, "-o", "json"))


def test_pods_of_all_nodes_reach_each_other_and_see_each_others_address(cluster: Cluster, pods: dict[str, str]) -> None:
    assert len(pods) == 3
    assert len(set(pods.values())) == 3
    for one, other in itertools.permutations(pods, 2):
        command = ("exec", "-n", NAMESPACE, one, "--", "python3", "-c", CLIENT, pods[other])
        assert cluster.kubectl(*command) == pods[one]
