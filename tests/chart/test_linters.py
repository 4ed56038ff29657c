"""Helm's own linter, and kube-score."""

from __future__ import annotations

import subprocess

import pytest
from cluster import tools

from tests.chart.rendering import PROD, helm, text


def test_helms_lint_finds_nothing() -> None:
    for options in ((), PROD):
        done = helm("lint", "--strict", "chart", *options)
        assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout, done.stdout


# kube-score's findings that are left as they are, and why.
IGNORED = {
    "container-image-pull-policy": "on kind the image is loaded, with nowhere to pull it from; and a tag is a version",
    "container-resources": "asks for a CPU limit, too: a throttled pod holds its rows back. The rest is tested below",
    "deployment-has-host-podantiaffinity": "pods are spread by topologySpreadConstraints, which it does not look at",
}


@pytest.mark.parametrize(
    ("options", "ignored"),
    [(PROD, IGNORED), ((), IGNORED | {"pod-networkpolicy": "off by default, as it names the edge's namespace"})],
    ids=["values-prod.yaml", "values.yaml"],
)
def test_kube_score_finds_nothing_but_what_is_ignored_for_a_reason(
    options: tuple[str, ...], ignored: dict[str, str]
) -> None:
    command = [tools.find("kube-score"), "score", "--kubernetes-version=v1.35", "--output-format=ci", "-"]
    command += [f"--ignore-test={name}" for name in ignored]
    rendered = text("--namespace", "streaming", *options)
    done = subprocess.run(command, input=rendered, capture_output=True, text=True, timeout=60)
    found = done.stdout.splitlines()
    assert len([line for line in found if line.startswith("[OK]")]) > 20, done.stdout + done.stderr
    assert [line for line in found if line.startswith(("[CRITICAL]", "[WARNING]"))] == []
