"""A distribution of this project, as it would be published: what its tests build and look into."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from cluster.run import ROOT


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(source: Path, folder: Path) -> Path:
    """Return the folder with the sdist, and the wheel that was built from it."""
    # A copy, as setuptools writes beside its sources.
    copy = shutil.copytree(source, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy)
    return folder / "dist"


def check(built: Path) -> None:
    """See that the index would take it."""
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())


def install(built: Path, folder: Path) -> str:
    """Install the wheel into a folder, and return that."""
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel)
    return str(folder)


def check_files(source: Path, package: str, built: Path) -> None:
    """See that the wheel holds every file of the package, and the licence."""
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {str(file.relative_to(source)) for file in (source / package).rglob("*") if file.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= held
    (licence,) = (name for name in held if name.endswith("/LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def check_pages(name: str) -> None:
    """See that nothing says to install it by its name alone."""
    command = ("git", "-C", ROOT, "grep", "-nEI", rf"pip install +(-[^ ]+ +)*['\"]?{name}", "--", ":!tests")
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")
