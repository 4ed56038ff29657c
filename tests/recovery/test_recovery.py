"""`make kind-up` after what may happen to it; each test takes the machine as the one before has left it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.recovery.machine import Machine

pytestmark = pytest.mark.timeout(900)
NODE = "recovery-control-plane"


def sentence(stderr: str) -> str:
    """Return the error that the command ended with."""
    assert "Traceback" not in stderr
    assert stderr.count("error: ") >= 1, stderr
    return stderr.rpartition("\nerror: ")[2]


def test_on_a_full_disk_nothing_is_begun(machine: Machine) -> None:
    machine.leave_free(5)
    done = machine.make("up")
    assert done.returncode == 1
    assert "GiB free and 6 are needed: make room there, and run this again" in sentence(done.stderr)
    assert machine.nodes() == []


def test_when_the_disk_fills_up_while_a_node_is_made_nothing_is_left_of_it(machine: Machine) -> None:
    machine.make_room()
    begun = machine.make_until("up", lambda: NODE in machine.nodes())
    machine.leave_free(0)
    _, stderr = begun.communicate(timeout=400)
    assert begun.returncode == 1
    assert sentence(stderr).startswith("Create the cluster recovery: failed (whole log: ")
    assert "No space left on device" in stderr or "no space left on device" in stderr
    assert machine.nodes() == [], stderr
    machine.make_room()


def test_when_kind_is_killed_nothing_is_left_of_the_cluster(machine: Machine) -> None:
    begun = machine.make_until("up", lambda: NODE in machine.nodes())
    machine.kill("kind")
    _, stderr = begun.communicate(timeout=120)
    assert begun.returncode == 1
    assert sentence(stderr).startswith("Create the cluster recovery: failed (whole log: ")
    assert machine.nodes() == [], stderr


def test_when_the_command_is_killed_too_the_next_one_begins_anew(machine: Machine) -> None:
    begun = machine.make_until("up", lambda: NODE in machine.nodes())
    machine.kill_command(begun)
    machine.kill("kind")
    assert machine.nodes() == [NODE]
    # And before the images are in the new one the disk is full.
    again = machine.make_until("up", machine.made("recovery"))
    machine.leave_free(0)
    _, stderr = again.communicate(timeout=400)
    assert again.returncode == 1
    assert "The cluster recovery was left half made: it is made anew" in stderr
    assert re.match("Load .* into the cluster: failed", sentence(stderr))


def test_with_room_again_it_goes_on_with_the_cluster_that_is_there(machine: Machine) -> None:
    machine.make_room()
    done = machine.make("demo")
    assert done.returncode == 0, done.stderr
    assert "Create the cluster" not in done.stderr
    assert "verdict: PASS" in done.stdout


def test_when_the_engine_was_killed_the_cluster_comes_back(machine: Machine) -> None:
    machine.kill("dockerd", "containerd", "containerd-shim")
    done = machine.make("demo")
    assert done.returncode == 0, done.stderr
    assert "Create the cluster" not in done.stderr
    assert "verdict: PASS" in done.stdout


def test_when_the_power_failed_the_cluster_comes_back(machine: Machine) -> None:
    machine.stop()
    machine.start()
    done = machine.make("demo")
    assert done.returncode == 0, done.stderr
    assert "Create the cluster" not in done.stderr
    assert "verdict: PASS" in done.stdout


def test_the_cluster_and_its_images_go_and_what_is_of_others_stays(machine: Machine) -> None:
    """By `make clean`, of a real cluster: its nodes, the images that were built for it, and its context."""
    theirs = {"kindest/node:v1.35.8", "registry.k8s.io/pause:3.10", "streaming/my-own-service:2"}
    for name in theirs:
        machine.build(name)
    machine.create("shop", "streaming/my-own-service:2")
    kubeconfig = Path(os.environ["KUBECONFIG"])
    assert "kind-recovery" in machine.path(kubeconfig).read_text()
    told = machine.clean()
    assert "✓ removed the cluster recovery\n" in told
    assert machine.nodes() == ["shop"]
    assert machine.images() - {"<none>:<none>"} == theirs
    assert "kind-recovery" not in machine.path(kubeconfig).read_text()
    assert machine.run("docker", "network", "inspect", "kind").returncode == 1
    assert "kept the Docker engine: it holds what did not come from here (containers: shop; images: " in told
