"""What keeps the pins from getting old: each file of them is looked after, and each action is pinned by its commit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from cluster import run
from cluster.run import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def looked_after(ecosystem: str) -> set[Path]:
    """Return the folders in which Dependabot looks for the pins of an ecosystem."""
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    (update,) = (each for each in updates if each["package-ecosystem"] == ecosystem)
    folders = [[ROOT] if each == "/" else ROOT.glob(each[1:]) for each in update["directories"]]
    return {folder for found in folders for folder in found}


@pytest.mark.parametrize(
    ("ecosystem", "pins"),
    [
        ("pip", r"(^|/)(requirements/.*|requirements|pip)\.txt$|/pyproject\.toml$"),
        ("gomod", r"/go\.mod$"),
        ("docker", r"^(scripts/streamproof/)?Dockerfile$"),
    ],
)
def test_each_file_of_pins_is_looked_after(ecosystem: str, pins: str) -> None:
    tracked = run.output("git", "-C", ROOT, "ls-files").splitlines()
    folders = {(ROOT / path).parent for path in tracked if re.search(pins, path)}
    assert folders == looked_after(ecosystem)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = re.findall(r"uses: *(.*)", workflow.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
