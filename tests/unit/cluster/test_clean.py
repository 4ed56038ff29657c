"""`make clean`, as a program of its own in a checkout of its own, among stubs: it can reach nothing of this machine."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cluster import clean, engine, ledger
from cluster.run import ROOT

from tests.unit.cluster.stubs import stub

PACKAGES = ("containerd", "docker.io", "iptables", "jq")
NODES = "ps --all --no-trunc --filter label=io.x-k8s.kind.cluster *"
LABELLED = f"images --quiet --filter label={ledger.LABEL}"
LOCAL = "--host=unix:///var/run/docker.sock"
# An engine that holds nothing.
EMPTY = {
    "version*": "20.10",
    NODES: "",
    "network ls*": "bridge",
    "ps --all --filter name=^streaming-build-preload$ *": "",
    LABELLED: "",
    "images --format*": "",
    f"{LOCAL} *": "",
    "rm *": "",
    "rmi *": "",
    "network rm kind": "",
}


@dataclass
class Place:
    """A machine, as far as `make clean` sees it.

    Attributes:
        folder: all of it.
        cache: what was noted, and logs.
        programs: the only folder on PATH.
        asked: the files in which the stubs have noted what they were asked.
    """

    folder: Path
    asked: dict[str, Path] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.folder / "cache" / "django-streaming-kubernetes"

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def stub(self, name: str, answers: Mapping[str, str | Exception]) -> None:
        self.asked[name] = stub(self.programs, name, answers)

    def installed(self, *packages: str) -> None:
        self.stub("dpkg-query", {"-W*": "\n".join(f"{name} installed" for name in packages)})

    def note(self, name: str, text: str) -> None:
        path = self.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def calls(self, name: str) -> list[str]:
        return self.asked[name].read_text().splitlines()

    def clean(self, status: int = 0) -> str:
        """Run it, and return what it tells."""
        environment = {
            "PATH": str(self.programs),
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONPATH": str(self.checkout / "scripts"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Without site, so that no package of .venv can be imported.
        command = [sys.executable, "-S", "-m", "cluster.clean"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A machine without any program, with a checkout of its own, and with an own place for the engine's data."""
    place = Place(tmp_path)
    shutil.copytree(ROOT / "scripts" / "cluster", place.checkout / "scripts" / "cluster")
    copied = place.checkout / "scripts" / "cluster" / "engine.py"
    text = copied.read_text()
    assert all(str(folder) in text for folder in engine.DATA)
    for known in ("/var/lib", "/run/systemd"):
        text = text.replace(known, f"{tmp_path}{known}")
    copied.write_text(text)
    undoing = copied.with_name("clean.py")
    undoing.write_text(undoing.read_text().replace("/run/systemd", f"{tmp_path}/run/systemd"))
    place.programs.mkdir()
    return place


def test_where_nothing_was_there_is_nothing_to_undo(place: Place) -> None:
    assert place.clean() == " ✓ nothing was there to undo\n"


def test_what_is_in_the_checkout_and_the_cache_goes(place: Place) -> None:
    place.note("go/mod/some", "")
    for name in ("bin/kind", "build/report", ".venv/complete"):
        path = place.checkout / name
        path.parent.mkdir()
        path.touch()
    told = place.clean()
    for path in (place.cache, *(place.checkout / name for name in ("bin", "build", ".venv"))):
        assert f"✓ removed {path}\n" in told
        assert not path.exists()
    assert "kept" not in told


def test_a_venv_that_is_not_complete_may_be_the_users(place: Place) -> None:
    (place.checkout / ".venv").mkdir()
    assert f"kept {place.checkout}/.venv: it may be yours" in place.clean()
    assert (place.checkout / ".venv").exists()


def test_only_nodes_that_are_recorded_or_marked_are_removed(place: Place) -> None:
    marked = f"/lib/modules,{place.cache}/clusters"
    nodes = [
        "id1 ready ready-control-plane 0123abc",
        "id2 ready theirs 0123abc",
        f"id3 half half-control-plane {marked}",
        "id4 making making-control-plane 0123abc",
        "id5 other other-control-plane ",
        "id6 broken broken-control-plane ",
    ]
    place.stub("docker", EMPTY | {NODES: "\n".join(nodes)})
    place.stub("kind", {"delete cluster --name *": ""})
    place.note("clusters/ready.json", json.dumps({"state": "ready", "containers": {"ready-control-plane": "id1"}}))
    place.note("clusters/half.json", json.dumps({"state": "making"}))
    place.note("clusters/making.json", json.dumps({"state": "making"}))
    place.note("clusters/broken.json", "{")
    told = place.clean()
    removed = [call for call in place.calls("docker") if call.startswith("rm ")]
    assert removed == ["rm --force --volumes id3", "rm --force --volumes id1"]
    # Not of ready, in which one of others is left.
    assert place.calls("kind") == ["delete cluster --name half"]
    for name in ("broken", "making", "ready"):
        assert f"kept the cluster {name}: its nodes are not those that were made from here" in told


