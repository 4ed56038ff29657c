"""What is chosen on which machine: tools, engine, images; and what is said where nothing can be chosen."""

from __future__ import annotations

import itertools
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from cluster import edges, engine, images, ledger, publish, run, tools
from cluster.run import ROOT, Trouble

from tests.unit.cluster.stubs import stub


def program(folder: Path, name: str, prints: str) -> Path:
    """Put a program on a PATH of its own that tells a version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "prints", "fits"),
    [
        ("kind", "kind v0.33.0 go1.26.8 linux/amd64", True),
        ("kind", "kind v0.20.0 go1.20.4 linux/amd64", False),
        ("helm", "v3.21.4+g1234567", True),
        ("helm", "v4.3.1+g1234567", False),
        ("kube-score", "kube-score version: v1.20.0, commit: N/A, built: N/A", True),
        ("kube-score", "kube-score version: v1.21.0, commit: 1234567, built: now", False),
        ("kubectl", "Client Version: v1.35.2\nKustomize Version: v5.8.1", True),
        ("kubectl", "Client Version: v1.32.4-dispatcher", False),
        ("kubectl", "no version at all", False),
    ],
)
def test_a_tool_on_path_is_taken_only_in_a_version_that_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, prints: str, fits: bool
) -> None:
    found = program(tmp_path, name, prints)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(tools, "BIN", tmp_path / "bin")
    monkeypatch.setattr(tools, "_build", lambda tool: Path("built"))
    assert tools.find(name) == (str(found) if fits else "built")


def test_the_engine_that_lets_nobody_in_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_unreachable", lambda: "dial unix /var/run/docker.sock: permission denied")
    with pytest.raises(Trouble, match=r"add yourself to the group docker .* `make local`"):
        engine.ensure()


def test_where_no_engine_may_be_installed_make_local_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "_unreachable", lambda: "no such file")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Trouble, match=r"no Docker engine answers: install Docker .* `make local`"):
        engine.ensure()


def test_the_engine_is_started_on_a_machine_that_has_no_cache_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Docker may be installed where nothing of ours has ever run, or where the cache was removed."""
    program(tmp_path, "dockerd", "asked to start")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(engine, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(engine, "PID_FILE", tmp_path / "cache" / "dockerd.pid")
    monkeypatch.setattr(engine, "_unreachable", lambda: "no such file")
    monkeypatch.setattr(engine, "lacks_sys_resource", lambda: True)
    monkeypatch.setattr(engine, "apt_install", lambda *packages: None)
    with pytest.raises(Trouble, match="engine stopped right after its start"):
        engine.start()
    assert (tmp_path / "cache" / "logs" / "dockerd.log").read_text() == "asked to start\n"


def test_the_capability_is_read_from_the_bounding_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for bounding, lacks in (("000001ffffffffff", False), ("000001fffeffffff", True)):
        text = f"Name:\tx\nCapBnd:\t{bounding}\n"
        monkeypatch.setattr(Path, "read_text", lambda self, text=text: text)
        assert engine.lacks_sys_resource() is lacks


DOCKER = {"image inspect *": Trouble("no such image"), "manifest inspect *": "{}", "pull *": ""}
HELM = '#!/bin/sh\n[ "$1" = version ] && echo v3.21.4 && exit\necho "$*" >> "$0.log"\nfor to; do :; done\n'
REFUSED = Trouble("Error response from daemon: Get https://registry.test/v2/: connection refused")


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mapping[str, str | Exception]], Path]:
    """Have a docker that answers so, beside a helm that fetches charts; returns the file of what docker was asked."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for module, name in ((tools, "BIN"), (images, "CACHE"), (run, "CACHE"), (ledger, "FILE")):
        monkeypatch.setattr(module, name, tmp_path / "cache" / "put-here" if name == "FILE" else tmp_path / "cache")
    (tmp_path / "helm").write_text(HELM + 'touch "$to/chart.tgz"\n')
    (tmp_path / "helm").chmod(0o755)
    return lambda answers: stub(tmp_path, "docker", answers | {each: DOCKER[each] for each in DOCKER.keys() - answers})


def test_forcing_upstream_without_a_registry_says_what_docker_says(
    upstream: Callable[[Mapping[str, str | Exception]], Path],
) -> None:
    upstream({"pull *": REFUSED})
    edge = edges.find(edges.DEFAULT)
    path = images.choose("upstream", "", edge)
    with pytest.raises(
        Trouble, match=r"(?s)^the images from upstream can't be had\..*connection refused.*IMAGES unset"
    ):
        images.get(path, edge)


def test_docker_is_asked_which_images_can_be_had_and_why_not(
    upstream: Callable[[Mapping[str, str | Exception]], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(engine, "may_use_apt", lambda: True)
    monkeypatch.setenv("FROM_REGISTRIES", "Makefile")
    for refused in ("pull *", "manifest inspect *"):
        upstream({refused: REFUSED})
        assert images.choose("", "", edges.find(edges.DEFAULT)) == "registries"
        assert f"can't be had: {'docker manifest' if refused[0] == 'm' else REFUSED}" in capsys.readouterr().err
    upstream({})
    assert images.choose("", "", edges.find(edges.DEFAULT)) == "upstream"


def test_a_cluster_of_upstreams_images_needs_no_network(
    upstream: Callable[[Mapping[str, str | Exception]], Path], tmp_path: Path
) -> None:
    edge = edges.find(edges.DEFAULT)
    upstream({})
    images.get("upstream", edge)
    (tmp_path / "docker.log").unlink()
    asked = upstream({"image inspect *": "[]", "pull *": REFUSED, "manifest *": REFUSED})
    assert images.choose("", "upstream", edge) == "upstream"
    (chart,) = images.get("upstream", edge).edge_chart
    assert Path(chart).is_file()
    assert (tmp_path / "helm.log").read_text().count("pull") == 1
    assert asked.read_text().splitlines()[-1].startswith("image inspect kindest/node@sha256:")


@pytest.mark.parametrize("path", ["registries", "upstream"])
def test_a_path_that_is_known_is_gone_without_a_look_at_registries(
    upstream: Callable[[Mapping[str, str | Exception]], Path], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(engine, "may_use_apt", lambda: True)
    monkeypatch.setenv("FROM_REGISTRIES", "Makefile")
    asked = upstream({})
    for forced, before in ((path, ""), ("", path)):
        assert images.choose(forced, before, edges.find(edges.DEFAULT)) == path
    assert not asked.read_text()


def test_without_registries_and_without_the_builder_nothing_is_made(
    upstream: Callable[[Mapping[str, str | Exception]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream({"pull *": REFUSED})
    monkeypatch.delenv("FROM_REGISTRIES", raising=False)
    with pytest.raises(Trouble, match="nothing here to build the images from"):
        images.choose("", "", edges.find(edges.DEFAULT))


def test_upstreams_images_are_pinned() -> None:
    assert re.fullmatch(r"kindest/node:v1\.35\.\d+@sha256:[0-9a-f]{64}", images._NODE)
    for name in edges.NAMES:
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", dict(itertools.pairwise(edges.find(name).chart))["--version"])


def test_an_edge_that_there_is_not_is_refused_by_a_sentence_that_lists_them() -> None:
    with pytest.raises(Trouble, match=r"^there is no edge nginx: set EDGE to one of envoy-gateway, ingress-nginx, tr"):
        edges.find("nginx")


def test_the_images_that_are_built_are_those_that_the_chart_runs() -> None:
    values = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text())
    chart = yaml.safe_load((ROOT / "chart" / "Chart.yaml").read_text())
    for image, built in ((values["image"], images.APP), (values["test"]["image"], images.STREAMPROOF)):
        assert f"{image['repository']}:{image['tag'] or chart['appVersion']}" == built


def test_the_base_image_is_pinned() -> None:
    texts = [(folder / "Dockerfile").read_text() for folder in (ROOT, ROOT / "scripts" / "streamproof")]
    bases = {base for text in texts for base in re.findall("^ARG BASE=(.*)$", text, re.MULTILINE)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", bases.pop())


def locked(path: str) -> dict[str, str]:
    """Return the versions of a requirements file by package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / path).read_text(), re.MULTILINE))


