"""`python -m layers`: the layers of tests, the fast ones first. A name runs that layer alone: `python -m layers chart`.

The cluster comes up while the tests run that need none.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time

import click
from cluster import run, tools
from cluster.run import Trouble, say

# How pytest is run for each. A worker of xdist has fixtures of its own, so a file stays in one. Local measures times,
# which the bring-up disturbs enough; the matrix asks its servers in parallel by itself.
_LAYERS = {
    "unit": ("tests/unit", "-n4", "--dist=loadfile"),
    "chart": ("tests/chart", "-n2"),
    "local": ("tests/local",),
    "project": ("tests/project",),
    "matrix": ("tests/matrix",),
    "cluster": ("tests/cluster", "tests/edges"),
}
# Found or built before, for workers of xdist would build them side by side, and within the time that a test may take.
CHART_TOOLS = ("helm", "kube-score")
# With a failure in one of these nothing else is worth its time.
_FIRST = ("unit", "chart")
_EDGES = ("ingress-nginx", "envoy-gateway")
_STOP_SECONDS = 30


@click.command(help=__doc__)
@click.argument("layer", type=click.Choice(list(_LAYERS)), required=False)
def main(layer: str | None) -> None:
    """Run one layer, or all."""
    failed = []
    with contextlib.ExitStack() as stack:
        cluster = None
        for name in [layer] if layer else _LAYERS:
            if name not in _FIRST and not layer and cluster is None:
                tools.chromium()  # before the cluster, which may install packages, too
                cluster = stack.enter_context(_BringUp())
            if name == "chart":
                for tool in CHART_TOOLS:
                    tools.find(tool)
            if name == "cluster" and cluster:
                cluster.wait()
            if not _passed(name):
                failed.append(name)
                if name in _FIRST:
                    break
    if failed:
        raise Trouble(f"tests failed: {', '.join(failed)}")


def _passed(name: str) -> bool:
    say(f"\n • {name}")
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", *_LAYERS[name]]
    with subprocess.Popen(command) as process:
        try:
            passed = process.wait() == 0
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                process.send_signal(signal.SIGINT)  # which Ctrl-C is to all that a terminal has started
            process.wait()  # what its tests have started ends before
            raise
    say(f" {'✓' if passed else '✗'} {name} ({time.monotonic() - started:.0f} s)")
    return passed


class _BringUp:
    """The cluster and its edges, brought up in the background; what that tells is kept until it is waited for."""

    def __enter__(self) -> _BringUp:
        self._told: list[str] = []
        self._shown = False
        self._lock = threading.Lock()
        self._ended = self._up = False
        self._process = self._start(_EDGES[0])
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()
        say("\n • The cluster comes up in the background …")
        return self

    def wait(self) -> None:
        """Show what was told and go on showing it, until the cluster is up.

        Raises:
            Trouble: it does not come up.
        """
        say("\n • The cluster, which has been coming up since the local tests began …")
        with self._lock:
            self._shown = True
            for line in self._told:
                say(line)
        self._thread.join()
        if not self._up:
            raise Trouble("the cluster did not come up, and its tests were not run: see the lines above")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join()

    def _start(self, edge: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cluster", "--edge", edge, "up"]
        # A session of its own: Ctrl-C reaches it once, by us.
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def _go_on(self) -> None:
        for edge in (*_EDGES[1:], None):
            for line in self._process.stderr or ():
                with self._lock:
                    self._told.append(line.rstrip())
                    if self._shown:
                        say(line.rstrip())
            if self._process.wait() != 0:
                if not self._ended and not self._shown:
                    say(" ✗ The cluster did not come up: its lines follow after the tests that need none")
                return
            with self._lock:
                if self._ended:
                    return
                if edge:
                    self._process = self._start(edge)
        self._up = True


if __name__ == "__main__":
    # In the background of a shell it would be ignored, and by what is started here as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run.main(main, "the cluster stays as it is; `make test` begins with the unit tests again")
