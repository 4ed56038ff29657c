"""The pages' commands, as a user types them after `make kind-up`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import release, tools
from cluster.kind import Cluster
from cluster.run import ROOT
from doc_blocks.environments import run_on_cluster
from doc_blocks.pages import pages


@pytest.fixture(scope="module")
def edge(cluster: Cluster) -> str:
    """`helm install streaming ./chart` with default values; the address of the edge."""
    helm = release.helm(cluster)
    subprocess.run([*helm, "uninstall", "streaming", "--ignore-not-found", "--wait"], check=True, timeout=120)
    subprocess.run([*helm, "install", "streaming", "./chart"], check=True, timeout=120, cwd=ROOT)
    cluster.kubectl("rollout", "status", "deploy/streaming", "--timeout=120s", timeout=130)
    release.await_edge(cluster)
    return f"http://127.0.0.1:{cluster.http_port}"


def curl(*arguments: str) -> tuple[bytes, str]:
    """Return the body and what curl tells of the exchange."""
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, timeout=60, check=True)
    return done.stdout, done.stderr.decode(errors="replace")


def test_the_plain_csv_has_a_length(edge: str) -> None:
    body, told = curl("-vv", "--raw", f"{edge}/download_csv")
    assert "< HTTP/1.1 200 OK" in told
    assert "< Content-Disposition: attachment; filename=big.csv" in told
    assert f"< Content-Length: {len(body)}\r\n" in told
    assert "chunked" not in told


def test_the_streamed_csv_is_chunked_and_has_the_same_rows(edge: str) -> None:
    body, told = curl("-vv", "--raw", "-N", f"{edge}/download_csv_streaming")
    assert "< Transfer-Encoding: chunked" in told
    assert "Content-Length" not in told
    assert body.endswith(b"\r\n0\r\n\r\n")  # the terminating chunk
    assert curl(f"{edge}/download_csv_streaming")[0] == curl(f"{edge}/download_csv")[0]


def test_the_logs_show_the_request(cluster: Cluster, edge: str) -> None:
    curl(f"{edge}/measure?rows=1")
    logged = cluster.kubectl("logs", "-l", "app.kubernetes.io/name=streaming", "--tail=-1")
    assert "GET /measure?rows=1 " in logged


def test_wrong_parameters_are_answered_by_400_and_a_sentence(edge: str) -> None:
    body, told = curl("-v", f"{edge}/measure?rows=many")
    assert "< HTTP/1.1 400 Bad Request" in told
    assert body.startswith(b"rows is 'many', but must be")


def test_verify_prints_a_verdict(cluster: Cluster, edge: str) -> None:
    done = _make_command("verify")
    assert done.returncode == 0, done.stdout
    assert "verdict: PASS" in done.stdout


def test_the_stream_can_be_broken_and_put_right_again(cluster: Cluster, edge: str) -> None:
    broken, right = upgrades()
    for command, verdict in ((broken, "FAIL"), (right, "PASS")):
        subprocess.run(release.helm(cluster, *command), check=True, timeout=120, cwd=ROOT)
        time.sleep(3)  # the edge takes up the Ingress
        assert f"verdict: {verdict}" in _make_command("verify").stdout


def upgrades() -> list[list[str]]:
    """Return the arguments of demo.md's `helm upgrade` commands: the one that breaks the stream, and its undoing."""
    found = re.findall(r"(?:\$ |`)helm (upgrade (?:[^`$\\]|\\\n|\\\.)+)", (ROOT / "docs" / "demo.md").read_text())
    return [shlex.split(arguments.replace("\\\n", "")) for arguments in found]


# A page may build an image and an environment; each of its blocks has a limit of its own.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", pages("cluster"), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_print_what_it_shows(cluster: Cluster, edge: str, page: Path) -> None:
    """Among them `make demo`, which can be repeated, and `make verify`. Where they don't: `make docs` rewrites it."""
    text = page.read_text(encoding="utf-8")
    assert run_on_cluster(text, cluster).splitlines() == text.splitlines()


@pytest.mark.alone
def test_demo_starts_a_stopped_cluster_and_puts_a_changed_release_right(cluster: Cluster, edge: str) -> None:
    """That it can be repeated where nothing has happened is what the README's block shows."""
    subprocess.run(release.helm(cluster, *upgrades()[0]), check=True, timeout=120, cwd=ROOT)
    subprocess.run(["docker", "stop", *cluster.containers()], check=True, timeout=120, capture_output=True)
    done = _make_command("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Start the stopped cluster" in done.stderr
    assert done.stdout.rstrip().endswith("verdict: PASS")


def test_a_cluster_of_another_is_refused(cluster: Cluster, tmp_path: str) -> None:
    """Who has no record of it did not make it."""
    done = _make_command("down", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "was not made from here, and it is left alone" in done.stderr
    cluster.kubectl("get", "nodes")


@pytest.mark.alone
def test_an_image_that_is_not_loaded_is_named(cluster: Cluster, edge: str) -> None:
    images = cluster.record()["images"]
    cluster.note(images={})
    try:
        with pytest.raises(release.Trouble, match="run `make image` first"):
            release.install(cluster)
    finally:
        cluster.note(images=images)


def test_the_tools_are_found_in_versions_that_fit() -> None:
    for name in ("kind", "helm", "kubectl"):
        assert os.access(tools.find(name), os.X_OK)


def _make_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what the Makefile's target runs."""
    command = [sys.executable, "-m", "cluster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT, env=os.environ | environment)
