"""Builds from package registries what kind and an edge would pull from image registries.

Debian packages make the root file systems, Go modules the programs, and kind's own module the files that make a node of
a root file system. Takes the name of the edge to build, or none. Prints one JSON object on standard output, for
scripts/cluster:

    node_image    image for `kind create cluster --image`
    kind_patch    what that image needs in the kind configuration
    edge_images   images to load into the nodes for the edge
    edge_chart    folder of the edge's chart that belongs to them
    edge_values   further values for that chart
    base          base image of the images that the Dockerfiles build
    builder       the same, with the wheels for them and pip's own in /wheels

Images are tagged with a digest of what they are made from: a change builds them anew, and what is there is kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from cluster import engine
from cluster.run import ROOT, Trouble, output, say, step
from edge_images import EDGES
from parts import (
    APP_PACKAGES,
    HERE,
    WORK,
    build_image,
    build_programs,
    digest,
    forget_older,
    go_download,
    has_image,
    root_file_system,
)

KUBERNETES = "v1.35.4"  # as in go/kubernetes/go.mod; the last minor version that takes Debian 12's containerd 1.6

# bookworm for what runs systemd: trixie's no longer boots on cgroup v1. trixie for the rest.
NODE_PACKAGES = (
    "systemd systemd-sysv dbus containerd runc iptables nftables iproute2 ethtool util-linux mount kmod "
    "conntrack libseccomp2 pigz e2fsprogs bash ca-certificates curl jq procps socat ebtables "
    "containernetworking-plugins catatonit"
)
KUBE_PROXY_PACKAGES = "iptables nftables conntrack ipset kmod"


def kubernetes_ldflags() -> str:
    """Return the linker flags without which kubeadm refuses a build: the version that the binaries report."""
    major, minor, _ = KUBERNETES.lstrip("v").split(".")
    values = {
        "gitVersion": KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "unknown",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


def node_image() -> str:
    """Build the node image: kind's files on Debian, Kubernetes' programs, and the control plane's images preloaded."""
    tag = f"streaming/node:{KUBERNETES}-{digest('build.py', 'node', 'go/kubernetes', 'go/etcd', 'go/coredns')}"
    if has_image(tag):
        return tag
    kubernetes = build_programs("kubernetes", kubernetes_ldflags())
    programs = {
        "etcd": build_programs("etcd") / "server",
        "coredns": build_programs("coredns") / "coredns",
        **{path.name: path for path in kubernetes.glob("kube-*")},
    }
    node = root_file_system("node", "bookworm", NODE_PACKAGES)
    kube_proxy = root_file_system("kube-proxy", "bookworm", KUBE_PROXY_PACKAGES)

    names = output(
        kubernetes / "kubeadm", "config", "images", "list", f"--kubernetes-version={KUBERNETES}"
    ).splitlines()
    for image in names:
        name = image.split("/")[-1].split(":")[0]
        if name == "pause":
            text = f"FROM {node} AS node\nFROM scratch\nCOPY --from=node /usr/bin/catatonit /pause\n"
            build_image(image, text + 'ENTRYPOINT ["/pause", "-P"]\n', {})
            continue
        base, path = (kube_proxy, "/usr/local/bin") if name == "kube-proxy" else ("scratch", "")
        # CoreDNS is started by its entry point, the others by the command that kubeadm writes.
        start = 'ENTRYPOINT ["/coredns"]\n' if name == "coredns" else ""
        environment = "" if path else "ENV PATH=/\n"
        text = f"FROM {base}\n{environment}COPY program {path}/{name}\n{start}"
        build_image(image, text, {"program": programs[name]})
    archive = WORK / "control-plane.tar"
    step("Save the control plane's images", "docker", "save", "-o", archive, *names)

    kind_files = Path(kind_module()) / "images" / "base" / "files"
    runtime = {"runc": engine.RUNTIME} if engine.lacks_sys_resource() else {}
    empty = f"streaming-build/node-empty:{tag.split(':')[1]}"
    pause = next(name for name in names if "/pause:" in name)
    build_image(
        empty,
        (HERE / "node" / "Dockerfile").read_text(),
        {
            "files": kind_files,
            "bin/kubeadm": kubernetes / "kubeadm",
            "bin/kubectl": kubernetes / "kubectl",
            "bin/kubelet": kubernetes / "kubelet",
            "node": HERE / "node",
            "runtime/.keep": HERE / "node" / "Dockerfile",
            **{f"runtime/{name}": path for name, path in runtime.items()},
        },
        base=node,
        kubernetes=KUBERNETES,
        pause=pause,
    )
    preload(empty, archive, tag)
    archive.unlink()
    # Upstream's names must not stay: whoever pulls them wants upstream's images.
    output("docker", "rmi", *names, empty)
    forget_older(tag)
    return tag


