"""The distribution, as it would be published."""

import email
import re
import sys
import zipfile
from pathlib import Path

import pytest
from cluster.run import ROOT

from tests import distributions

SOURCE = ROOT / "scripts" / "streamproof"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the sdist, and the wheel that was built from it."""
    return distributions.build(SOURCE, tmp_path_factory.mktemp("package"))


def test_the_index_would_take_it(built: Path) -> None:
    distributions.check(built)


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    distributions.check_files(SOURCE, "streamproof", built)


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
    site = distributions.install(built, tmp_path / "site")
    # Safe path, so that it is not the checkout's package that is found.
    code = "from streamproof import cli, page; print(page.__file__); cli.main(['--help'])"
    told = distributions.run(sys.executable, "-P", "-c", code, PYTHONPATH=site)
    assert told.startswith(site)
    assert "verify" in told


def test_links_of_the_readme_work_where_it_is_published() -> None:
    targets = re.findall(r"\]\(([^)]+)\)|^\[[^]]+\]: (\S+)", (SOURCE / "README.md").read_text(), re.MULTILINE)
    assert targets
    for target in (one or other for one, other in targets):
        assert target.startswith(("https://", "#")), f"{target} leads nowhere from the page of the package"


def test_until_it_is_published_nothing_says_to_install_it_by_its_name_alone() -> None:
    distributions.check_pages("streamproof")
