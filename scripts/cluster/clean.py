"""Undoes all that was put on this machine, but only what can be proven to be ours, and lists it; the rest is named.

Runs by the machine's Python alone, as .venv may be gone. Safe to interrupt and to repeat: the record of a thing goes
after the thing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster import engine, ledger, run, tools
from cluster.run import CACHE, ROOT, Trouble

# What k8s/from-registries builds: its names, and tags that end in a digest of what an image is made of.
_BUILT = re.compile(
    r"streaming/(node|ingress-nginx-controller|envoy-gateway|envoy|traefik):v[0-9][\w.]*-[0-9a-f]{12}"
    r"|streaming/node:preloaded"
    r"|streaming-build/(node|kube-proxy|python|controller|builder):[0-9a-f]{12}"
    r"|streaming-build/node-empty:v[0-9][\w.]*-[0-9a-f]{12}"
)
_PRELOAD = "streaming-build-preload"  # its container, if it was interrupted
_STOP_SECONDS = 30


@dataclass
class Report:
    """What came of it.

    Attributes:
        done: what was removed or stopped.
        kept: what might be ours, and why it was left alone.
        failed: what should have gone, and why it did not.
        stays: what nobody removes, for the user to know.
        records: files in the cache that are still needed, by the engine or by the next `make clean`.
    """

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    records: set[Path] = field(default_factory=set)

    @contextlib.contextmanager
    def trying(self, *records: Path) -> Iterator[None]:
        """Note a failure instead of ending with it.

        Args:
            records: what is needed to try again.
        """
        try:
            yield
        except (Trouble, OSError, ValueError) as error:
            self.failed.append(str(error))
            self.records |= {*records, CACHE / "logs"}

    def tell(self) -> None:
        """Print all of it."""
        for sign, lines in (("✓ ", self.done), ("• kept ", self.kept), ("✗ ", self.failed)):
            for line in lines:
                run.say(f" {sign}{line}")
        if not (self.done or self.kept or self.failed):
            run.say(" ✓ nothing was there to undo")
        if self.stays:
            run.say("\nThis stays on the machine:")
        for line in self.stays:
            run.say(f" • {line}")


def main() -> int:
    """Undo it, and return the exit status."""
    report = Report()
    try:
        _undo(report)
    finally:
        report.tell()
    return 1 if report.failed else 0


def _undo(report: Report) -> None:
    names = {path.stem for path in engine.CLUSTERS.glob("*.json")}
    with report.trying(ledger.FILE, engine.CLUSTERS):
        if shutil.which("docker") and _reachable(names, report):
            names -= _clusters(names, report)
            _images(report)
    with report.trying(ledger.FILE, engine.INSTALLED, engine.PID_FILE, CACHE / engine.RUNTIME_NAME):
        _packages(_engine(report), report)
    with report.trying(ledger.FILE, engine.INSTALLED):
        _data(report)
    _contexts(names, report)
    _interrupted_installation(report)
    _folders(report)


def _reachable(names: set[str], report: Report) -> bool:
    """Tell whether an engine answers; start ours if it does not run, as only it can tell what it holds.

    Raises:
        Trouble: it does not, and there are clusters from here in it.
    """
    if engine.answers():
        return True
    if "docker.io" in _recorded() & engine.installed() and not os.environ.get("DOCKER_HOST"):
        engine.start()
        return True
    if names:
        raise Trouble(f"no Docker engine answers: start it, and run this again to remove {', '.join(sorted(names))}")
    if CACHE.exists() and not ledger.noted("emptied"):
        report.kept.append("what may be in the Docker engine: it does not answer")
    return False


def _clusters(names: set[str], report: Report) -> set[str]:
    """Remove nodes of clusters: those that a record lists, and those with our mark.

    Args:
        names: of the clusters that have a record.
        report: what came of it.

    Returns:
        The names among them that are others' by now.
    """
    recorded = set()
    for path in engine.CLUSTERS.glob("*.json"):
        with contextlib.suppress(ValueError):  # what can't be read proves nothing
            recorded |= set(json.loads(path.read_text()).get("containers", {}).values())
    nodes = engine.nodes()
    ours = [node for node in nodes if node.marked or node.identity in recorded]
    others = [node for node in nodes if node not in ours]
    kind = next(filter(None, (shutil.which(name) for name in (str(tools.BIN / "kind"), "kind"))), None)
    for name in sorted({node.cluster for node in ours}):
        with report.trying(engine.CLUSTERS):
            for node in ours:
                if node.cluster == name:
                    run.output("docker", "rm", "--force", "--volumes", node.identity)
            report.done.append(f"removed the cluster {name}")
            if kind and name not in {node.cluster for node in others}:
                run.output(kind, "delete", "cluster", "--name", name)  # its entries in the kubeconfig
    theirs = {node.cluster for node in others} & names
    report.kept += [f"the cluster {name}: its nodes are not those that were made from here" for name in sorted(theirs)]
    with report.trying(engine.CLUSTERS, ledger.FILE):
        if "kind" in run.output("docker", "network", "ls", "--format", "{{.Name}}").split():
            used = run.output("docker", "ps", "--all", "--quiet", "--filter", "network=kind")
            if "kind" in ledger.noted("network") and not used:
                run.output("docker", "network", "rm", "kind")
                report.done.append("removed the Docker network kind")
            elif not used:
                report.stays.append("the Docker network kind, which all kind clusters share: docker network rm kind")
    return theirs


def _images(report: Report) -> None:
    """Remove images by name, without force: one that a container uses stays."""
    with report.trying():
        container = run.output(
            "docker", "ps", "--all", "--filter", f"name=^{_PRELOAD}$", "--format", "{{.ID}} {{.Image}}"
        )
        identity, _, image = container.partition(" ")
        if _BUILT.fullmatch(image):
            run.output("docker", "rm", "--force", identity)
            report.done.append(f"removed the container {_PRELOAD}")
    for name in _our_images():
        with report.trying(ledger.FILE):
            _remove_image(name, report)


def _remove_image(name: str, report: Report) -> None:
    try:
        run.output("docker", "rmi", name)
        report.done.append(f"removed the image {name}")
    except Trouble as error:
        if "conflict" not in str(error):
            raise
        report.kept.append(f"the image {name}: {str(error).rpartition('conflict: ')[2]}")
        report.records.add(ledger.FILE)


def _our_images() -> list[str]:
    names = run.output("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    labelled = run.output("docker", "images", "--quiet", "--filter", f"label={ledger.LABEL}").split()
    told = f'{{{{index .Config.Labels "{ledger.LABEL}"}}}} {{{{join .RepoTags " "}}}}'
    built = set()
    for line in run.output("docker", "image", "inspect", "--format", told, *labelled).splitlines() if labelled else ():
        own, *tags = line.split()
        built |= {own} & set(tags)
    pulled = {name for name in ledger.noted("image") if run.succeeds("docker", "image", "inspect", name)}
    return sorted(built | pulled | {name for name in names if _BUILT.fullmatch(name)})


def _engine(report: Report) -> set[str]:
    """Stop the engine if it is ours and holds nothing of others; return the packages that may go."""
    process, packages = engine.running(), _recorded() & _present()
    ours = "docker.io" in packages & engine.installed()
    if not (ours or process):
        return packages
    reason = _needed(process, report)
    if ours and not reason and (needed := _removable(packages)[1].get("docker.io")):
        reason = f"apt-get would also remove or install {', '.join(sorted(needed))}"
    if reason:
        report.kept.append(f"the Docker engine: {reason}")
        report.records |= {ledger.FILE, engine.INSTALLED, engine.PID_FILE, CACHE / engine.RUNTIME_NAME}
        return packages - set(engine.PACKAGES)
    _network_leftovers(report)
    if process:
        _stop(process)
        report.done.append("stopped the Docker engine")
    if ours:
        ledger.note("emptied", "docker")
    return packages


def _needed(process: int | None, report: Report) -> str:
    """Return why the engine on this machine must stay, or nothing."""
    docker = ("docker", "--host=unix:///var/run/docker.sock")  # DOCKER_HOST may name another machine's
    if not run.succeeds(*docker, "version"):
        return "it does not answer, so what it holds is not known"
    if not process and not Path("/run/systemd/system").is_dir():
        return "the one that runs was not started from here"
    held = {
        "containers": run.output(*docker, "ps", "--all", "--format", "{{.Names}}"),
        "images": run.output(*docker, "images", "--filter=dangling=false", "--format", "{{.Repository}}:{{.Tag}}"),
        "volumes": run.output(*docker, "volume", "ls", "--format", "{{.Name}}"),
    }
    told = [f"{what}: {', '.join(names.split())}" for what, names in held.items() if names]
    if told and run.output(*docker, "images", "--quiet", "--filter=dangling=true"):
        report.stays.append("images without a name in the Docker engine, whoever built them: docker image prune")
    return f"it holds what did not come from here ({'; '.join(told)})" if told else ""


def _stop(process: int) -> None:
    os.kill(process, signal.SIGTERM)
    until = time.monotonic() + _STOP_SECONDS
    while engine.running():
        if time.monotonic() > until:
            raise Trouble(f"the Docker engine, process {process}, does not stop: its packages and data are left alone")
        time.sleep(0.2)


def _network_leftovers(report: Report) -> None:
    """Name what the engine has set in the kernel, and leaves behind."""
    if ledger.noted("forwarding") == ["0"] and engine.FORWARDING.read_text().strip() == "1":
        report.stays.append("net.ipv4.ip_forward, 1 since the engine was started, and 0 before: sysctl -w sets it back")
        # Only then does an engine set it.
        policy = run.output("iptables", "-S", "FORWARD").split()[2] if shutil.which("iptables") else "ACCEPT"
        if policy != "ACCEPT":
            report.stays.append(
                f"the policy of iptables' chain FORWARD, {policy} since then, until the machine restarts"
            )
    for path in sorted(Path("/sys/class/net").glob("docker*")):
        report.stays.append(f"the interface {path.name} and the engine's rules of iptables, until the machine restarts")


def _recorded() -> set[str]:
    try:
        return set(engine.INSTALLED.read_text().split())
    except OSError:
        return set()


def _present() -> set[str]:
    """Return the packages of which anything is there, if only the configuration."""
    if not shutil.which("dpkg-query"):
        return set()
    lines = run.output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n").splitlines()
    return {line.split()[0] for line in lines if not line.endswith(" not-installed")}


def _removable(packages: set[str]) -> tuple[set[str], dict[str, set[str]]]:
    """Return which packages can be removed without any other, and for each of the rest what else it would concern."""
    removable: set[str] = set()
    needed: dict[str, set[str]] = {}
    if packages and not _others(packages, packages)[0]:
        return packages, {}
    for name in sorted(packages):
        if name not in removable:
            others, gone = _others({name}, packages)
            if others:
                needed[name] = others
            else:
                removable |= gone
    return removable, needed


def _others(packages: set[str], ours: set[str]) -> tuple[set[str], set[str]]:
    """Return what apt-get would remove or install that is not ours, were it to remove packages, and what is ours."""
    told = run.output("apt-get", "--simulate", "purge", *sorted(packages))
    changed = set(re.findall(r"^(?:Inst|Remv|Purg) ([^ :]+)", told, re.MULTILINE))
    return changed - ours, changed & ours


def _packages(packages: set[str], report: Report) -> None:
    """Remove packages that were installed from here, unless others would go with them."""
    removable, needed = _removable(packages)
    # What goes one by one may not go together: then nothing goes.
    if needed and removable and (others := _others(removable, removable)[0]):
        needed |= dict.fromkeys(removable, others)
        removable = set()
    for name, others in sorted(needed.items()):
        # What only the engine needs that stays was told of with it.
        if theirs := others - _recorded():
            report.kept.append(f"the package {name}: apt-get would also remove or install {', '.join(sorted(theirs))}")
    if (_recorded() & _present()) - removable:
        report.records |= {engine.INSTALLED, ledger.FILE}
    if removable:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run.step("Remove packages", "apt-get", "remove", "-y", *sorted(removable), env=quiet, log="apt-remove")
        # With it, Debian's docker.io takes along all data when it is purged, whoever's it is.
        (engine.DATA[0] / "nuke-graph-directory.sh").unlink(missing_ok=True)
        run.step("Remove their settings", "apt-get", "purge", "-y", *sorted(removable), env=quiet, log="apt-purge")
        report.done.append(f"removed the packages {', '.join(sorted(removable))}")


def _data(report: Report) -> None:
    """Remove the folders in which the engine has kept its data, if they came with it, and others had nothing in it."""
    if "docker.io" not in _recorded() or "docker.io" in _present():
        return
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for folder, program in zip(engine.DATA, ("dockerd", "containerd"), strict=True):
        if not os.path.lexists(folder):
            continue
        if str(folder) not in ledger.noted("folder"):
            reason = "it is not noted that it was absent before the engine was installed from here"
        elif not ledger.noted("emptied"):
            reason = "it is not known whether the engine held anything of yours"
        elif shutil.which(program):
            reason = f"a {program} is installed that may use it"
        elif folder.is_symlink() or any(f"{mount}/".startswith(f"{folder}/") for mount in mounts):
            reason = "it leads to another disk or folder"
        else:
            shutil.rmtree(folder)
            report.done.append(f"removed {folder}")
            continue
        report.kept.append(f"{folder}: {reason}")


def _contexts(names: Iterable[str], report: Report) -> None:
    """Name contexts of kubectl that lead to a cluster of ours no more."""
    for path in (os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")).split(os.pathsep):
        with contextlib.suppress(OSError):
            text = Path(path).read_text()
            for name in names:
                if re.search(rf"^(- |  )name: kind-{re.escape(name)}$", text, re.MULTILINE):
                    report.stays.append(f"the context kind-{name} in {path}: kubectl config delete-context kind-{name}")


def _interrupted_installation(report: Report) -> None:
    """Name packages that an interrupted installation may have brought."""
    if engine.BEFORE.exists():
        since = engine.installed() - set(engine.BEFORE.read_text().split()) - _recorded()
        if since:
            report.kept.append(
                f"the packages {' '.join(sorted(since))}: they came after an installation that was interrupted began, "
                "from here or from elsewhere"
            )


def _folders(report: Report) -> None:
    """Remove caches and what was built in the checkout, and keep the records of what is still there."""
    for folder in (tools.BIN, ROOT / "build"):
        with report.trying():
            if folder.exists():
                shutil.rmtree(folder)
                report.done.append(f"removed {folder}")
    with report.trying():
        environment = ROOT / ".venv"
        if (environment / "complete").exists():
            shutil.rmtree(environment)
            report.done.append(f"removed {environment}")
        elif environment.exists():
            report.kept.append(f"{environment}: it may be yours, or of an interrupted `make`, as it is not complete")
    with report.trying():
        if not CACHE.exists():
            return
        for path in CACHE.iterdir():
            if path in report.records:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if any(CACHE.iterdir()):
            report.kept.append(f"{CACHE}: the next `make clean` needs what is left there")
        else:
            CACHE.rmdir()
            report.done.append(f"removed {CACHE}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        run.say("\ninterrupted: the same command goes on from here")
        sys.exit(130)
