"""The order of the layers, and what stops them, with stubs of pytest and of the bring-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.run import ROOT

PYTEST = """
import os, sys
print("pytest", *[each for each in sys.argv[1:] if each.startswith("tests/")], flush=True)
sys.exit(any(name in os.environ.get("FAILING", "-") for name in sys.argv[1:]))
"""
CLUSTER = """
import os, sys, time
edge = sys.argv[sys.argv.index("--edge") + 1]
try:
    print(f"bring up {edge}", file=sys.stderr, flush=True)
    if edge in os.environ.get("FAILING", "-"):
        sys.exit("no room for it")
    if edge in os.environ.get("HANGING", "-"):
        time.sleep(60)
except KeyboardInterrupt:
    print(f"interrupted {edge}", file=sys.stderr, flush=True)
    sys.exit(130)
"""

TOOLS = """
def find(name):
    print("find", name, flush=True)
def chromium():
    print("find chromium", flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the command; its environment names layers and edges that fail, or an edge that never comes up."""
    (tmp_path / "pytest.py").write_text(PYTEST)
    stub = tmp_path / "cluster"
    stub.mkdir()
    (stub / "__init__.py").write_text(f"__path__.append({str(ROOT / 'scripts' / 'cluster')!r})")
    (stub / "__main__.py").write_text(CLUSTER)
    (stub / "tools.py").write_text(TOOLS)

    def start(*layer: str, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT / "scripts")])
        command = [sys.executable, "-m", "layers", *layer]
        environ = os.environ | environment | {"PYTHONPATH": path}
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start


def told(process: subprocess.Popen[str], status: int) -> list[str]:
    """Return what was told, without times, in the end."""
    output, _ = process.communicate(timeout=280)
    assert process.returncode == status, output
    return output.splitlines()


def ran(lines: list[str]) -> list[str]:
    return [line.removeprefix("pytest ") for line in lines if line.startswith("pytest ")]


def test_the_fast_layers_come_first_and_the_cluster_comes_up_meanwhile(start: Start) -> None:
    lines = told(start(), 0)
    fast = ["tests/unit", "tests/chart", "tests/local", "tests/project", "tests/matrix"]
    assert ran(lines) == [*fast, "tests/cluster tests/edges"]
    begun = lines.index(" • The cluster comes up in the background …")
    found = [line for line in lines if line.startswith(("find", "pytest"))]
    assert found[1:4] == ["find helm", "find kube-score", "pytest tests/chart"]
    assert found[4] == "find chromium"  # it may install packages, and so may the bring-up
    assert lines.index("pytest tests/chart") < begun < lines.index("pytest tests/local")
    # What it tells does not come between the lines of the tests.
    shown = [lines.index(f"bring up {edge}") for edge in ("ingress-nginx", "envoy-gateway")]
    assert lines.index("pytest tests/matrix") < shown[0] < shown[1] < lines.index("pytest tests/cluster tests/edges")


def test_every_test_is_in_a_layer(start: Start) -> None:
    folders = {file.relative_to(ROOT).parts[1] for file in (ROOT / "tests").rglob("test_*.py")}
    layers = {folder.removeprefix("tests/") for line in ran(told(start(), 0)) for folder in line.split()}
    # It needs namespaces of its own, and takes longer than all the others.
    assert layers == folders - {"recovery"}


@pytest.mark.parametrize("layer", ["unit", "chart"])
def test_nothing_slow_begins_after_a_failure_of_a_fast_layer(start: Start, layer: str) -> None:
    lines = told(start(FAILING=f"tests/{layer}"), 1)
    assert ran(lines)[-1] == f"tests/{layer}"
    assert not any("cluster" in line for line in lines)
    assert lines[-1] == f"error: tests failed: {layer}"


def test_a_failure_of_a_slow_layer_is_told_in_the_end(start: Start) -> None:
    lines = told(start(FAILING="tests/local"), 1)
    assert ran(lines)[-1] == "tests/cluster tests/edges"
    assert lines[-1] == "error: tests failed: local"


def test_a_cluster_that_does_not_come_up_is_told_with_its_own_words(start: Start) -> None:
    lines = told(start(FAILING="ingress-nginx"), 1)
    assert ran(lines)[-1] == "tests/matrix"
    assert lines[-3:] == [
        "bring up ingress-nginx",
        "no room for it",
        "error: the cluster did not come up, and its tests were not run: see the lines above",
    ]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_brings_the_cluster_up_is_stopped_with_the_tests(start: Start, number: int, status: int) -> None:
    process = start(HANGING="envoy-gateway")
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if lines[-1] == "bring up envoy-gateway":
            process.send_signal(number)
    assert process.wait(280) == status, lines
    assert "interrupted envoy-gateway" in lines


def test_one_layer_alone_needs_no_cluster(start: Start) -> None:
    assert ran(told(start("local"), 0)) == ["tests/local"]