@pytest.mark.parametrize(
    ("noted", "used", "removed"), [(True, "", True), (True, "id1", False), (False, "", False), (False, "id1", False)]
)
def test_kinds_network_goes_if_it_was_absent_before_and_nobody_uses_it(
    place: Place, noted: bool, used: str, removed: bool
) -> None:
    place.stub("docker", EMPTY | {"network ls*": "bridge\nkind", "ps --all --quiet --filter network=kind": used})
    if noted:
        place.note("put-here", "network kind\n")
    told = place.clean()
    assert ("network rm kind" in place.calls("docker")) is removed
    assert ("• the Docker network kind" in told) is (not noted and not used)


THEIRS = (
    "kindest/node:v1.35.8",
    "registry.k8s.io/kube-apiserver:v1.35.4",
    "streaming/my-own-service:2",
    "streaming/node:mine",
    "streaming/node:v1.35.4",
    "streaming/envoy:v1.35.4-0123456789abc",
    "mystreaming/envoy:v1.35.4-0123456789ab",
    "streaming-build/python:3.13",
    "streamproof:2",
    "streaming-demo:0.1.0",
    "<none>:<none>",
)
BUILT = ("streaming/node:v1.35.4-0123456789ab", "streaming-build/python:0123456789ab")


def test_of_images_only_our_own_go_and_none_by_force(place: Place) -> None:
    """Built under our exact names, labelled with their own name, or noted before they were pulled."""
    inspect = "image inspect --format *"
    labelled = (
        "streamproof:0.1.0 streamproof:0.1.0\nstreamproof:0.1.0 acme/derived:1\nmy-shop:0.1.0 acme:7 my-shop:0.1.0"
    )
    answers = {
        LABELLED: "id1\nid2\nid3",
        f"{inspect} id1 id2 id3": labelled,
        "images --format*": "\n".join((*THEIRS, *BUILT)),
        "image inspect kindest/node@sha256:07b2": "[]",
        "image inspect python@sha256:1234": Exception("No such image"),
    }
    place.stub("docker", {**answers, **{key: value for key, value in EMPTY.items() if key not in answers}})
    place.note("put-here", "image kindest/node@sha256:07b2\nimage python@sha256:1234\n")
    told = place.clean()
    removed = {"kindest/node@sha256:07b2", "my-shop:0.1.0", "streamproof:0.1.0", *BUILT}
    assert {call for call in place.calls("docker") if call.startswith("rmi")} == {f"rmi {name}" for name in removed}
    assert all(f"✓ removed the image {name}\n" in told for name in removed)


def test_an_image_that_a_container_uses_is_kept_and_one_that_fails_is_told_while_the_rest_goes_on(place: Place) -> None:
    used, failing, fine = (f"streaming-build/{name}:0123456789ab" for name in ("builder", "node", "python"))
    conflict = f'conflict: unable to remove repository reference "{used}" (must force) - container 12 is using it'
    answers = {
        f"rmi {used}": Exception(f"Error response from daemon: {conflict}"),
        f"rmi {failing}": Exception("input/output error"),
        "images --format*": "\n".join((used, failing, fine)),
    }
    place.stub("docker", answers | {key: value for key, value in EMPTY.items() if key not in answers})
    place.note("put-here", "image some\n")
    (place.checkout / "build").mkdir()
    told = place.clean(status=1)
    assert f"kept the image {used}: unable to remove repository reference" in told
    assert re.search(rf"✗ docker rmi {failing} … failed: input/output error", told)
    assert f"✓ removed the image {fine}" in told
    assert f"✓ removed {place.checkout}/build" in told
    # For the next one.
    assert (place.cache / "put-here").exists()


@pytest.mark.parametrize(
    ("image", "removed"), [("streaming-build/node-empty:v1.35.4-0123456789ab", True), ("ubuntu", False)]
)
def test_the_container_of_an_interrupted_build_goes(place: Place, image: str, removed: bool) -> None:
    place.stub("docker", EMPTY | {"ps --all --filter name=^streaming-build-preload$ *": f"id7 {image}"})
    place.clean()
    assert ("rm --force id7" in place.calls("docker")) is removed


