"""What leaves the machine: images, chart and lists of packages, pushed to a registry that is started here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cluster import images, publish, run, tools
from cluster.run import ROOT, Trouble


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    command = [tools.find("crane"), "registry", "serve", "--address=127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        found = re.search(r"serving on port (\d+)", process.stderr.readline())
        assert found
        yield f"127.0.0.1:{found[1]}/team"
        process.terminate()


@pytest.fixture(scope="module")
def pushed(registry: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster", "push", "--registry", registry]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)


def crane(*arguments: str) -> Any:
    return json.loads(run.output(tools.find("crane"), *arguments))


def inspect(image: str) -> dict[str, Any]:
    (found,) = json.loads(run.output("docker", "image", "inspect", image))
    return dict(found)


@pytest.mark.parametrize("image", images.OURS)
def test_what_was_built_is_what_the_registry_has(
    registry: str, pushed: subprocess.CompletedProcess[str], image: str
) -> None:
    assert pushed.returncode == 0, pushed.stderr
    config = crane("config", f"{registry}/{image}")
    assert config["rootfs"]["diff_ids"] == inspect(image)["RootFS"]["Layers"]
    assert config["config"]["User"] == "10001:10001"
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == images.VERSION
    assert {"title", "description", "licenses"} <= {name.rpartition(".")[2] for name in labels}


def test_the_chart_comes_out_of_the_registry_as_it_was_packed(
    registry: str, pushed: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    annotations = crane("manifest", f"{registry}/streaming:0.1.0")["annotations"]
    assert annotations["org.opencontainers.image.title"] == "streaming"
    assert annotations["org.opencontainers.image.licenses"] == "MIT"
    pull = ("pull", f"oci://{registry}/streaming", "--plain-http", "--destination", tmp_path)
    run.output(tools.find("helm"), *pull)
    (archive,) = tmp_path.iterdir()
    assert archive.read_bytes() == (ROOT / "build" / archive.name).read_bytes()


def test_a_push_says_how_to_install_from_there_and_leaves_no_names_in_the_engine(
    registry: str, pushed: subprocess.CompletedProcess[str]
) -> None:
    assert f"helm install streaming oci://{registry}/streaming --set image.repository={registry}/" in pushed.stderr
    assert registry not in run.output("docker", "images", "--format", "{{.Repository}}")


def test_a_registry_that_does_not_answer_is_named() -> None:
    with pytest.raises(Trouble, match=r"Push 127.0.0.1:1/streamproof:0.1.0: failed"):
        publish.push("127.0.0.1:1")


def test_the_list_of_an_image_names_its_debian_and_its_python_packages() -> None:
    image = images.APP
    listed = json.loads(publish.sbom(image).read_text())
    assert (listed["bomFormat"], listed["metadata"]["component"]["type"]) == ("CycloneDX", "container")
    purls = {unquote(each.get("purl", "").partition("?")[0]) for each in listed["components"]}
    there = run.output("docker", "run", "--rm", "--entrypoint", "dpkg-query", image, "-W", "-f", "${Package}\n").split()
    assert {"libc6", "base-files"} <= set(there)
    assert set(there) <= {purl.split("/")[-1].partition("@")[0] for purl in purls if purl.startswith("pkg:deb/debian/")}
    locked = (ROOT / "app" / "requirements.txt").read_text()
    for package in ("django", "gunicorn"):
        found = re.search(rf"^{package}==(\S+)", locked, re.MULTILINE)
        assert found
        assert f"pkg:pypi/{package}@{found[1]}" in purls


@pytest.mark.parametrize(("image", "at_most"), [(images.APP, 175), (images.STREAMPROOF, 155)])
def test_an_image_is_little_more_than_its_base(image: str, at_most: int) -> None:
    """In megabytes, before compression. Debian with Python is some 115 of them, or with upstream's Python some 125."""
    layers = run.output("docker", "history", "--human=false", "--format", "{{.Size}}", image).split()
    assert 100e6 < sum(int(layer) for layer in layers) < at_most * 1e6
