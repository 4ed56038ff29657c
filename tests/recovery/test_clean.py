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


def start_engine(machine: Machine) -> None:
    """Start the engine from here: the machine has its packages."""
    started = machine.run(sys.executable, "-c", "from cluster import engine; engine.ensure()")
    assert started.returncode == 0, started.stderr


def build(machine: Machine, name: str, *options: str, base: str = "scratch") -> None:
    """Build an image in there that holds a file alone."""
    folder = machine.path("/srv/image")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /{name.replace('/', '-')}\n")
    built = machine.run("env", "DOCKER_BUILDKIT=0", "docker", "build", *options, "-t", name, "/srv/image")
    assert built.returncode == 0, built.stderr


def create(machine: Machine, name: str, image: str, *options: str) -> str:
    """Create a container in there, and return its id."""
    created = machine.run("docker", "create", "--name", name, *options, image, "/none")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


def images(machine: Machine) -> set[str]:
    """Return the names of all images."""
    return set(machine.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())


def is_there(machine: Machine, path: str | Path) -> bool:
    """Tell whether a path exists in there."""
    return machine.run("test", "-e", path).returncode == 0


def clean(machine: Machine, status: int = 0) -> str:
    """Run `make clean`, and return what it tells."""
    done = machine.run("make", "clean")
    print(done.stderr)
    assert done.returncode == (2 if status else 0), done.stderr  # 2 is make's own
    assert "Traceback" not in done.stderr
    return done.stderr


def test_everything_of_others_stays(clean_machine: Machine) -> None:
    """Data, images, clusters and packages: nothing that was not noted, and cannot be proven, is touched."""
    machine = clean_machine
    machine.path("/var/lib/docker/volumes").mkdir(parents=True)
    start_engine(machine)
    for name in THEIRS:
        build(machine, name)
    for name in OURS:
        build(machine, name, ledger.label(name) if name == OURS[0] else "--label=none=none")
    build(machine, "acme/derived:1", base=OURS[0])  # has our label, too
    # Theirs has the name of one that we began to make.
    node = ("--label", "io.x-k8s.kind.cluster=streaming")
    create(machine, "streaming-control-plane", THEIRS[0], *node)
    create(machine, "other-control-plane", THEIRS[0], "--label", "io.x-k8s.kind.cluster=other")
    create(machine, "shop", "shop:1")
    assert machine.run("docker", "volume", "create", "orders").returncode == 0
    folder = machine.path(CACHE / "clusters")
    folder.mkdir(exist_ok=True)
    (folder / "streaming.json").write_text(json.dumps({"state": "making"}))
    # Two of ours, one half made.
    for cluster in ("done", "half"):
        options = ("--label", f"io.x-k8s.kind.cluster={cluster}", "--volume", f"{CACHE}/clusters:/marked:ro")
        identity = create(
            machine, f"{cluster}-control-plane", THEIRS[0], *(options if cluster == "half" else options[:2])
        )
        record = {"state": "making"} if cluster == "half" else {"containers": {f"{cluster}-control-plane": identity}}
        (folder / f"{cluster}.json").write_text(json.dumps(record))

    told = clean(machine)

    assert images(machine) == {*THEIRS, "acme/derived:1"}
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
    start_engine(machine)
    build(machine, OURS[1])
    build(machine, "shop:1")
    create(machine, "shop", "shop:1")
    depend_on(machine, "iptables")

    told = clean(machine)
    assert images(machine) == {"shop:1"}
    assert machine.nodes() == ["shop"]
    assert "kept the Docker engine: it holds what did not come from here (containers: shop; images: shop:1)" in told

    for command in ("docker rm shop", "docker rmi shop:1"):
        machine.run(*command.split()).check_returncode()
    told = clean(machine)
    assert "✓ stopped the Docker engine" in told
    assert f"✓ removed the packages {', '.join(name for name in came if name != 'iptables')}\n" in told
    assert "kept the package iptables: apt-get would also remove or install theirs\n" in told
    assert "✓ removed /var/lib/docker" in told
    assert not is_there(machine, "/var/lib/docker")
    assert not is_there(machine, "/usr/sbin/dockerd")
    assert is_there(machine, "/usr/sbin/iptables")
    assert machine.run("pgrep", "dockerd").returncode == 1
    assert "• net.ipv4.ip_forward, 1 since the engine was started, and 0 before" in told
    assert "• the policy of iptables' chain FORWARD, DROP since then" in told
    assert "• the interface docker0" in told

    machine.run("dpkg", "--remove", "theirs").check_returncode()
    assert "✓ removed the packages iptables\n" in clean(machine)
    assert not is_there(machine, "/usr/sbin/iptables")
    assert not is_there(machine, CACHE)
    assert clean(machine) == " ✓ nothing was there to undo\n"
