"""What is noted of what is installed, for `make clean`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from cluster import engine, ledger, run
from cluster.run import ROOT, Trouble

from tests.unit.cluster.stubs import stub


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where all is noted, on a machine where packages are installed as root."""
    folder = tmp_path / "cache" / "django-streaming-kubernetes"
    for module, name in ((run, "CACHE"), (engine, "CACHE")):
        monkeypatch.setattr(module, name, folder)
    monkeypatch.setattr(engine, "INSTALLED", folder / "installed-packages")
    monkeypatch.setattr(engine, "BEFORE", folder / "packages-before")
    monkeypatch.setattr(ledger, "FILE", folder / "put-here")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=os.pathsep)
    return folder


def debian(tmp_path: Path, install: str = "", there: tuple[str, ...] = ("bash",)) -> None:
    """Put dpkg-query and apt-get on PATH: what is installed brings its dependency along; `install` is done before."""
    programs, state = tmp_path / "programs", tmp_path / "state"
    stub(programs, "dpkg-query", {})
    state.write_text("".join(f"{name} installed\n" for name in there) + "old config-files\n")
    (programs / "dpkg-query").write_text(f"#!/bin/sh\ncat {state}\n")
    stub(programs, "apt-get", {})
    (programs / "apt-get").write_text(
        f'#!/bin/sh\n[ "$1" = install ] || exit 0\n{install}\n'
        f'for name; do :; done\nprintf "%s installed\\n" lib$name $name old >> {state}\n'
    )


def test_what_came_with_a_package_is_noted(cache: Path, tmp_path: Path) -> None:
    debian(tmp_path)
    engine.apt_install("bash", "jq")
    # Also that of which only the settings were there.
    assert engine.INSTALLED.read_text().split() == ["jq", "libjq", "old"]
    assert not engine.BEFORE.exists()
    engine.apt_install("jq")
    assert len(engine.INSTALLED.read_text().split()) == 3


def test_of_an_installation_that_fails_what_came_is_noted_too(cache: Path, tmp_path: Path) -> None:
    debian(tmp_path, f"echo half installed >> {tmp_path}/state; exit 100")
    with pytest.raises(Trouble, match="Install jq: failed"):
        engine.apt_install("jq")
    assert engine.INSTALLED.read_text().split() == ["half"]
    assert not engine.BEFORE.exists()


def test_while_an_installation_goes_on_it_is_noted_what_was_there(cache: Path, tmp_path: Path) -> None:
    """For `make clean` after one that was killed; the next one leaves that note alone."""
    debian(tmp_path, f"cp {cache}/packages-before {tmp_path}/seen")
    engine.apt_install("jq")
    assert (tmp_path / "seen").read_text() == "bash\n"
    engine.BEFORE.write_text("some\n")
    engine.apt_install("socat")
    assert engine.BEFORE.read_text() == "some\n"


@pytest.mark.parametrize("there", [(), ("docker",), ("docker", "containerd")])
def test_which_folders_were_absent_is_noted_before_the_engine_is_installed(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, there: tuple[str, ...]
) -> None:
    debian(tmp_path, f"cp {cache}/put-here {tmp_path}/seen; exit 100")
    data = tuple(tmp_path / name for name in ("docker", "containerd"))
    monkeypatch.setattr(engine, "DATA", data)
    monkeypatch.setattr(engine, "_unreachable", lambda: "no such file")
    which = engine.shutil.which
    monkeypatch.setattr(engine.shutil, "which", lambda name: None if name == "dockerd" else which(name))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    for name in there:
        (tmp_path / name).mkdir()
    with pytest.raises(Trouble, match=r"Install docker\.io iptables jq: failed"):
        engine.ensure()
    assert ledger.noted("folder") == [str(folder) for folder in data if folder.name not in there]
    assert (tmp_path / "seen").read_text() == ledger.FILE.read_text()


def make_venv(tmp_path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run scripts/make-venv in a checkout of its own, by a Python whose venv needs a package first, and has no pip."""
    scripts = folder / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "make-venv").write_text((ROOT / "scripts" / "make-venv").read_text())
    programs, state = tmp_path / "programs", tmp_path / "state"
    (programs / "python3").write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\ngrep -q "^python3-venv installed" {state} || exit 1\nmkdir -p .venv/bin\n'
        "printf '#!/bin/sh\\n' > .venv/bin/python\nchmod +x .venv/bin/python\n"
    )
    (programs / "id").write_text("#!/bin/sh\necho 0\n")
    for name in ("python3", "id"):
        (programs / name).chmod(0o755)
    environment: Mapping[str, str] = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = ["sh", str(scripts / "make-venv")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_what_make_venv_installs_is_noted(cache: Path, tmp_path: Path) -> None:
    debian(tmp_path, f"cp {cache}/packages-before {tmp_path}/seen")
    done = make_venv(tmp_path, tmp_path / "checkout")
    assert done.returncode == 0, done.stderr
    assert (cache / "installed-packages").read_text().split() == ["libpython3-venv", "old", "python3-venv"]
    assert (tmp_path / "seen").read_text() == "bash\n"
    assert not (cache / "packages-before").exists()
    assert (tmp_path / "checkout" / ".venv" / "complete").exists()


def test_what_came_is_noted_when_make_venv_fails(cache: Path, tmp_path: Path) -> None:
    debian(tmp_path, f"echo half installed >> {tmp_path}/state; exit 100")
    done = make_venv(tmp_path, tmp_path / "checkout")
    assert done.returncode == 1
    assert "error: python3-venv could not be installed" in done.stderr
    assert (cache / "installed-packages").read_text().split() == ["half"]
    assert not (cache / "packages-before").exists()


def test_the_engine_is_known_by_its_number_and_the_time_of_its_start(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(engine, "PID_FILE", cache / "dockerd.pid")
    assert engine.running() is None
    cache.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as process:
        started = engine._started(process.pid)
        for text, found in ((f"{process.pid} {started}", process.pid), (f"{process.pid} 1", None), ("1", None)):
            engine.PID_FILE.write_text(text)
            assert engine.running() == found
        engine.PID_FILE.write_text(f"{process.pid} {started}")
        process.kill()
        # Its parent has not looked after it yet.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert engine.running() is None
    assert engine.running() is None


@pytest.mark.parametrize(
    ("version", "memory", "sentence"),
    [
        ("Client: Podman Engine\nVersion: 5.6.2", 8 << 30, r"is Podman's, or asks Podman, .* `make local`"),
        ("Client: Docker Engine\nServer: Docker Engine", 2_067_701_760, r"has 1\.9 GiB of memory .* 3: give .*colima"),
        ("Client: Docker Engine\nServer: Docker Engine", 8 << 30, ""),
    ],
)
def test_an_engine_that_can_hold_no_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, memory: int, sentence: str
) -> None:
    stub(tmp_path, "docker", {"version*": version, "info*MemTotal*": str(memory)})
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(engine, "lacks_sys_resource", lambda: False)
    if sentence:
        with pytest.raises(Trouble, match=sentence):
            engine.ensure()
    else:
        engine.ensure()
