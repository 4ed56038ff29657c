"""Which hop `streamproof diagnose` blames on a real cluster, found from nothing but the name of an Ingress."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from cluster import images
from cluster.kind import Cluster

PATH = "/measure?rows=8&delay_ms=250"
SLOW = "/measure?rows=12&delay_ms=250"
# More than socket buffers hold.
LARGE = "/measure?rows=1000&size=65536&delay_ms=0"


def _run(cluster: Cluster, demo: Any, ingress: str, *options: str) -> subprocess.CompletedProcess[str]:
    where = ("--context", cluster.context, "--namespace", demo.namespace)
    command = [sys.executable, "-m", "streamproof", "diagnose", ingress, *where, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _jobs(cluster: Cluster, demo: Any) -> str:
    label = "app.kubernetes.io/name=streamproof"
    return cluster.kubectl("get", "jobs", "-n", demo.namespace, "-l", label, "-o", "name")


def test_nothing_is_blamed_at_the_good_ingress(cluster: Cluster, demo: Any) -> None:
    done = _run(cluster, demo, "streaming", "--url", demo.url, "--path", PATH, "--json")
    assert done.returncode == 0, done
    found = json.loads(done.stdout)
    assert (found["verdict"], found["first"]) == ("PASS", None)
    pod, service, edge = found["hops"]
    assert (pod["hop"], pod["means"], pod["verdict"]) == ("pod", "port-forward", "PASS")
    # What a tunnel cannot tell is not told.
    assert pod["absorbed"] == "inconclusive"
    assert (service["hop"], service["verdict"]) == ("Service", None)
    assert (edge["hop"], edge["means"], edge["verdict"]) == ("edge", "from here", "PASS")


def test_the_edge_and_its_annotations_are_blamed_at_the_ingress_that_buffers(cluster: Cluster, demo: Any) -> None:
    done = _run(cluster, demo, "buffered-http10", "--url", demo.url, "--path", SLOW, "--large", LARGE, "--json")
    assert done.returncode == 1, done
    found = json.loads(done.stdout)
    assert [(hop["hop"], hop["verdict"]) for hop in found["hops"]] == [
        ("pod", "PASS"),
        ("Service", None),
        ("edge", "FAIL"),
    ]
    assert found["first"] == 2
    assert "proxy-buffering on and proxy-http-version 1.0" in found["sentence"]
    edge = found["hops"][2]
    assert edge["absorbed_bytes"] > 24 << 20
    assert edge["absorbed"].endswith("did not stop")
    # Twelve rows, 250 ms apart, that all come at the end.
    assert edge["lag_p99_ms"] > 11 * 250 * 0.9


def test_a_probe_in_the_cluster_sees_every_hop_and_leaves_nothing_behind(cluster: Cluster, demo: Any) -> None:
    probe = ("--in-cluster", "--image", images.STREAMPROOF)
    done = _run(cluster, demo, "buffered-http10", "--path", PATH, "--json", *probe)
    assert done.returncode == 1, done
    found = json.loads(done.stdout)
    assert [(hop["hop"], hop["means"], hop["verdict"]) for hop in found["hops"]] == [
        ("pod", "in the cluster", "PASS"),
        ("Service", "in the cluster", "PASS"),
        ("edge", "in the cluster", "FAIL"),
    ]
    assert found["first"] == 2
    assert "not yet at the Service" in found["sentence"]
    assert _jobs(cluster, demo) == ""


def test_an_ingress_that_does_not_exist_gets_one_sentence(cluster: Cluster, demo: Any) -> None:
    done = _run(cluster, demo, "absent", "--url", demo.url, "--path", PATH)
    assert done.returncode == 3
    assert done.stderr.startswith(f"streamproof: there is no Ingress absent in the namespace {demo.namespace}")
    assert len(done.stderr.splitlines()) == 1


def test_an_edge_that_has_no_address_for_outsiders_is_asked_for(cluster: Cluster, demo: Any) -> None:
    done = _run(cluster, demo, "streaming", "--path", PATH)
    assert done.returncode == 3
    assert "--url http://127.0.0.1:8080" in done.stderr


def test_a_probe_that_cannot_start_leaves_no_job_behind(cluster: Cluster, demo: Any) -> None:
    image = "streamproof.invalid/absent:1"
    done = _run(cluster, demo, "streaming", "--url", demo.url, "--path", PATH, "--in-cluster", "--image", image)
    assert done.returncode == 3
    assert image in done.stderr
    left = cluster.kubectl(
        "get", "jobs", "-n", demo.namespace, "-l", "app.kubernetes.io/name=streamproof", "-o", "name"
    )
    assert left == ""
