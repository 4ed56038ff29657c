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

# Arguments: the folder of the machine, the cache, and whether the machine is fresh.
_FILES = """
mount -o loop "$1/disk" "$1/mounted"
cd "$1/mounted"
if [ ! -d upper ]; then
    mkdir -p upper/var/lib "upper$2" work docker
    # The overlay's own mark of what is not there: the data of the engine outside, and what was noted of it.
    mknod upper/var/lib/docker c 0 0
    for absent in clusters dockerd.pid installed-packages put-here; do mknod "upper$2/$absent" c 0 0; done
    if [ "$3" ]; then rm -r "upper$2" && mknod "upper$2" c 0 0; fi
fi
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
# The engine outside, for the images that it has.
touch ".$1/engine"
mount --bind /run/docker.sock ".$1/engine"
if [ ! "$3" ]; then
    mkdir -p "$1/root/var/lib/docker"
    mount --bind "$1/mounted/docker" "$1/root/var/lib/docker"
fi
ip link set lo up
# Not chroot: docker exec enters at the root of the mount namespace, which would be that outside.
cd "$1/root"
pivot_root . mnt
cd /
umount --lazy /mnt
"""


def _child(parent: int) -> int:
    """Return the only child of a process, which enters namespaces for it; wait until there is one."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while not children.read_text():
        time.sleep(0.05)
    return int(children.read_text())


@dataclass
class Machine:
    """Namespaces of its own: its engine has its own disk, network and processes, and begins where there is none.

    All its files are those outside until it writes to them, so packages and caches can be removed in there.

    Attributes:
        folder: holds its disk.
        fresh: whether nothing from here was ever on it. Else it has the caches, and a folder for the engine's data.
    """

    folder: Path
    fresh: bool = False
    _init: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on its disk, which is made the first time."""
        disk, mounted, root = (self.folder / name for name in ("disk", "mounted", "root"))
        if not disk.exists():
            mounted.mkdir()
            root.mkdir()
            with disk.open("wb") as file:
                file.truncate(_DISK_GIB * _GIB)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", disk], check=True)
        own = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
        self._init = subprocess.Popen(["unshare", *own, sys.executable, "-c", _INIT], start_new_session=True)
        begun = self._enter("sh", "-euc", _FILES, "sh", self.folder, CACHE, "fresh" if self.fresh else "")
        subprocess.run(begun, check=True, timeout=60)

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

    def _enter(self, *arguments: str | Path) -> list[str]:
        return ["nsenter", f"--target={self._first()}", "--mount", "--net", "--pid", "--", *map(str, arguments)]

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs another in there."""
        scripts = f"PYTHONPATH={ROOT}/scripts:{ROOT}/scripts/streamproof"
        return self._enter("env", "-C", ROOT, scripts, *arguments)

    def path(self, inside: str | Path) -> Path:
        """Return where a file of its is seen from outside."""
        return Path(f"/proc/{self._first()}/root{inside}")

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
        record = self.path(CACHE / "clusters" / f"{cluster}.json")
        return lambda: record.exists() and '"ready"' in record.read_text()

    def start_engine(self) -> None:
        """Start the engine from here: the machine has its packages."""
        started = self.run(sys.executable, "-c", "from cluster import engine; engine.ensure()")
        assert started.returncode == 0, started.stderr

    def build(self, name: str, *options: str, base: str = "scratch") -> None:
        """Build an image that holds a file alone."""
        folder = self.path("/srv/image")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /{name.replace('/', '-')}\n")
        built = self.run("env", "DOCKER_BUILDKIT=0", "docker", "build", *options, "-t", name, "/srv/image")
        assert built.returncode == 0, built.stderr

    def create(self, name: str, image: str, *options: str) -> str:
        """Create a container that does not run, and return its id."""
        created = self.run("docker", "create", "--name", name, *options, image, "/none")
        assert created.returncode == 0, created.stderr
        return created.stdout.strip()

    def images(self) -> set[str]:
        """Return the names of all images."""
        return set(self.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())

    def has(self, path: str | Path) -> bool:
        """Tell whether a path exists."""
        return self.run("test", "-e", path).returncode == 0

    def clean(self) -> str:
        """Run `make clean`, and return what it tells."""
        done = self.run("make", "clean")
        print(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stderr

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
        free = shutil.disk_usage(self.path("/var/lib/docker")).free
        # Others write too, so the last of it is taken by writing until there is no more.
        reserved = free - int(max(gib, 0.1) * _GIB)
        self.run("fallocate", "--length", str(reserved), "/var/lib/docker/filled").check_returncode()
        if not gib:
            self.run("sh", "-c", "cat /dev/zero > /var/lib/docker/filled-up")

    def make_room(self) -> None:
        """Undo `leave_free`."""
        self.run("rm", "--force", "/var/lib/docker/filled", "/var/lib/docker/filled-up").check_returncode()
