"""Tests on a real cluster: the one that CLUSTER and PORT_OFFSET name, which `make test` brings up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster import release
from cluster.kind import Cluster
from cluster.run import Trouble

NAMESPACE = "streaming-test"
CLUSTER = Cluster(os.environ.get("CLUSTER", "streaming-test"), int(os.environ.get("PORT_OFFSET", "10000")))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, seen to be up: without it these tests fail, they are not skipped."""
    CLUSTER.kubectl("get", "--raw", "/readyz")
    return CLUSTER


@dataclass(frozen=True)
class Demo:
    """The chart, installed under a host of its own, beside Ingresses that a careless hand might write.

    Attributes:
        url: address of the edge.
        host: under which the chart's own Ingress answers; `buffered.test` and `buffered-http10.test` are the others.
        namespace: in which all of it is.
    """

    url: str
    host: str
    namespace: str = NAMESPACE

    def verify(self, query: str, host: str = "") -> tuple[int, dict[str, Any]]:
        """Run the verifier on the measuring stream as a user does; return its exit status and verdicts by question."""
        command = [sys.executable, "-m", "streamproof", "verify", f"{self.url}/measure?{query}", "--json"]
        command += ["--header", f"Host: {host or self.host}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        report = json.loads(done.stdout)
        return done.returncode, {verdict["question"]: verdict for verdict in report["verdicts"]}


@pytest.fixture(scope="session")
def demo(cluster: Cluster) -> Demo:
    """Install it, or bring it up to date: the cluster stays up for the next run."""
    demo = Demo(f"http://127.0.0.1:{cluster.http_port}", "good.test")
    release.install(cluster, "streaming", NAMESPACE, "--set", f"ingress.host={demo.host}")
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(Path(__file__).parent / "ingresses.yaml"))
    for host in (demo.host, "buffered-http10.test", "buffered.test"):
        release.await_edge(cluster, host)
    return demo


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show pods, events and logs where a test on the cluster failed: a CI machine is gone when one comes to look."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.failed:
        return
    try:
        CLUSTER.kubectl("get", "--raw", "/readyz", timeout=30)
    except Trouble as error:
        report.sections.append(("cluster", str(error)))
        # Each of the other tests would wait for as long, and tell no more.
        item.session.shouldstop = f"the cluster {CLUSTER.name} does not answer"
    else:
        report.sections.append(("cluster", release.diagnostics(CLUSTER, NAMESPACE)))
