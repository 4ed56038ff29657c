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
import os, sys, time
print("pytest", *[each for each in sys.argv[1:] if each.startswith("tests/") or "alone" in each], flush=True)
# Those who meet wait for each other.
meet = os.environ.get("MEET", "").split()
named = [each.removeprefix("tests/").replace("/", ".") for each in sys.argv[1:]]
for name in set(named) & set(meet):
    open(os.path.join(os.environ["PLACE"], name), "w").close()
    until = time.monotonic() + 60
    while not set(meet) <= set(os.listdir(os.environ["PLACE"])):
        if time.monotonic() > until:
            sys.exit("nobody came")
        time.sleep(0.05)
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


FAST = ["tests/unit", "tests/chart"]
BESIDE = ["tests/local", "tests/project"]
ON_CLUSTER = [
    "tests/cluster",
    "tests/matrix",
    "tests/edges",
    "tests/pages not alone",
    "tests/versions",
    "tests/cluster/test_release.py",
    "tests/pages alone",
]


def test_the_fast_layers_come_first_and_what_waits_runs_at_once(start: Start) -> None:
    lines = told(start(), 0)
    assert ran(lines) == [*FAST, *BESIDE, "tests/faults", *ON_CLUSTER]
    found = [line for line in lines if line.startswith(("find", "pytest", "bring up", " • In the background"))]
    assert found == [
        "pytest tests/unit",
        "find helm",
        "find kube-score",
        "pytest tests/chart",
        "find chromium",  # it may install packages, and so may the bring-up
        " • In the background: cluster up, faults …",
        # What that tells does not come between the lines of the tests.
        *(f"pytest {layer}" for layer in BESIDE),
        "bring up ingress-nginx",
        "bring up envoy-gateway",
        "pytest tests/faults",
        "find chromium",
        " • In the background: edges …",
        " • In the background: pages …",
        " • In the background: versions, release …",
        *(f"pytest {layer}" for layer in ON_CLUSTER),
    ]


@pytest.mark.parametrize(
    "layers", ["local faults", "project faults", "cluster edges pages versions", "matrix cluster.test_release.py"]
)
def test_these_layers_run_at_once(start: Start, tmp_path: Path, layers: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    told(start(MEET=layers, PLACE=str(place)), 0)


def test_every_test_is_in_a_layer(start: Start) -> None:
    folders = {file.relative_to(ROOT).parts[1] for file in (ROOT / "tests").rglob("test_*.py")}
    words = {word for line in ran(told(start(), 0)) for word in line.split()}
    # It needs namespaces of its own, and takes longer than all the others.
    assert {word.split("/")[1] for word in words - {"not", "alone"}} == folders - {"recovery"}


@pytest.mark.parametrize("layer", ["unit", "chart"])
def test_nothing_slow_begins_after_a_failure_of_a_fast_layer(start: Start, layer: str) -> None:
    lines = told(start(FAILING=f"tests/{layer}"), 1)
    assert ran(lines)[-1] == f"tests/{layer}"
    assert not any("cluster" in line for line in lines)
    assert lines[-1] == f"error: tests failed: {layer}"


def test_a_failure_of_a_slow_layer_is_told_in_the_end(start: Start) -> None:
    lines = told(start(FAILING="tests/local tests/faults tests/pages"), 1)
    assert ran(lines)[-1] == "tests/pages alone"
    assert lines[-1] == "error: tests failed: local, faults, pages, alone"


def test_a_cluster_that_does_not_come_up_is_told_with_its_own_words(start: Start) -> None:
    lines = told(start(FAILING="ingress-nginx"), 1)
    assert ran(lines) == FAST + BESIDE
    assert [line for line in lines if "(" not in line][-3:] == [
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
    assert ran(told(start("local"), 0)) == BESIDE[:1]