def test_the_images_hold_the_versions_that_are_tested_here_and_all_that_streamproof_needs() -> None:
    image = locked("scripts/streamproof/requirements.txt")
    assert (image | locked("app/requirements.txt")).items() <= locked("requirements/dev.txt").items()
    project = tomllib.loads((ROOT / "scripts" / "streamproof" / "pyproject.toml").read_text())["project"]
    assert {re.split("[^a-z0-9-]", each)[0] for each in project["dependencies"]} <= image.keys()


@pytest.mark.parametrize(
    ("name", "files", "sentence"),
    [
        ("shop", [], "must be the folder of a Django project with a Dockerfile: docs/your-app.md says"),
        ("My Shop", ["Dockerfile"], "the image gets the folder's name, and that may have only lower-case letters"),
        ("shop_", ["Dockerfile"], "the image gets the folder's name, and that may have only lower-case letters"),
    ],
)
def test_a_project_that_no_image_can_be_made_of_is_refused(
    tmp_path: Path, name: str, files: list[str], sentence: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in files:
        (folder / file).touch()
    with pytest.raises(Trouble, match=f"^PROJECT is '{folder}', but .*{sentence}"):
        images.project(str(folder))


def test_the_image_of_a_project_has_the_name_of_its_folder_and_the_version_that_the_chart_runs(tmp_path: Path) -> None:
    (tmp_path / "my-shop").mkdir()
    (tmp_path / "my-shop" / "Dockerfile").touch()
    assert images.project(f"{tmp_path}/my-shop/") == ("my-shop:0.1.0", tmp_path / "my-shop")


@pytest.mark.parametrize(
    ("registry", "plain"),
    [
        ("127.0.0.1:5000", True),
        ("localhost:5000/team", True),
        ("registry.test:5000", False),
        ("127.0.0.1.test", False),
    ],
)
def test_only_a_registry_on_this_machine_is_spoken_to_without_tls(registry: str, plain: bool) -> None:
    assert publish._is_loopback(registry) is plain


def test_every_target_of_the_makefile_is_listed_by_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    listed = set(re.findall(r"^ *make ([a-z-]+) ", run.output("make", "-C", ROOT, "help"), re.MULTILINE))
    assert listed == phony


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any, whatever this one has."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_CHROME_OF_MACOS", str(tmp_path / "Google Chrome.app"))


