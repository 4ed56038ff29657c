"""A machine within this one, whose engine can be killed and whose disk can be filled without harm to any other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.run import CACHE, ROOT

_GIB = 1 << 30
_DISK_GIB = 12  # what a cluster asks for, the images, and some
# Reaps what its processes leave behind, as every first process has to.
_INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


def _child(parent: int) -> int:
    """Return the only child of a process, which enters namespaces for it; wait until there is one."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while not children.read_text():
        time.sleep(0.05)
    return int(children.read_text())


@dataclass
class Machine:
    """Namespaces of its own: the engine in it has its own disk, network and processes, and begins where there is none.

    Attributes:
        folder: holds its disk, and what it writes to the cache beside what was there.
    """

    folder: Path
    _init: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on its disk, which is made the first time."""
        disk, upper, work = (self.folder / name for name in ("disk", "upper", "work"))
        if not disk.exists():
            upper.mkdir()
            work.mkdir()
            with disk.open("wb") as file:
                file.truncate(_DISK_GIB * _GIB)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", disk], check=True)
        own = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
        self._init = subprocess.Popen(["unshare", *own, sys.executable, "-c", _INIT], start_new_session=True)
        (self.folder / "engine").touch()
        for command in (
            # The engine outside, for the images that it has.
            f"mount --bind /run/docker.sock {self.folder}/engine",
            f"mount -t overlay overlay -o lowerdir={CACHE},upperdir={upper},workdir={work} {CACHE}",
            # That of the engine outside, which must not be stopped by mistake.
            f"rm -f {CACHE}/dockerd.pid",
            "mount -t tmpfs tmpfs /run",
            f"mount -o loop {disk} /var/lib/docker",
            "ip link set lo up",
        ):
            self.run(*command.split()).check_returncode()

    def stop(self) -> None:
        """Have all its processes end at once, as when the power fails."""
        assert self._init
        os.kill(self._first(), signal.SIGKILL)
        self._init.wait()

    def _first(self) -> int:
        assert self._init
        return _child(self._init.pid)

    def kill_command(self, begun: subprocess.Popen[str]) -> None:
        """Kill what `make_until` has begun, but none of the programs that it runs."""
        os.kill(_child(begun.pid), signal.SIGKILL)
        begun.wait()

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs another in there."""
        where = ["nsenter", f"--target={self._first()}", "--mount", "--net", "--pid", f"--wd={ROOT}", "--"]
        return [*where, *map(str, arguments)]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=400)

    def make(self, target: str) -> subprocess.CompletedProcess[str]:
        """Run what the Makefile's target runs, in there."""
        return self.run(sys.executable, "-m", "cluster", target)

    def make_until(self, target: str, then: Callable[[], bool]) -> subprocess.Popen[str]:
        """Begin what the Makefile's target runs, in there, and return when something is so."""
        begun = subprocess.Popen(
            self.command(sys.executable, "-m", "cluster", target), stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 120
        while not then():
            assert begun.poll() is None, begun.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.2)
        return begun

    def made(self, cluster: str) -> Callable[[], bool]:
        """Return what tells whether a cluster of this name is made, but perhaps empty."""
        record = self.folder / "upper" / "clusters" / f"{cluster}.json"
        return lambda: record.exists() and '"ready"' in record.read_text()

    def nodes(self) -> list[str]:
        """Return the names of all containers, running or not."""
        return self.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()

    def kill(self, *names: str) -> None:
        """Kill what runs in there, but not in its containers, under names as the kernel knows them."""
        first = self._first()
        own = Path(f"/proc/{first}/ns/pid").readlink()
        found: dict[int, str] = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "comm").read_text().strip()
                if name in names and (process / "ns" / "pid").readlink() == own and int(process.name) != first:
                    found[int(process.name)] = name
            except OSError:
                pass  # it has ended
        assert set(found.values()) == set(names), found
        for number in found:
            with contextlib.suppress(ProcessLookupError):  # it went with another
                os.kill(number, signal.SIGKILL)

    def leave_free(self, gib: float) -> None:
        """Fill the disk but for so much."""
        self.make_room()
        free = shutil.disk_usage(f"/proc/{self._first()}/root/var/lib/docker").free
        # Others write too, so the last of it is taken by writing until there is no more.
        reserved = free - int(max(gib, 0.1) * _GIB)
        self.run("fallocate", "--length", str(reserved), "/var/lib/docker/filled").check_returncode()
        if not gib:
            self.run("sh", "-c", "cat /dev/zero > /var/lib/docker/filled-up")

    def make_room(self) -> None:
        """Undo `leave_free`."""
        self.run("rm", "--force", "/var/lib/docker/filled", "/var/lib/docker/filled-up").check_returncode()