def test_the_names_are_those_that_the_builds_from_package_registries_give() -> None:
    source = "".join(path.read_text() for path in (ROOT / "k8s" / "from-registries").glob("*.py"))
    named = set(re.findall(r'"(streaming(?:-build)?/[a-z-]+):', source.replace("{name}", "python")))
    assert len(named) == 8
    for name in named:
        assert any(clean._BUILT.fullmatch(f"{name}:{tag}") for tag in ("v1.35.4-0123456789ab", "0123456789ab")), name
    systems = set(re.findall(r'root_file_system\("([a-z-]+)"', source))
    assert len(systems) == 4
    assert all(clean._BUILT.fullmatch(f"streaming-build/{name}:0123456789ab") for name in systems)


@pytest.mark.parametrize("names", [[], ["streaming"]])
def test_when_no_engine_answers_its_clusters_are_a_failure(place: Place, names: list[str]) -> None:
    place.stub("docker", {"version*": Exception("Cannot connect to the Docker daemon")})
    place.note("put-here", "image some\n")
    for name in names:
        place.note(f"clusters/{name}.json", json.dumps({"containers": {"some": "id1"}}))
    told = place.clean(status=len(names))
    if names:
        assert "✗ no Docker engine answers: start it, and run this again to remove streaming" in told
        assert (place.cache / "clusters" / "streaming.json").exists()
    else:
        assert "kept what may be in the Docker engine: it does not answer" in told
        assert not place.cache.exists()


