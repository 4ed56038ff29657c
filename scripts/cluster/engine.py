"""The Docker engine: found, or installed and started where that is ours to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from cluster import run
from cluster.run import CACHE, Trouble

_CAP_SYS_RESOURCE = 24  # capabilities(7)
RUNTIME = Path(__file__).with_name("runc-without-sys-resource")
_RUNTIME_NAME = RUNTIME.name
_PACKAGES = CACHE / "installed-packages"  # what `make clean` removes again
_PID_FILE = CACHE / "dockerd.pid"


def lacks_sys_resource() -> bool:
    """Tell whether this machine withholds CAP_SYS_RESOURCE, which runc needs for every privileged container."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False  # not Linux: the engine runs in a virtual machine of its own
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(bounding, 16) >> _CAP_SYS_RESOURCE & 1


def apt_install(*packages: str) -> None:
    """Install Debian packages that are missing, and remember all that came with them for `remove`.

    Args:
        packages: names of Debian packages.

    Raises:
        Trouble: this is not Debian or Ubuntu, we are not root, or apt-get failed.
    """
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Trouble(f"{', '.join(packages)}: install this by hand (it is done for you on Debian and Ubuntu as root)")
    before = _installed()
    missing = [name for name in packages if name not in before]
    if not missing:
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run.step("Read the package lists", "apt-get", "update", env=quiet)
    # Recommended packages are not asked for: they bring what nothing here uses.
    apt = ("apt-get", "install", "-y", "--no-install-recommends")
    try:
        run.step(f"Install {' '.join(missing)}", *apt, *missing, env=quiet, log="apt-install")
    finally:
        CACHE.mkdir(parents=True, exist_ok=True)
        with _PACKAGES.open("a") as file:
            file.writelines(f"{name}\n" for name in sorted(_installed() - before))


def _installed() -> set[str]:
    lines = run.output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n").splitlines()
    return {line.split()[0] for line in lines if line.endswith(" installed")}


def ensure() -> None:
    """Make sure that a Docker engine answers: use the one there is, else install and start one.

    Raises:
        Trouble: there is none and it is not ours to install, or it does not let us in, or it can't run kind's nodes.
    """
    if not shutil.which("docker") and os.uname().sysname != "Linux":
        raise Trouble(
            "no Docker engine: install Docker Desktop, Colima or another engine with the docker command, start it, "
            "and run this again; or run `make local`, which needs none"
        )
    reason = _unreachable()
    if reason is None:
        _check_runtime()
        return
    if "permission denied" in reason:
        raise Trouble(
            "the Docker engine does not let this user in: add yourself to the group docker (then log in again) or run "
            "this as root; or run `make local`, which needs no engine"
        )
    if os.environ.get("DOCKER_HOST"):
        raise Trouble(f"DOCKER_HOST names an engine that does not answer: {reason}; start it, or unset the variable")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Trouble(
            "no Docker engine answers: install Docker and start it, then run this again (on Debian and Ubuntu as root "
            "it is done for you); or run `make local`, which needs no engine"
        )
    if not shutil.which("dockerd"):
        apt_install("docker.io", "iptables", "jq")
    _start()


def answers() -> bool:
    """Tell whether a Docker engine answers."""
    return _unreachable() is None


def _unreachable() -> str | None:
    try:
        run.output("docker", "version", "--format", "{{.Server.Version}}", timeout=30)
    except Trouble as error:
        return str(error)
    return None


def _check_runtime() -> None:
    if lacks_sys_resource() and not os.environ.get("DOCKER_HOST"):
        runtime = run.output("docker", "info", "--format", "{{.DefaultRuntime}}")
        if runtime != _RUNTIME_NAME:
            raise Trouble(
                "the Docker engine that runs here can't start privileged containers, because this machine lacks the "
                f"capability CAP_SYS_RESOURCE (its default runtime is {runtime}): stop it, and run this again"
            )


def _start() -> None:
    log = CACHE / "logs" / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["dockerd"]
    if lacks_sys_resource():
        apt_install("jq")
        run.say(" • This machine lacks CAP_SYS_RESOURCE: the engine gets a runtime that does without")
        # A copy, because the engine outlives the checkout.
        wrapper = Path(shutil.copy(RUNTIME, CACHE / _RUNTIME_NAME))
        arguments += ["--add-runtime", f"{_RUNTIME_NAME}={wrapper}", "--default-runtime", _RUNTIME_NAME]
    elif Path("/run/systemd/system").is_dir():
        run.step("Start the Docker engine", "systemctl", "start", "docker")
        return
    run.say(" • Start the Docker engine …")
    with log.open("w") as file:
        # A session of its own: Ctrl-C here must not stop the engine.
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )
    _PID_FILE.write_text(str(process.pid))
    for _ in range(60):
        if _unreachable() is None:
            run.say(" ✓ Start the Docker engine")
            return
        if process.poll() is not None:
            last = log.read_text(errors="replace").splitlines()[-3:]
            raise Trouble(f"the Docker engine stopped right after its start (whole log: {log}):\n" + "\n".join(last))
        time.sleep(1)
    raise Trouble(f"the Docker engine does not answer 60 s after its start; its log is {log}")


def remove() -> list[str]:
    """Stop the engine and remove the packages, if `ensure` brought them; return what was undone, a line each."""
    undone = []
    if _PID_FILE.exists():
        pid = int(_PID_FILE.read_text())
        if _is_dockerd(pid):
            os.kill(pid, 15)
            for _ in range(60):
                if not _is_dockerd(pid):
                    break
                time.sleep(0.5)
            undone.append("stopped the Docker engine")
        _PID_FILE.unlink()
    if _PACKAGES.exists():
        packages = sorted(set(_PACKAGES.read_text().split()) & _installed())
        if packages:
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            run.step("Remove packages", "apt-get", "purge", "-y", *packages, env=quiet, log="apt-purge")
            undone.append(f"removed the packages {' '.join(packages)}")
            if "docker.io" in packages:
                shutil.rmtree("/var/lib/docker", ignore_errors=True)
                shutil.rmtree("/var/lib/containerd", ignore_errors=True)
                undone.append("removed the engine's data in /var/lib/docker and /var/lib/containerd")
        _PACKAGES.unlink()
    return undone


def _is_dockerd(pid: int) -> bool:
    try:
        return b"dockerd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
