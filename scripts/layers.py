"""`python -m layers`: the layers of tests, the fast ones first. A name runs that layer alone: `python -m layers chart`.

Most tests of a stream wait. So layers that do not disturb each other run at once: one in sight, and what the others
tell is kept until their turn.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import click
from cluster import run, tools
from cluster.run import Trouble, say

# How pytest is run for each. A worker of xdist has fixtures of its own, so a file stays in one. Local measures times,
# which the bring-up disturbs enough; the matrix asks its servers in parallel by itself; and a cluster is there once.
_LAYERS = {
    "unit": ("tests/unit", "-n4", "--dist=loadfile"),
    "chart": ("tests/chart", "-n2"),
    "local": ("tests/local",),
    "project": ("tests/project", "-n3", "--dist=loadfile"),
    "matrix": ("tests/matrix",),
    "faults": ("tests/faults",),
    "cluster": ("tests/cluster", "--ignore=tests/cluster/test_release.py"),
    "release": ("tests/cluster/test_release.py",),
    "edges": ("tests/edges",),
    "versions": ("tests/versions",),
    "pages": ("tests/pages", "-m", "not alone"),
    "alone": ("tests/pages", "-m", "alone"),
}
_EDGES = ("ingress-nginx", "envoy-gateway")
_UP = "cluster up"
# What runs after what, and beside what: lanes of layers. Faults drain nodes, which only the promise to lose no stream
# survives, so nothing else is on the cluster then.
_STAGES = (
    (("unit",),),
    (("chart",),),
    (("local", "project"), (_UP, "faults")),
    (("cluster", "matrix"), ("edges",), ("pages",), ("versions", "release")),
    (("alone",),),
)
# With a failure in one of these nothing else is worth its time.
_FIRST = ("unit", "chart")
# Found or built before, for workers of xdist would build them side by side, and within the time that a test may take.
CHART_TOOLS = ("helm", "kube-score")
# For what tests have made on a cluster to be removed.
_STOP_SECONDS = 120


@click.command(help=__doc__)
@click.argument("layer", type=click.Choice(list(_LAYERS)), required=False)
def main(layer: str | None) -> None:
    """Run one layer, or all."""
    failed: list[str] = []
    for lanes in [((layer,),)] if layer else _STAGES:
        if "chart" in lanes[0]:
            for tool in CHART_TOOLS:
                tools.find(tool)
        if len(lanes) > 1:
            tools.chromium()  # before the cluster, which may install packages, too
        failed += _stage(lanes)
        if _UP in failed:
            raise Trouble("the cluster did not come up, and its tests were not run: see the lines above")
        if any(name in _FIRST for name in failed):
            break
    if failed:
        raise Trouble(f"tests failed: {', '.join(failed)}")


def _stage(lanes: Sequence[Sequence[str]]) -> list[str]:
    """Run lanes at once, and return which of their layers failed."""
    first, *others = (_Lane(names) for names in lanes)
    first.show()
    with contextlib.ExitStack() as stack:
        for lane in others:
            say(f"\n • In the background: {', '.join(lane.names)} …")
            stack.enter_context(lane)
        stack.enter_context(first).wait()
        for lane in others:
            say(f"\n • What has run in the background: {', '.join(lane.names)} …")
            lane.show()
            lane.wait()
    return [name for lane in (first, *others) for name in lane.failed]


class _Lane:
    """Layers that run one after the other, in a thread; what they tell is kept until it is to be shown.

    Attributes:
        names: which, and "cluster up" for the cluster with its edges.
        failed: those that did.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.failed: list[str] = []
        self._told: list[str] = []
        self._shown = self._ended = False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        # A join that a signal has interrupted takes the thread for ended (https://github.com/python/cpython/issues/90882).
        self._over = threading.Event()

    def __enter__(self) -> _Lane:
        threading.Thread(target=self._run).start()
        return self

    def show(self) -> None:
        """Show what was told, and from now on what is told."""
        with self._lock:
            self._shown = True
            for line in self._told:
                say(line)

    def wait(self) -> None:
        """Wait until all has run."""
        self._over.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
            process = self._process
            if process and process.poll() is None:
                process.send_signal(signal.SIGINT)
        if process:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._over.wait()

    def _run(self) -> None:
        try:
            self._run_all()
        finally:
            self._over.set()

    def _run_all(self) -> None:
        for name in self.names:
            started = time.monotonic()
            self._tell(f"\n • {name}")
            passed = all(self._passed(command) for command in _commands(name))
            if self._ended:
                return
            self._tell(f" {'✓' if passed else '✗'} {name} ({time.monotonic() - started:.0f} s)")
            if not passed:
                self.failed.append(name)
                if name == _UP:
                    return

    def _passed(self, command: Sequence[str]) -> bool:
        with self._lock:
            if self._ended:
                return False
            # In sight, pytest shows its progress by itself. A session of its own: Ctrl-C reaches it once, by us.
            out = None if self._shown else subprocess.PIPE
            err = None if self._shown else subprocess.STDOUT
            self._process = subprocess.Popen(command, stdout=out, stderr=err, text=True, start_new_session=True)
        for line in self._process.stdout or ():
            self._tell(line.rstrip())
        return self._process.wait() == 0

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._shown:
                say(line)
            else:
                self._told.append(line)


def _commands(name: str) -> Iterator[list[str]]:
    if name == _UP:
        for edge in _EDGES:
            yield [sys.executable, "-m", "cluster", "--edge", edge, "up"]
    else:
        yield [sys.executable, "-m", "pytest", *_LAYERS[name]]


if __name__ == "__main__":
    # In the background of a shell it would be ignored, and by what is started here as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run.main(main, "the cluster stays as it is; `make test` begins with the unit tests again")
