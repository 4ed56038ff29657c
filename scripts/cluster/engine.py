"""The Docker engine: found, or installed and started where that is ours to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from cluster import ledger, run
from cluster.run import CACHE, Trouble

_CAP_SYS_RESOURCE = 24  # capabilities(7)
# A node with the edge and two pods of the demo takes half of it; builds and the tests' pods need room beside that.
_NEEDED_GIB = 3
RUNTIME = Path(__file__).with_name("runc-without-sys-resource")
RUNTIME_NAME = RUNTIME.name
PACKAGES = ("docker.io", "iptables", "jq")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")  # an engine sets it, and then has iptables drop what it lets through
# Where the engine keeps all that it holds.
DATA = (Path("/var/lib/docker"), Path("/var/lib/containerd"))
# What `make clean` removes again; scripts/make-venv writes both, too.
INSTALLED = CACHE / "installed-packages"
# What was there before an installation, while that goes on: if it is interrupted, nobody knows what it has brought.
BEFORE = CACHE / "packages-before"
CLUSTERS = CACHE / "clusters"  # what `kind` notes of each
PID_FILE = CACHE / "dockerd.pid"  # with the time of its start, as the number may be another process's by now


def lacks_sys_resource() -> bool:
    """Tell whether this machine withholds CAP_SYS_RESOURCE, which runc needs for every privileged container."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False  # not Linux: the engine runs in a virtual machine of its own
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(bounding, 16) >> _CAP_SYS_RESOURCE & 1


