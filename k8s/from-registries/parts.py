"""What images are made of: root file systems of Debian packages, programs of Go modules, and files."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from cluster import engine, tools
from cluster.run import CACHE, ROOT, output, step, succeeds

HERE = Path(__file__).resolve().parent
WORK = CACHE / "from-registries"
APP_PACKAGES = "python3 ca-certificates tzdata"


def digest(*parts: str) -> str:
    """Return a digest of all that decides what an image holds: files and folders from here, this file, the runtime."""
    files = sorted(path for part in parts for path in ((HERE / part), *(HERE / part).rglob("*")) if path.is_file())
    total = hashlib.sha256()
    for path in (*files, Path(__file__).resolve(), engine.RUNTIME):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


def has_image(name: str) -> bool:
    """Tell whether the engine has the image."""
    return succeeds("docker", "image", "inspect", name)


def go_download(go_module: str, path: str) -> str:
    """Return the folder of a module's source, fetched at the version that a go.mod pins and checked against its go.sum.

    Args:
        go_module: folder of the go.mod, from go/.
        path: path of the wanted module.
    """
    return str(json.loads(go(go_module, "mod", "download", "-json", path))["Dir"])


def go(go_module: str, *arguments: str) -> str:
    """Return what a go command prints in one of the modules here (or, with a path, elsewhere in the checkout)."""
    environment = [f"{key}={value}" for key, value in tools.go_environment().items()]
    return output("env", "-C", HERE / "go" / go_module, *environment, tools.go(), *arguments, timeout=600)


def build_programs(name: str, ldflags: str = "") -> Path:
    """Build all tools of one go.mod and return the folder with the programs."""
    folder = WORK / "programs" / name
    marker = folder / ".built"
    wanted = hashlib.sha256((HERE / "go" / name / "go.mod").read_bytes() + ldflags.encode()).hexdigest()
    if not (marker.exists() and marker.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = (tools.go(), "build", "-trimpath", "-ldflags", f"-s -w {ldflags}", "-o", f"{folder}/", "tool")
        step(f"Build {name}", *command, cwd=HERE / "go" / name, env=tools.go_environment())
        marker.write_text(wanted)
    return folder


def root_file_system(name: str, suite: str, packages: str) -> str:
    """Install Debian packages into an image of their own and return its name; apt's mirror is the host's."""
    tag = f"streaming-build/{name}:{hashlib.sha256((suite + packages).encode()).hexdigest()[:12]}"
    if not has_image(tag):
        tar = WORK / f"{name}.tar"
        tar.parent.mkdir(parents=True, exist_ok=True)
        # Python's and nginx's documentation and translations are a third of their size, and nobody reads them in a pod.
        lean = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
        include = f"--include={','.join(packages.split())}"
        command = ["mmdebstrap", "--variant=minbase", include, *lean, suite, str(tar)]
        step(f"Install Debian {suite} for {name}", *command, log=f"rootfs-{name}")
        step(f"Import {name}", "docker", "import", tar, tag, log=f"import-{name}")
        tar.unlink()
    return tag


def build_image(tag: str, dockerfile: str, files: dict[str, Path], **arguments: str) -> str:
    """Build an image from files gathered into a context of their own, and return its name.

    Args:
        tag: name of the image.
        dockerfile: text of the Dockerfile.
        files: path in the context to file or folder.
        arguments: build arguments.
    """
    name = re.sub(r"[^a-z0-9]+", "-", tag)
    context = WORK / "contexts" / name
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for target, source in files.items():
        (context / target).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, context / target, dirs_exist_ok=True)
        else:
            shutil.copy(source, context / target)
    (context / "Dockerfile").write_text(dockerfile)
    options = [f"--build-arg={key.upper()}={value}" for key, value in arguments.items()]
    environment = {"DOCKER_BUILDKIT": "0"}  # the engine's own builder: local base images, no frontend to fetch
    step(
        f"Build the image {tag}", "docker", "build", *options, "-t", tag, context, env=environment, log=f"image-{name}"
    )
    shutil.rmtree(context)
    return tag


def forget_older(tag: str) -> None:
    """Remove the images that an earlier state of this folder made; one that a cluster still uses stays."""
    repository = tag.split(":")[0]
    for name in output("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository).splitlines():
        if name != tag:
            succeeds("docker", "rmi", name)
