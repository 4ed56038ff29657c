"""The distribution of django-streamproof, as it would be published, and the wheel that images are made with."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cluster import images
from cluster.run import ROOT

SOURCE = ROOT / "app" / "django-streamproof"


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("package")
    # A copy, as setuptools writes beside its sources.
    source = shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source)
    return folder / "dist"


def test_the_index_would_take_it(built: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    package = {str(file.relative_to(SOURCE)) for file in (SOURCE / "django_streamproof").rglob("*") if file.is_file()}
    assert {name for name in package if "__pycache__" not in name} <= held
    (licence,) = (name for name in held if name.endswith("/LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_what_is_installed_serves(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    # Safe path, so that it is not the checkout's package that is found.
    code = "from django_streamproof import workers; print(workers.__file__)"
    told = run(sys.executable, "-P", "-c", code, PYTHONPATH=str(tmp_path / "site"))
    assert told.startswith(str(tmp_path / "site"))


def test_the_wheel_for_images_is_the_same_for_the_same_sources_and_leaves_nothing_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cluster.images.WHEELS", tmp_path)
    (tmp_path / "django_streamproof-0.0.1-py3-none-any.whl").touch()
    (tmp_path / "other-1.0-py3-none-any.whl").touch()
    before = set(SOURCE.iterdir())
    read = []
    for _ in range(2):
        assert images.wheels() == tmp_path
        (wheel,) = tmp_path.glob("django_streamproof-*")
        read.append(wheel.read_bytes())
        os.utime(SOURCE / "README.md")
    assert read[0] == read[1]
    assert set(SOURCE.iterdir()) == before
    assert (tmp_path / "other-1.0-py3-none-any.whl").exists()


def test_until_it_is_published_nothing_says_to_install_it_by_its_name_alone() -> None:
    command = ("git", "-C", ROOT, "grep", "-nEI", r"pip install +(-[^ ]+ +)*['\"]?django-streamproof", "--", ":!tests")
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")
