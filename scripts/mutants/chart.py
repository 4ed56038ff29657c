"""`python -m mutants.chart`: make each mistake of chart.yaml in a copy of the chart, and see that the tests notice.

The tests are those that need helm alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import yaml
from cluster import run, tools
from cluster.run import ROOT, Trouble, say
from layers import CHART_TOOLS

_LIST = Path(__file__).with_name("chart.yaml")
# What the tests read, and what they run: the tools that are built are not copied.
_COPIED = ("chart", "docs", "k8s", "scripts", "tests/chart", "tests/unit/chart", "pyproject.toml")
_TESTS = ("tests/unit/chart", "tests/chart")
_SECONDS = 300


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes:
        file: in which, below chart/.
        old: text that stands there once.
        new: what it becomes.
    """

    file: str
    old: str
    new: str

    def apply(self, chart: Path) -> None:
        """Make the mistake in a chart.

        Raises:
            Trouble: the text does not stand there once.
        """
        path = chart / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise Trouble(
                f"{self.old!r} stands {text.count(self.old)} times in {self.file}: {_LIST} needs what stands once"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")

    def __str__(self) -> str:
        """Return what is written instead of what."""
        return f"{self.file}: {self.old} -> {self.new or 'nothing'}"


def listed() -> tuple[float, list[Mutation]]:
    """Return which share must be noticed, and the mistakes."""
    found = yaml.safe_load(_LIST.read_text(encoding="utf-8"))
    return found["score"], [Mutation(file, *pair) for file, pairs in found["mutations"].items() for pair in pairs]


def noticed(mutation: Mutation | None) -> bool:
    """Tell whether the tests fail with a mistake, or with none.

    Raises:
        Trouble: the mistake can't be made, or the tests can't be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for each in _COPIED:
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            copy(ROOT / each, root / each)
        (root / "bin").symlink_to(ROOT / "bin")
        if mutation:
            mutation.apply(root / "chart")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *_TESTS]
        environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
        try:
            done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Trouble(
                f"the tests with {mutation} did not end within {_SECONDS} s: try again on a machine that is less busy"
            ) from error
    if done.returncode not in (0, 1):
        raise Trouble(f"the tests could not be run with {mutation}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    if mutation is None and done.returncode:
        raise Trouble(f"the tests fail without a mistake: mend that first\n{done.stdout[-2000:]}")
    return done.returncode == 1


def survivors(mutations: list[Mutation]) -> Iterator[Mutation]:
    """Yield the mistakes that no test notices."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, found in zip(mutations, pool.map(noticed, mutations), strict=True):
            say(f" {'✓' if found else '✗ not noticed:'} {mutation}")
            if not found:
                yield mutation


@click.command(help=__doc__)
def main() -> None:
    """Try all of them."""
    score, mutations = listed()
    for tool in CHART_TOOLS:
        tools.find(tool)
    noticed(None)
    left = list(survivors(mutations))
    share = 1 - len(left) / len(mutations)
    say(f"\n{len(mutations) - len(left)} of {len(mutations)} mistakes in the chart were noticed, needed: {score:.0%}")
    if share < score:
        raise Trouble(f"no test of the chart noticed {'; '.join(map(str, left))}")


if __name__ == "__main__":
    run.main(main, "nothing was changed: each mistake is made in a copy")
