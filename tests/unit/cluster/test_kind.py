"""Which clusters and ports are taken, and which are left alone."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cluster import engine, kind
from cluster.kind import Cluster
from cluster.run import Trouble

NODE = {"some-control-plane": "0123abcd"}


def nodes(monkeypatch: pytest.MonkeyPatch, marked: bool) -> None:
    """Have the engine hold the node containers in NODE."""
    found = [engine.Node(identity, "some", name, marked) for name, identity in NODE.items()]
    monkeypatch.setattr(engine, "nodes", lambda: found)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    """A cluster whose record is kept apart, and whose node containers are those in NODE."""
    monkeypatch.setattr(engine, "CLUSTERS", tmp_path / "clusters")
    nodes(monkeypatch, marked=False)
    return Cluster("some", 300)


def test_the_context_is_kinds_own(cluster: Cluster) -> None:
    assert cluster.context == "kind-some"


def test_all_ports_are_on_loopback_and_distinct() -> None:
    mappings = yaml.safe_load((kind.ROOT / "k8s" / "kind.yaml").read_text())["nodes"][0]["extraPortMappings"]
    assert {mapping["listenAddress"] for mapping in mappings} == {"127.0.0.1"}
    assert len({mapping["hostPort"] for mapping in mappings}) == len(mappings) == 6


def test_the_offset_moves_every_port_and_the_patch_is_merged(cluster: Cluster) -> None:
    config = yaml.safe_load(cluster._config({"networking": {"disableDefaultCNI": True}}))
    assert [mapping["hostPort"] for mapping in config["nodes"][0]["extraPortMappings"]] == cluster.host_ports()
    assert cluster.http_port == 8380
    other = Cluster("some", 300, edge="traefik")
    assert (other.http_port, other.tls_port) == (8382, 8745)
    assert config["name"] == "some"
    assert config["networking"] == {"disableDefaultCNI": True}
    assert "failCgroupV1: false" in config["kubeadmConfigPatches"][0]


def test_a_cluster_without_a_record_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Trouble, match=r"named some that was not made from here, and it is left alone: .*CLUSTER="):
        cluster.check_ours()


def test_a_cluster_that_was_made_anew_by_another_is_refused(cluster: Cluster) -> None:
    cluster.note(state="ready", containers={"some-control-plane": "another id"})
    with pytest.raises(Trouble, match="not made from here"):
        cluster.remove()


@pytest.mark.parametrize(
    ("record", "marked"), [({"state": "making"}, True), ({"state": "ready", "containers": NODE}, False)]
)
def test_what_was_made_here_or_left_half_made_is_ours(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, record: dict[str, object], marked: bool
) -> None:
    nodes(monkeypatch, marked)
    cluster.note(**record)
    cluster.check_ours()


def test_a_cluster_of_another_is_refused_although_one_of_its_name_was_begun(cluster: Cluster) -> None:
    """Its name proves nothing: `kind create` was killed before it made anything, and then somebody made theirs."""
    cluster.note(state="making")
    with pytest.raises(Trouble, match="not made from here"):
        cluster.remove()


def test_every_node_that_is_made_from_here_is_marked(cluster: Cluster) -> None:
    """As `engine.nodes` reads it."""
    made = yaml.safe_load(kind._marked(cluster._config({}, workers=2)))
    assert len(made["nodes"]) == 3
    for node in made["nodes"]:
        (mount,) = node["extraMounts"]
        assert (mount["hostPath"], mount["readOnly"]) == (str(engine.CLUSTERS), True)
    assert "extraMounts" not in cluster._config({}, workers=2)


def test_another_configuration_is_refused(cluster: Cluster) -> None:
    cluster.note(state="ready", containers=NODE, config="other")
    with pytest.raises(Trouble, match="another configuration: remove it with `make kind-down`"):
        cluster.ensure("image", {})


def test_workers_are_nodes_beside_the_control_plane(cluster: Cluster) -> None:
    nodes = yaml.safe_load(cluster._config({}, workers=2))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert "extraPortMappings" in nodes[0]


@pytest.mark.parametrize("there", [0, 2])
def test_the_number_of_workers_of_a_cluster_stays(cluster: Cluster, there: int) -> None:
    cluster.note(state="ready", containers=NODE, config="other", workers=there)
    with pytest.raises(Trouble, match=f"the cluster some has {there} workers and WORKERS asks for 1: leave WORKERS"):
        replace(cluster, workers=1).ensure("image", {})
    with pytest.raises(Trouble, match="another configuration"):
        cluster.ensure("image", {})


def test_a_record_that_cannot_be_read_counts_as_none(cluster: Cluster) -> None:
    cluster.note(state="ready")
    cluster._record.write_text("{")
    assert cluster.record() == {}


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    monkeypatch.setattr(Cluster, "_running", lambda self: [])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Trouble, match=rf"port {port} on 127.0.0.1 is taken: .*PORT_OFFSET"):
            Cluster("some", port - 8080).check_ports()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    kind.check_disk(tmp_path / "not" / "yet", 0)
    with pytest.raises(Trouble, match=r"GiB free and 1000000000 are needed: make room"):
        kind.check_disk(tmp_path / "not" / "yet", 10**9)