def kind_module() -> str:
    """Return the folder of the kind module, at the version of the kind command that is used here."""
    return go_download("../../../scripts/cluster/tools", "sigs.k8s.io/kind")


def preload(empty: str, archive: Path, tag: str) -> None:
    """Import the control plane's images into a node image, as kind's own build does, and commit it."""
    container = "streaming-build-preload"
    output("docker", "rm", "--force", container)  # of an interrupted run
    say(" • Preload the control plane's images into the node image …")
    output("docker", "run", "--detach", "--privileged", "--name", container, "--entrypoint", "sleep", empty, "3600")
    try:
        output("docker", "cp", archive, f"{container}:/images.tar", timeout=600)
        script = (HERE / "node" / "preload.sh").read_text()
        output("docker", "exec", container, "bash", "-euc", script, timeout=600)
        loaded = f"{tag.split(':')[0]}:preloaded"
        output("docker", "commit", container, loaded, timeout=600)
    finally:
        output("docker", "rm", "--force", container)
    # docker commit takes neither the entry point as the base had it nor STOPSIGNAL.
    text = (
        f"FROM {loaded}\nENV container=docker\nSTOPSIGNAL SIGRTMIN+3\n"
        'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]\nCMD []\n'
    )
    build_image(tag, text, {})
    say(" ✓ Preload the control plane's images into the node image")


def builder_image(base: str) -> str:
    """Add to the base the wheels for the Dockerfiles' images and pip's own, each checked against its pinned hash."""
    folder = WORK / "wheels"
    pins = (ROOT / "app" / "requirements.txt", ROOT / "scripts" / "streamproof" / "requirements.txt", HERE / "pip.txt")
    marker = folder / ".complete"
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in pins)).hexdigest()
    if not (marker.exists() and marker.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        # For the Python of the Dockerfiles' base, as some wheels are for one version of it alone.
        pip = (sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--no-deps", "--require-hashes")
        download = (*pip, "--python-version", "3.13")
        for path in pins:
            step(f"Fetch the wheels of {path.relative_to(ROOT)}", *download, "-d", folder, "-r", path)
        marker.write_text(wanted)
    tag = f"streaming-build/builder:{hashlib.sha256((base + wanted).encode()).hexdigest()[:12]}"
    if not has_image(tag):
        build_image(tag, "ARG BASE\nFROM ${BASE}\nCOPY wheels /wheels\n", {"wheels": folder}, base=base)
        forget_older(tag)
    return tag


def kind_patch() -> dict[str, object]:
    """Return what these images need in the kind configuration: a CNI of their own, and a gate on some hosts."""
    patch: dict[str, object] = {"networking": {"disableDefaultCNI": True}}
    if engine.lacks_sys_resource():
        # The kubelet may not change limits and OOM scores either; this gate lets it go on.
        patch["featureGates"] = {"KubeletInUserNamespace": True}
    return patch


def main() -> None:
    """Build all of it and print where it is."""
    engine.apt_install("mmdebstrap")
    built = EDGES[sys.argv[1]]() if sys.argv[1:] else {}
    base = root_file_system("python", "trixie", APP_PACKAGES)
    result = {
        "node_image": node_image(),
        "kind_patch": kind_patch(),
        **built,
        "base": base,
        "builder": builder_image(base),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    try:
        main()
    except Trouble as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