@pytest.mark.usefixtures("no_browser")
@pytest.mark.parametrize("name", ["chromium", "google-chrome", "Google Chrome.app"])
def test_a_browser_that_is_there_is_taken(tmp_path: Path, name: str) -> None:
    found = program(tmp_path, name, "")
    assert tools.chromium() == str(found)


@pytest.mark.usefixtures("no_browser")
@pytest.mark.parametrize(("system", "user"), [("ubuntu", 0), ("debian", 1000)])
def test_where_no_browser_may_be_installed_it_is_said_which_one_to(
    monkeypatch: pytest.MonkeyPatch, system: str, user: int
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": system})
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(Trouble, match="no chromium or google-chrome is on PATH"):
        tools.chromium()


@pytest.mark.usefixtures("no_browser")
def test_a_missing_browser_is_installed_with_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    asked: list[str] = []
    monkeypatch.setattr(engine, "apt_install", lambda *packages: asked.extend(packages))
    assert tools.chromium() == "/usr/bin/chromium"
    assert "chromium" in asked
    assert any(package.startswith("fonts-") for package in asked)


@pytest.fixture
def no_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any, and the folder that its programs are in."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(tools, "_POSTGRESQL", tmp_path / "nowhere")
    monkeypatch.setattr(tools, "CACHE", tmp_path / "cache")
    return programs


def test_the_newest_postgresql_of_the_machine_is_taken(
    no_postgresql: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("15", "17"):
        (tmp_path / "postgresql" / version / "bin").mkdir(parents=True)
        program(tmp_path / "postgresql" / version / "bin", "initdb", "")
    monkeypatch.setattr(tools, "_POSTGRESQL", tmp_path / "postgresql")
    assert tools.postgresql(tmp_path / "unpacked") == (tmp_path / "postgresql" / "17" / "bin", {})


def test_a_user_who_may_not_fetch_postgresql_is_told_to_install_it(
    no_postgresql: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Trouble, match="no PostgreSQL is on this machine"):
        tools.postgresql(tmp_path / "unpacked")


def test_postgresql_is_unpacked_and_not_installed(
    no_postgresql: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = tmp_path / "unpacked"
    where = folder / "usr" / "lib" / "postgresql" / "15" / "bin"
    fetched = 'for one; do case "$one" in Dir::Cache::archives=*) touch "${one#*=}/postgresql.deb" ;; esac; done'
    asked = tmp_path / "asked"
    for name, does in (
        ("apt-get", f'echo "$@" >> {asked}; {fetched}'),
        ("dpkg-deb", f"mkdir -p {where} {folder}/usr/lib/x86_64-linux-gnu; touch {where}/initdb"),
    ):
        program(no_postgresql, name, "").write_text(f"#!/bin/sh\n{does}\n")
    for _ in range(2):
        assert tools.postgresql(folder) == (where, {"LD_LIBRARY_PATH": f"{folder}/usr/lib/x86_64-linux-gnu"})
    update, install = asked.read_text().splitlines()
    assert update == "update"
    assert "--download-only" in install