@pytest.fixture
def dockerd(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Something that was started from here as the engine, and ends when it is told to."""
    process = subprocess.Popen(["sleep", "600"])
    place.note("dockerd.pid", f"{process.pid} {engine._started(process.pid)}")
    yield process
    process.kill()
    process.wait()


def ours(place: Place, docker: Mapping[str, str | Exception] = EMPTY) -> None:
    """Have an engine that was installed from here, with its data."""
    place.stub("docker", docker)
    place.installed(*PACKAGES, "bash")
    place.note("installed-packages", "\n".join(PACKAGES))
    # As dpkg would: after the removal, nothing of it is there.
    purge = "\n".join(f"Purg {name} [1.0]" for name in PACKAGES)
    place.stub("apt-get", {"--simulate purge *": purge, "remove -y *": "", "purge -y *": ""})
    apt = place.programs / "apt-get"
    query = place.programs / "dpkg-query"
    apt.write_text(
        apt.read_text().replace(
            "esac\n", f'esac\ncase "$1" in purge) echo "#!/bin/sh\necho bash installed" > {query} ;; esac\n'
        )
    )
    for name in ("docker", "containerd"):
        folder = place.folder / "var" / "lib" / name
        folder.mkdir(parents=True)
        place.note("put-here", (place.cache / "put-here").read_text() if (place.cache / "put-here").exists() else "")
        with (place.cache / "put-here").open("a") as file:
            file.write(f"folder {folder}\n")


def data(place: Place) -> list[str]:
    return sorted(path.name for path in (place.folder / "var" / "lib").iterdir())


def test_the_engine_from_here_goes_with_its_packages_and_data(place: Place, dockerd: subprocess.Popen[bytes]) -> None:
    ours(place)
    nuke = place.folder / "var" / "lib" / "docker" / "nuke-graph-directory.sh"
    nuke.touch()
    told = place.clean()
    assert dockerd.wait(10) == -signal.SIGTERM
    assert [call for call in place.calls("apt-get") if "--simulate" not in call] == [
        f"{verb} -y {' '.join(PACKAGES)}" for verb in ("remove", "purge")
    ]
    assert "✓ stopped the Docker engine" in told
    assert f"✓ removed the packages {', '.join(PACKAGES)}\n" in told
    assert data(place) == []
    assert not place.cache.exists()


def test_data_that_was_there_before_the_engine_stays(place: Place, dockerd: subprocess.Popen[bytes]) -> None:
    ours(place)
    place.note("put-here", f"folder {place.folder}/var/lib/containerd\n")
    # Which Debian puts there when docker.io is removed, and runs when it is purged.
    nuke = place.folder / "var" / "lib" / "docker" / "nuke-graph-directory.sh"
    nuke.touch()
    told = place.clean()
    assert data(place) == ["docker"]
    assert not nuke.exists()
    assert f"kept {place.folder}/var/lib/docker: it is not noted that it was absent before the engine" in told


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ("", ""),
        ("emptied", "it is not known whether the engine held anything of yours"),
        ("program", "a dockerd is installed that may use it"),
        ("link", "it leads to another disk or folder"),
        ("present", ""),
    ],
)
def test_after_an_interruption_data_goes_only_if_nobody_can_have_it(place: Place, spoiled: str, reason: str) -> None:
    """The packages have gone already, as the record shows, and the folder has not."""
    folder = place.folder / "var" / "lib" / "docker"
    theirs = place.folder / "theirs"
    theirs.mkdir()
    folder.parent.mkdir(parents=True)
    if spoiled == "link":
        folder.symlink_to(theirs)
    else:
        folder.mkdir()
    place.installed(*(["docker.io"] if spoiled == "present" else []), "bash")
    place.note("installed-packages", "docker.io\n")
    place.note("put-here", f"folder {folder}\n" + ("" if spoiled == "emptied" else "emptied docker\n"))
    if spoiled == "program":
        place.stub("dockerd", {})
    told = place.clean()
    assert folder.exists() is bool(spoiled)
    assert theirs.exists()
    assert (f"kept {folder}: {reason}\n" in told) is bool(reason)


@pytest.mark.parametrize(
    ("question", "answer"),
    [("ps *", "shop"), ("images --filter=dangling=false *", "shop:1"), ("volume ls *", "orders")],
)
def test_an_engine_that_holds_something_of_others_stays_as_it_is(
    place: Place, dockerd: subprocess.Popen[bytes], question: str, answer: str
) -> None:
    ours(place, {f"{LOCAL} {question}": answer} | EMPTY)
    told = place.clean()
    assert "kept the Docker engine: it holds what did not come from here" in told
    assert answer in told
    assert dockerd.poll() is None
    assert data(place) == ["containerd", "docker"]
    assert [call for call in place.calls("apt-get") if "--simulate" not in call] == []
    # It needs the second to start containers, and the next `make clean` the first.
    assert {"dockerd.pid", "installed-packages", "put-here"} <= {path.name for path in place.cache.iterdir()}


def test_a_process_that_only_has_the_number_of_the_engine_is_not_stopped(
    place: Place, dockerd: subprocess.Popen[bytes]
) -> None:
    place.note("dockerd.pid", f"{dockerd.pid} {int(engine._started(dockerd.pid)) - 1}")
    ours(place)
    told = place.clean()
    assert dockerd.poll() is None
    assert "kept the Docker engine: the one that runs was not started from here" in told
    assert data(place) == ["containerd", "docker"]


def test_packages_that_others_need_stay(place: Place) -> None:
    place.installed("jq", "mmdebstrap", "perl", "theirs")
    place.note("installed-packages", "jq\nmmdebstrap\nperl\n")
    place.stub(
        "apt-get",
        {
            "--simulate purge jq": "Purg theirs [1.0]\nPurg jq [1.0]",
            "--simulate purge jq *": "Purg theirs [1.0]\nPurg jq [1.0]",
            "--simulate purge perl": "Inst other-perl (1.0)\nPurg perl [1.0]",
            "--simulate purge mmdebstrap": "Purg mmdebstrap [1.0]",
            "remove -y mmdebstrap": "",
            "purge -y mmdebstrap": "",
        },
    )
    told = place.clean()
    assert "✓ removed the packages mmdebstrap\n" in told
    assert "kept the package jq: apt-get would also remove or install theirs\n" in told
    assert "kept the package perl: apt-get would also remove or install other-perl\n" in told
    assert (place.cache / "installed-packages").exists()


def test_when_apt_fails_the_rest_goes_on(place: Place) -> None:
    place.installed("jq")
    place.note("installed-packages", "jq\n")
    place.note("go/mod", "")
    place.stub("apt-get", {"--simulate *": "Purg jq [1.0]", "remove *": Exception("dpkg was interrupted")})
    told = place.clean(status=1)
    assert re.search(r"✗ Remove packages: failed .*\n.*dpkg was interrupted", told)
    assert sorted(path.name for path in place.cache.iterdir()) == ["installed-packages", "logs"]


def test_what_an_interrupted_installation_may_have_brought_is_named(place: Place) -> None:
    place.installed("bash", "jq", "oniguruma")
    place.note("packages-before", "bash\n")
    place.note("installed-packages", "jq\n")
    place.stub("apt-get", {"--simulate *": "Purg jq [1.0]", "remove *": "", "purge *": ""})
    assert "kept the packages oniguruma: they came after an installation" in place.clean()


def test_a_context_that_leads_nowhere_is_named(place: Place) -> None:
    place.stub("docker", EMPTY)
    place.note("clusters/streaming.json", json.dumps({"containers": {"some": "id1"}}))
    folder = place.folder / ".kube"
    folder.mkdir()
    (folder / "config").write_text("contexts:\n- context:\n    cluster: kind-streaming\n  name: kind-streaming\n")
    assert f"• the context kind-streaming in {folder}/config: kubectl config delete-context" in place.clean()
