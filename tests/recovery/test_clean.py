"""`make clean` on machines that have things of others on them, which all must stay."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import engine, ledger
from cluster.run import CACHE

from tests.recovery.machine import Machine

pytestmark = pytest.mark.timeout(600)

# What a user may have, under names that look like ours.
THEIRS = (
    "kindest/node:v1.35.8",
    "registry.k8s.io/kube-apiserver:v1.35.4",
    "streaming/my-own-service:2",
    "streaming/node:mine",
    "streamproof:mine",
    "shop:1",
)
OURS = ("streaming-demo:0.1.0", "streaming/traefik:v3.6.12-0123456789ab", "streaming-build/python:0123456789ab")


@pytest.fixture
def clean_machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine where nothing from here has ever been, but for what an engine needs."""
    machine = Machine(tmp_path, fresh=True)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()


def test_everything_of_others_stays(clean_machine: Machine) -> None:
    """Data, images, clusters and packages: nothing that was not noted, and cannot be proven, is touched."""
    machine = clean_machine
    machine.path("/var/lib/docker/volumes").mkdir(parents=True)
    machine.start_engine()
    for name in THEIRS:
        machine.build(name)
    for name in OURS:
        machine.build(name, ledger.label(name) if name == OURS[0] else "--label=none=none")
    machine.build("acme/derived:1", base=OURS[0])  # has our label, too
    # Theirs has the name of one that we began to make.
    node = ("--label", "io.x-k8s.kind.cluster=streaming")
    machine.create("streaming-control-plane", THEIRS[0], *node)
    machine.create("other-control-plane", THEIRS[0], "--label", "io.x-k8s.kind.cluster=other")
    machine.create("shop", "shop:1")
    assert machine.run("docker", "volume", "create", "orders").returncode == 0
    folder = machine.path(CACHE / "clusters")
    folder.mkdir(exist_ok=True)
    (folder / "streaming.json").write_text(json.dumps({"state": "making"}))
    # Two of ours, one half made.
    for cluster in ("done", "half"):
        options = ("--label", f"io.x-k8s.kind.cluster={cluster}", "--volume", f"{CACHE}/clusters:/marked:ro")
        wanted = options if cluster == "half" else options[:2]
        identity = machine.create(f"{cluster}-control-plane", THEIRS[0], *wanted)
        record = {"state": "making"} if cluster == "half" else {"containers": {f"{cluster}-control-plane": identity}}
        (folder / f"{cluster}.json").write_text(json.dumps(record))

    told = machine.clean()

    assert machine.images() == {*THEIRS, "acme/derived:1"}
    assert set(machine.nodes()) == {"streaming-control-plane", "other-control-plane", "shop"}
    assert machine.run("docker", "volume", "ls", "-q").stdout.split() == ["orders"]
    for line in (
        "removed the cluster done",
        "removed the cluster half",
        *(f"removed the image {name}" for name in OURS),
    ):
        assert f"✓ {line}\n" in told
    assert "kept the cluster streaming: its nodes are not those that were made from here" in told
    assert "kept the Docker engine: it holds what did not come from here" in told
    assert "other-control-plane" not in told.partition("kept the Docker engine")[0]


def depend_on(machine: Machine, package: str) -> None:
    """Install a package of the user's that needs one of ours."""
    folder = machine.path("/srv/theirs/DEBIAN")
    folder.mkdir(parents=True)
    about = {"Package": "theirs", "Version": "1", "Architecture": "all", "Maintainer": "me", "Description": "theirs"}
    (folder / "control").write_text(
        "".join(f"{key}: {value}\n" for key, value in (about | {"Depends": package}).items())
    )
    for command in ("dpkg-deb --build /srv/theirs /srv/theirs.deb", "dpkg --install /srv/theirs.deb"):
        machine.run(*command.split()).check_returncode()


def test_an_engine_that_came_from_here_goes_when_nobody_needs_it_any_more(clean_machine: Machine) -> None:
    """It stays while it holds something of others; and a package stays while one of others needs it."""
    machine = clean_machine
    came = sorted({"docker.io", "containerd", "runc", "tini", "iptables"} & engine.installed())
    assert "docker.io" in came
    # As at its installation, for which there is no network in here.
    notes = "; ".join(f"ledger.note('folder', '{folder}')" for folder in engine.DATA)
    machine.run(sys.executable, "-c", f"from cluster import ledger; {notes}").check_returncode()
    machine.path(CACHE / "installed-packages").write_text("\n".join(came))
    machine.run("sysctl", "-w", "net.ipv4.ip_forward=0").check_returncode()
    machine.start_engine()
    machine.build(OURS[1])
    machine.build("shop:1")
    machine.create("shop", "shop:1")
    depend_on(machine, "iptables")

    told = machine.clean()
    assert machine.images() == {"shop:1"}
    assert machine.nodes() == ["shop"]
    assert "kept the Docker engine: it holds what did not come from here (containers: shop; images: shop:1)" in told

    for command in ("docker rm shop", "docker rmi shop:1"):
        machine.run(*command.split()).check_returncode()
    told = machine.clean()
    assert "✓ stopped the Docker engine" in told
    assert f"✓ removed the packages {', '.join(name for name in came if name != 'iptables')}\n" in told
    assert "kept the package iptables: apt-get would also remove or install theirs\n" in told
    assert "✓ removed /var/lib/docker" in told
    assert not machine.has("/var/lib/docker")
    assert not machine.has("/usr/sbin/dockerd")
    assert machine.has("/usr/sbin/iptables")
    assert machine.run("pgrep", "dockerd").returncode == 1
    assert "• net.ipv4.ip_forward, 1 since the engine was started, and 0 before" in told
    assert "• the policy of iptables' chain FORWARD, DROP since then" in told
    assert "• the interface docker0" in told

    machine.run("dpkg", "--remove", "theirs").check_returncode()
    assert "✓ removed the packages iptables\n" in machine.clean()
    assert not machine.has("/usr/sbin/iptables")
    assert not machine.has(CACHE)
    assert machine.clean() == " ✓ nothing was there to undo\n"
