"""The distribution of django-streamproof, as it would be published, and the wheel that images are made with."""

import os
import sys
from pathlib import Path

import pytest
from cluster import images
from cluster.run import ROOT

from tests import distributions

SOURCE = ROOT / "app" / "django-streamproof"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the sdist, and the wheel that was built from it."""
    return distributions.build(SOURCE, tmp_path_factory.mktemp("package"))


def test_the_index_would_take_it(built: Path) -> None:
    distributions.check(built)


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    distributions.check_files(SOURCE, "django_streamproof", built)


def test_what_is_installed_serves(built: Path, tmp_path: Path) -> None:
    site = distributions.install(built, tmp_path / "site")
    # Safe path, so that it is not the checkout's package that is found.
    code = "from django_streamproof import workers; print(workers.__file__)"
    told = distributions.run(sys.executable, "-P", "-c", code, PYTHONPATH=site)
    assert told.startswith(site)


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
    distributions.check_pages("django-streamproof")
