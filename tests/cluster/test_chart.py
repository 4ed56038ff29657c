"""The chart as Helm and the API server see it."""

from __future__ import annotations

import subprocess

from cluster import release
from cluster.kind import Cluster
from cluster.run import ROOT


def helm(cluster: Cluster, *arguments: str) -> str:
    """Return what a helm command prints on standard output."""
    command = release.helm(cluster, *arguments)
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True).stdout


def test_lint_finds_nothing(cluster: Cluster) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm(cluster, "lint", "--strict", "chart")


def test_the_users_annotation_wins(cluster: Cluster) -> None:
    setting = r"ingress.annotations.nginx\.ingress\.kubernetes\.io/proxy-buffering=on"
    rendered = helm(cluster, "template", "x", "chart", "--set-string", setting, "--show-only", "templates/ingress.yaml")
    assert 'proxy-buffering: "on"' in rendered
    assert 'proxy-buffering: "off"' not in rendered


def test_the_api_server_takes_what_is_rendered(cluster: Cluster) -> None:
    for options in ([], ["--set", "ingress.enabled=false"], ["--set", "ingress.host=a.test,replicaCount=1"]):
        rendered = helm(cluster, "template", "x", "chart", *options)
        applied = cluster.kubectl("apply", "--dry-run=server", "-n", "default", "-f", "-", stdin=rendered)
        assert ("ingress.networking.k8s.io/x-streaming" in applied) is (options != ["--set", "ingress.enabled=false"])


def test_a_pod_without_an_image_says_what_to_do(cluster: Cluster) -> None:
    rendered = helm(cluster, "install", "x", "chart", "--dry-run", "--set", "image.tag=missing")
    assert "no image streaming-demo:missing" in rendered
    assert "`make image` builds and loads it" in rendered
