"""The distribution, as it would be published."""

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cluster.run import ROOT

SOURCE = ROOT / "scripts" / "streamproof"


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
    package = {str(file.relative_to(SOURCE)) for file in (SOURCE / "streamproof").rglob("*") if file.is_file()}
    assert {name for name in package if "__pycache__" not in name} <= held
    (licence,) = (name for name in held if name.endswith("/LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_page_of_the_package_tells_what_it_is(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
        held = archive.namelist()
    assert (metadata["Name"], metadata["License-Expression"]) == ("streamproof", "MIT")
    assert (metadata["License-File"], metadata["Description-Content-Type"]) == ("LICENSE", "text/markdown")
    assert metadata["Requires-Python"] == ">=3.11"
    assert "sse" in metadata["Keywords"].split(",")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "streamproof/py.typed" in held
    urls = [one.partition(", ")[2] for one in metadata.get_all("Project-URL", [])]
    assert urls
    # What nobody has filled in would be an address of somebody else's.
    assert [one for one in urls if not re.fullmatch(r"https://(?!.*(example|OWNER|TODO|USER))\S+", one)] == []
    assert metadata.get_payload().startswith("# streamproof\n")


def test_what_is_installed_runs(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    # Safe path, so that it is not the checkout's package that is found.
    code = "from streamproof import cli, page; print(page.__file__); cli.main(['--help'])"
    told = run(sys.executable, "-P", "-c", code, PYTHONPATH=str(tmp_path / "site"))
    assert told.startswith(str(tmp_path / "site"))
    assert "verify" in told


def test_links_of_the_readme_work_where_it_is_published() -> None:
    targets = re.findall(r"\]\(([^)]+)\)|^\[[^]]+\]: (\S+)", (SOURCE / "README.md").read_text(), re.MULTILINE)
    assert targets
    for target in (one or other for one, other in targets):
        assert target.startswith(("https://", "#")), f"{target} leads nowhere from the page of the package"


def test_until_it_is_published_nothing_says_to_install_it_by_its_name_alone() -> None:
    command = ("git", "-C", ROOT, "grep", "-nEI", r"pip install +(-[^ ]+ +)*['\"]?streamproof", "--", ":!tests")
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")
