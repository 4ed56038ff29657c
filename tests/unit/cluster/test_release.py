"""What is loaded into the cluster, installed and restarted there; docker, kind, helm and kubectl are stubs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cluster import engine, images, kind, ledger, release, run
from cluster.kind import Cluster
from cluster.run import Trouble

from tests.unit.cluster.stubs import stub

VERSIONS = {"kind": "kind v0.33.0 go1.26.8 linux/amd64", "helm": "v3.21.4+g1", "kubectl": "Client Version: v1.35.2"}
Answers = Mapping[str, str | Exception]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    """A cluster whose record and logs are kept apart, of a machine that has no programs yet."""
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(engine, "CLUSTERS", tmp_path / "cache" / "clusters")
    monkeypatch.setattr(ledger, "FILE", tmp_path / "cache" / "put-here")
    monkeypatch.setattr("cluster.tools.BIN", tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=os.pathsep)
    return Cluster("some", 0)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, Answers], Callable[[], list[str]]]:
    """Puts a stub on PATH, and returns what tells how it was called, but for its version."""

    def put(name: str, answers: Answers) -> Callable[[], list[str]]:
        version = {"version*": VERSIONS[name]} if name in VERSIONS else {}
        log = stub(tmp_path / "programs", name, version | dict(answers))
        return lambda: [line for line in log.read_text().splitlines() if not line.startswith("version")]

    return put


Program = Callable[[str, Answers], Callable[[], list[str]]]


def test_an_image_is_loaded_again_only_when_it_was_rebuilt(cluster: Cluster, program: Program) -> None:
    load = program("kind", {"load docker-image *": ""})
    inspect = "image inspect --format {{.Id}}"
    program("docker", {f"{inspect} app:1": "sha256:1", f"{inspect} other:1": "sha256:7"})
    assert cluster.load("app:1", "other:1") == ["app:1", "other:1"]
    assert load() == [f"load docker-image {name} --name some" for name in ("app:1", "other:1")]
    assert cluster.load("app:1", "other:1") == []
    # The record is that of the next run, too.
    assert Cluster("some", 0).load("app:1") == []
    program("docker", {f"{inspect} app:1": "sha256:2", f"{inspect} other:1": "sha256:7"})
    assert cluster.load("app:1", "other:1") == ["app:1"]
    assert len(load()) == 3
    assert cluster.record()["images"] == {"app:1": "sha256:2", "other:1": "sha256:7"}


def test_an_image_that_was_not_loaded_is_not_noted(cluster: Cluster, program: Program) -> None:
    program("kind", {"load *": Exception("no space left on device")})
    program("docker", {"image inspect *": "sha256:1"})
    with pytest.raises(Trouble, match="no space left on device"):
        cluster.load("app:1")
    assert "images" not in cluster.record()


def test_only_what_runs_an_image_that_was_loaded_is_restarted(cluster: Cluster, program: Program) -> None:
    def deployment(namespace: str, name: str, image: str) -> dict[str, object]:
        template = {"spec": {"containers": [{"image": image}, {"image": "sidecar:1"}]}}
        return {"metadata": {"namespace": namespace, "name": name}, "spec": {"template": template}}

    there = [deployment("a", "one", "app:1"), deployment("b", "two", "other:1"), deployment("b", "three", "app:1")]
    asked = program("kubectl", {"* get deploy *": json.dumps({"items": there}), "* rollout *": ""})
    release.restart(cluster, ["app:1", "sidecar:1"])
    get, *rollouts = asked()
    assert get == "--context kind-some get deploy -A -l app.kubernetes.io/name=streaming -o json"
    assert rollouts == [
        "--context kind-some rollout restart -n a deploy/one",
        "--context kind-some rollout status -n a deploy/one --timeout=180s",
        "--context kind-some rollout restart -n b deploy/three",
        "--context kind-some rollout status -n b deploy/three --timeout=180s",
    ]


@pytest.mark.parametrize(
    ("status", "does"),
    [
        ("deployed", None),
        ("failed", None),
        ("pending-install", "uninstall streaming --namespace apps"),
        ("pending-upgrade", "rollback streaming --namespace apps"),
        ("pending-rollback", "rollback streaming --namespace apps"),
        (None, None),
    ],
)
def test_a_release_is_freed_from_an_interrupted_operation_before_it_is_installed(
    cluster: Cluster, program: Program, status: str | None, does: str | None
) -> None:
    answer = json.dumps({"info": {"status": status}}) if status else Exception("Error: release: not found")
    calls = {"* uninstall *": "", "* rollback *": "", "* upgrade *": ""}
    asked = program("helm", {"* status streaming *": answer, **calls})
    program("kubectl", {"* apply *": ""})
    cluster.note(images={images.APP: "sha256:1"})
    release.install(cluster, "streaming", "apps", "--set=a=b")
    context = "--kube-context kind-some "
    first, *freed, last = (call.removeprefix(context) for call in asked())
    assert first == "status streaming --namespace apps -o json"
    assert freed == ([does] if does else [])
    assert last.startswith("upgrade --install --reset-values streaming ")
    assert "--namespace apps --set=a=b --wait --timeout" in last


@pytest.mark.parametrize(
    ("there", "edge", "options"),
    [
        ([], "ingress-nginx", ()),
        (["ingress-nginx"], "ingress-nginx", ()),
        (
            ["traefik"],
            "traefik",
            ("--set", "ingress.enabled=true,httpRoute.enabled=false,test.edge=traefik.traefik.svc"),
        ),
        (
            ["envoy-gateway"],
            "envoy-gateway",
            ("--set", "ingress.enabled=false,httpRoute.enabled=true,test.edge=envoy.envoy-gateway.svc"),
        ),
        (
            ["envoy-gateway", "ingress-nginx"],
            "ingress-nginx",
            (
                "--set",
                "ingress.enabled=true,httpRoute.enabled=true,test.edge=ingress-nginx-controller.ingress-nginx.svc",
            ),
        ),
    ],
)
def test_the_chart_gets_a_route_for_each_edge_that_the_cluster_has(
    cluster: Cluster, there: list[str], edge: str, options: tuple[str, ...]
) -> None:
    cluster.note(edges=there)
    assert release.routes(Cluster("some", 0, edge=edge)) == options


def test_a_cluster_is_made_with_marked_nodes_and_what_comes_with_it_is_noted(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, program: Program, tmp_path: Path
) -> None:
    monkeypatch.setattr(kind, "_NEEDED_GIB", 0)
    monkeypatch.setattr(Cluster, "check_ports", lambda self: None)
    asked = program("kind", {"create cluster *": ""})
    absent = Exception("none")
    node = f"id1 some some-control-plane /lib/modules,{engine.CLUSTERS}"
    program("docker", {"ps *": node, "info *": "/", "image inspect *": absent, "network inspect kind": absent})
    docker = tmp_path / "programs" / "docker"
    docker.write_text(
        docker.read_text().replace(
            "case ", f'grep -q create {docker.parent}/kind.log || case "$1" in ps) exit 0 ;; esac\ncase ', 1
        )
    )
    cluster.ensure("kindest/node:v1@sha256:07b2", {})
    config = engine.CLUSTERS / "some.yaml"
    assert asked() == [f"create cluster --config {config} --image kindest/node:v1@sha256:07b2 --wait 180s"]
    assert str(engine.CLUSTERS) in config.read_text()
    # Before kind has pulled or made them.
    assert ledger.noted("image") == ["kindest/node@sha256:07b2"]
    assert ledger.noted("network") == ["kind"]
    assert cluster.record()["state"] == "ready"
    assert cluster.record()["containers"] == {"some-control-plane": "id1"}
    assert [each.marked for each in engine.nodes()] == [True]


def test_what_was_there_before_is_not_noted(cluster: Cluster, program: Program) -> None:
    program("docker", {"image inspect *": "[]"})
    engine.note_pull("localhost:5000/node:v1@sha256:07b2")
    assert ledger.noted("image") == []
    asked = program("docker", {"image inspect *": Exception("No such image")})
    for _ in range(2):
        engine.note_pull("localhost:5000/node:v1@sha256:07b2")
    assert ledger.noted("image") == ["localhost:5000/node@sha256:07b2"]
    assert asked()[0] == "image inspect localhost:5000/node@sha256:07b2"


@pytest.mark.parametrize(
    ("label", "names", "removed"), [("app:1", "0 0", True), ("app:1", "1 0", False), ("other:1", "0 0", False)]
)
def test_an_image_of_ours_goes_when_it_is_replaced_unless_it_has_another_name(
    cluster: Cluster, program: Program, tmp_path: Path, label: str, names: str, removed: bool
) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE=python:3.13-slim@sha256:1234\nFROM ${BASE}\n")
    new = tmp_path / "built"
    asked = program(
        "docker",
        {
            "image inspect --format {{len *": names,
            "image inspect --format {{.Id}} *": f"sha256:1 {label}",
            "image inspect *": Exception("No such image"),
            "rmi *": "",
            "build *": "",
        },
    )
    # After the build another image has the name.
    docker = tmp_path / "programs" / "docker"
    text = docker.read_text()
    text = text.replace(f"'sha256:1 {label}'", f'"sha256:$([ -e {new} ] && echo 2 || echo 1) {label}"')
    docker.write_text(text.replace("case ", f'case "$1" in build) touch {new} ;; esac\ncase ', 1))
    images.build(images.Images("upstream", ""), {"app:1": tmp_path})
    (build,) = (call for call in asked() if call.startswith("build"))
    assert ledger.label("app:1") in build.split()
    assert ("rmi sha256:1" in asked()) is removed
    assert ledger.noted("image") == ["python@sha256:1234"]
