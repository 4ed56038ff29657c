"""The chart on a real cluster, under a name of its own."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster import release
from cluster.kind import Cluster
from cluster.run import CACHE

NAMESPACE = "streaming-test"


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
    # Two layers that run at once share it, and Helm refuses the second while the first installs.
    with (CACHE / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release.install(cluster, "streaming", NAMESPACE, "--set", f"ingress.host={demo.host}")
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(Path(__file__).parent / "ingresses.yaml"))
    for host in (demo.host, "buffered-http10.test", "buffered.test"):
        release.await_edge(cluster, host)
    return demo
