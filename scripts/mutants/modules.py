"""`python -m mutants.modules`: let mutmut make mistakes in a copy of the pure modules, and see that their tests notice.

In which modules, which tests, and which share of the mistakes these must notice: pyproject.toml.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from itertools import groupby

import click
from cluster import run
from cluster.run import ROOT, Trouble, say

_SETTINGS = ROOT / "pyproject.toml"
_MUTMUT = ROOT / "build" / "mutmut"  # the Makefile installs it
_COPY = ROOT / "build" / "mutants"
# What loops for ever is ended, which notices it, too.
_NOTICED = ("killed", "timeout")


def mutmut(*args: str, output: bool = False) -> str:
    """Run mutmut in the copy, and return what it prints where that is asked for.

    Raises:
        Trouble: it failed; what it printed is above.
    """
    command = [sys.executable, str(_MUTMUT / "bin" / "mutmut"), *args]
    environment = os.environ | {"PYTHONPATH": str(_MUTMUT)}  # the copy's modules, not those of the checkout
    done = subprocess.run(
        command, cwd=_COPY, env=environment, stdout=subprocess.PIPE if output else None, encoding="utf-8"
    )
    if done.returncode:
        raise Trouble(f"mutmut {' '.join(args)} failed: see above")
    return done.stdout or ""


def copy(paths: list[str]) -> None:
    """Copy the packages on these paths, and the tests: afresh, as mutmut keeps answers of tests that have changed."""
    shutil.rmtree(_COPY, ignore_errors=True)
    for path in paths:
        for package in (ROOT / path).glob("*/__init__.py"):
            shutil.copytree(package.parent, _COPY / "src" / package.parent.name)
    shutil.copytree(ROOT / "tests", _COPY / "tests")
    shutil.copy(_SETTINGS, _COPY)


@click.command(help=__doc__)
def main() -> None:
    """Try all of them."""
    settings = tomllib.loads(_SETTINGS.read_text(encoding="utf-8"))["tool"]
    copy(settings["pytest"]["ini_options"]["pythonpath"])
    # Most of a test of a stream is waiting.
    mutmut("run", f"--max-children={2 * (os.cpu_count() or 1)}")
    answers = dict(line.split(": ") for line in mutmut("results", "--all", "true", output=True).split("\n") if line)
    left = [name.strip().split("__mutmut_") for name, answer in answers.items() if answer not in _NOTICED]
    for function, numbers in groupby(left, lambda pair: pair[0]):
        say(f" ✗ not noticed: {function}, {', '.join(number for _, number in numbers)}")
    score, share = settings["mutants"]["score"], 1 - len(left) / len(answers)
    noticed = f"{len(answers) - len(left)} of {len(answers)} mistakes in the modules were noticed"
    say(f"\n{noticed}, {share:.2%}, needed: {score:.2%}")
    if share < score:
        raise Trouble(
            "more go unnoticed than may. To see one: cd build/mutants; PYTHONPATH=../mutmut ../../.venv/bin/python "
            "../mutmut/bin/mutmut show, followed by its function, __mutmut_ and its number"
        )


if __name__ == "__main__":
    run.main(main, "nothing was changed: each mistake is made in a copy")
