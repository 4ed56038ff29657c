"""What leaves this machine: the images and the chart, to a registry, and the lists of what the images hold."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from cluster import images, run, tools
from cluster.run import ROOT, Trouble

_BUILD = ROOT / "build"
_PYTHON_PACKAGES = """
import importlib.metadata, json, platform, sys
found = {each.name: each.version for each in importlib.metadata.distributions()}
# Debian's own Python is among Debian's packages.
python = {} if sys.prefix == "/usr" else {"python": platform.python_version()}
print(json.dumps({"pypi": found, "generic": python}))
"""


def sbom(image: str) -> Path:
    """Write which Debian and Python packages an image holds, as CycloneDX 1.6, and return the file.

    Raises:
        Trouble: the image is not in the engine, or its packages can't be read.
    """
    _check_built(image)
    name, _, version = image.partition(":")
    bom = _debian_packages(image)
    if bom.metadata.component:
        bom.components.add(bom.metadata.component)  # Debian itself, which debsbom puts here
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=image)
    told = run.output("docker", "run", "--rm", "--entrypoint", "python3", image, "-c", _PYTHON_PACKAGES)
    for kind, packages in json.loads(told).items():
        for package, its_version in packages.items():
            purl = PackageURL(kind, name=package, version=its_version)
            bom.components.add(
                Component(
                    name=package, version=its_version, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string()
                )
            )
    bom.register_dependency(bom.metadata.component, bom.components)
    path = _BUILD / f"{name}-{version}.cdx.json"
    path.parent.mkdir(exist_ok=True)
    output = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    output.output_to_file(str(path), allow_overwrite=True, indent=2)
    return path


def _debian_packages(image: str) -> Bom:
    container = run.output("docker", "create", image)
    try:
        export = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
        command = [str(Path(sys.executable).with_name("debsbom")), "generate", "--root=-", "--out=-", "--sbom-type=cdx"]
        command += ["--cdx-schema-version=1.6"]
        done = subprocess.run(command, stdin=export.stdout, capture_output=True, timeout=120)
        export.wait()
    finally:
        run.output("docker", "rm", container)
    if done.returncode != 0 or export.returncode != 0:
        raise Trouble(f"the Debian packages of {image} can't be read: {done.stderr.decode(errors='replace').strip()}")
    bom = Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined]
    assert isinstance(bom, Bom)  # noqa: S101 - from_json has no type of its own
    return bom


def package() -> Path:
    """Write the chart as the archive that `helm install` takes, and return the file."""
    done = run.output(tools.find("helm"), "package", ROOT / "chart", "--destination", _BUILD)
    return Path(done.rpartition(" ")[2])


def push(registry: str) -> None:
    """Push both images and the chart to an OCI registry.

    Args:
        registry: host, with a port and a path or without; `docker login` and `helm registry login` are the user's.

    Raises:
        Trouble: it is no such thing, an image was not built, or the registry refuses.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", registry):
        raise Trouble(
            f"REGISTRY is {registry!r}, but must be a host, with a port and a path or without, such as "
            "registry.example.com/team, and without a scheme"
        )
    for image in images.OURS:
        _check_built(image)
    for image in images.OURS:
        name = f"{registry}/{image}"
        run.output("docker", "tag", image, name)
        try:
            run.step(f"Push {name}", "docker", "push", name, log="push")
        finally:
            run.output("docker", "rmi", name)
    # As docker does by itself.
    plain = ("--plain-http",) if _is_loopback(registry) else ()
    run.step(f"Push the chart to {registry}", tools.find("helm"), "push", package(), f"oci://{registry}", *plain)


def _is_loopback(registry: str) -> bool:
    host = re.split("[:/]", registry)[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_built(image: str) -> None:
    if not run.succeeds("docker", "image", "inspect", image):
        raise Trouble(f"there is no image {image}: run `make image` first")