def may_use_apt() -> bool:
    """Tell whether this is Debian or Ubuntu, and we are root."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def apt_install(*packages: str) -> None:
    """Install Debian packages that are missing, and note all that came with them for `make clean`.

    Args:
        packages: names of Debian packages.

    Raises:
        Trouble: this is not Debian or Ubuntu, we are not root, or apt-get failed.
    """
    if not may_use_apt():
        raise Trouble(f"{', '.join(packages)}: install this by hand (it is done for you on Debian and Ubuntu as root)")
    before = installed()
    missing = [name for name in packages if name not in before]
    if not missing:
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run.step("Read the package lists", "apt-get", "update", env=quiet)
    # Recommended packages are not asked for: they bring what nothing here uses.
    apt = ("apt-get", "install", "-y", "--no-install-recommends")
    CACHE.mkdir(parents=True, exist_ok=True)
    interrupted = BEFORE.exists()
    if not interrupted:
        BEFORE.write_text("".join(f"{name}\n" for name in sorted(before)))
    try:
        run.step(f"Install {' '.join(missing)}", *apt, *missing, env=quiet, log="apt-install")
    finally:
        with INSTALLED.open("a") as file:
            file.writelines(f"{name}\n" for name in sorted(installed() - before))
        if not interrupted:
            BEFORE.unlink()


def installed() -> set[str]:
    """Return the names of all Debian packages that are installed; none where there is no dpkg."""
    if not shutil.which("dpkg-query"):
        return set()
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
        _check_engine()
        _check_runtime()
        return
    if "permission denied" in reason:
        raise Trouble(
            "the Docker engine does not let this user in: add yourself to the group docker (then log in again) or run "
            "this as root; or run `make local`, which needs no engine"
        )
    if os.environ.get("DOCKER_HOST"):
        raise Trouble(f"DOCKER_HOST names an engine that does not answer: {reason}; start it, or unset the variable")
    if not may_use_apt():
        raise Trouble(
            "no Docker engine answers: install Docker and start it, then run this again (on Debian and Ubuntu as root "
            "it is done for you); or run `make local`, which needs no engine"
        )
    if not ledger.noted("forwarding") and FORWARDING.exists():
        ledger.note("forwarding", FORWARDING.read_text().strip())
    if not shutil.which("dockerd"):
        for folder in DATA:
            if not os.path.lexists(folder):
                ledger.note("folder", str(folder))
        apt_install(*PACKAGES)
    start()


def answers() -> bool:
    """Tell whether a Docker engine answers."""
    return _unreachable() is None


def _unreachable() -> str | None:
    try:
        run.output("docker", "version", "--format", "{{.Server.Version}}", timeout=30)
    except Trouble as error:
        return str(error)
    return None


def _check_engine() -> None:
    if "Podman" in run.output("docker", "version"):
        raise Trouble(
            "the docker command here is Podman's, or asks Podman, and nothing here was run with that: start a Docker "
            "engine, or name one by DOCKER_HOST; or run `make local`, which needs no engine"
        )
    memory = int(run.output("docker", "info", "--format", "{{.MemTotal}}")) / 2**30
    if memory < _NEEDED_GIB:
        raise Trouble(
            f"the Docker engine has {memory:.1f} GiB of memory and a cluster needs {_NEEDED_GIB}: give its virtual "
            "machine more (colima start --memory 6; in Docker Desktop under Settings, Resources); or run `make local`, "
            "which needs no engine"
        )


def _check_runtime() -> None:
    if lacks_sys_resource() and not os.environ.get("DOCKER_HOST"):
        runtime = run.output("docker", "info", "--format", "{{.DefaultRuntime}}")
        if runtime != RUNTIME_NAME:
            raise Trouble(
                "the Docker engine that runs here can't start privileged containers, because this machine lacks the "
                f"capability CAP_SYS_RESOURCE (its default runtime is {runtime}): stop it, and run this again"
            )


def start() -> None:
    """Start the engine that is installed here, and wait until it answers.

    Raises:
        Trouble: it does not.
    """
    log = CACHE / "logs" / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["dockerd"]
    if lacks_sys_resource():
        apt_install("jq")
        run.say(" • This machine lacks CAP_SYS_RESOURCE: the engine gets a runtime that does without")
        # A copy, because the engine outlives the checkout.
        wrapper = Path(shutil.copy(RUNTIME, CACHE / RUNTIME_NAME))
        arguments += ["--add-runtime", f"{RUNTIME_NAME}={wrapper}", "--default-runtime", RUNTIME_NAME]
    elif Path("/run/systemd/system").is_dir():
        run.step("Start the Docker engine", "systemctl", "start", "docker")
        return
    run.say(" • Start the Docker engine …")
    with log.open("w") as file:
        # A session of its own: Ctrl-C here must not stop the engine.
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )
    PID_FILE.write_text(f"{process.pid} {_started(process.pid)}")
    for _ in range(60):
        if _unreachable() is None:
            run.say(" ✓ Start the Docker engine")
            return
        if process.poll() is not None:
            last = log.read_text(errors="replace").splitlines()[-3:]
            raise Trouble(f"the Docker engine stopped right after its start (whole log: {log}):\n" + "\n".join(last))
        time.sleep(1)
    raise Trouble(f"the Docker engine does not answer 60 s after its start; its log is {log}")


def running() -> int | None:
    """Return the process of the engine that was started from here, or None if that has ended."""
    try:
        number, _, started = PID_FILE.read_text().partition(" ")
    except OSError:
        return None
    return int(number) if started and _started(int(number)) == started else None


def _started(process: int) -> str:
    """Return when a process was started, in ticks since the machine was; empty if there is none (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


class Node(NamedTuple):
    """A node's container.

    Attributes:
        identity: of the container, in full.
        cluster: kind's name for the cluster.
        name: of the container.
        marked: it has our folder of records mounted, as kind was asked for from here and by nobody else.
    """

    identity: str
    cluster: str
    name: str
    marked: bool


def nodes() -> list[Node]:
    """Return the containers of all kind clusters in the engine, running or not, whoever made them."""
    label = "io.x-k8s.kind.cluster"
    wanted = f'{{{{.ID}}}} {{{{.Label "{label}"}}}} {{{{.Names}}}} {{{{.Mounts}}}}'
    lines = run.output("docker", "ps", "--all", "--no-trunc", "--filter", f"label={label}", "--format", wanted)
    found = []
    for line in lines.splitlines():
        identity, cluster, name, mounts = f"{line} ".split(" ", 3)
        # Where the engine runs in a virtual machine, it may put the place of our disk before the path.
        marked = any(mount.strip().endswith(str(CLUSTERS)) for mount in mounts.split(","))
        found.append(Node(identity, cluster, name, marked))
    return sorted(found, key=lambda node: (node.cluster, node.name))


def has(image: str) -> bool:
    """Tell whether the engine has an image.

    Args:
        image: with its digest.
    """
    return run.succeeds("docker", "image", "inspect", _without_tag(image))


def note_pull(image: str) -> None:
    """Note an image that something is about to pull, unless it is there already.

    Args:
        image: with its digest.
    """
    if not has(image):
        ledger.note("image", _without_tag(image))


def _without_tag(image: str) -> str:
    return re.sub(":[^:@/]*@", "@", image)  # the engine keeps none beside a digest
