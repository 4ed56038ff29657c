"""What the tests on a cluster do when it does not answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster.run import ROOT

# For a machine without kubectl; one that has it finds no such context.
KUBECTL = """#!/bin/sh
case $1 in version) echo 'Client Version: v1.35.0';; *) echo 'nobody answers' >&2; exit 1;; esac
"""


def test_the_first_test_on_a_dead_cluster_is_the_last(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    environment = os.environ | {
        "CLUSTER": "none-of-this-name",
        "KUBECONFIG": str(tmp_path / "none"),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cluster/test_chart.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert "the cluster none-of-this-name does not answer" in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 error in ")
    assert done.returncode == 2
