"""The commands behind the Makefile's targets."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from cluster import edges, engine, images, kind, publish, release, run, tools
from cluster.run import Trouble


@click.group(help=__doc__)
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=click.IntRange(0, 57090), default=0, help="Moves all ports.")
@click.option("--workers", envvar="WORKERS", type=click.IntRange(0, 8), help="Nodes beside the control plane's.")
@click.option("--edge", envvar="EDGE", default=edges.DEFAULT, help=f"One of {', '.join(edges.NAMES)}.")
@click.pass_context
def main(context: click.Context, cluster: str, port_offset: int, workers: int | None, edge: str) -> None:
    """Name the cluster that the command is about, and which of its edges."""
    context.obj = kind.Cluster(cluster, port_offset, workers, edge=edges.find(edge).name)


@main.command()
@click.option("--images", "forced", envvar="IMAGES", type=click.Choice(["", "upstream", "registries"]), default="")
@click.pass_obj
def up(cluster: kind.Cluster, forced: str) -> None:
    """Bring up the cluster with the edge, and the demo's images loaded into it."""
    _up(cluster, forced)
    folder = tools.BIN if tools.BIN.exists() else None
    run.say("\nThe cluster is up. Now, as on any cluster:")
    if folder:
        run.say(f"  export PATH={folder}:$PATH")
    run.say(
        f"  {' '.join(('helm install streaming ./chart', *release.routes(cluster)))}\n"
        f"  curl -vv --raw http://127.0.0.1:{cluster.http_port}/download_csv\n"
        f"  curl -vv --raw -N http://127.0.0.1:{cluster.http_port}/download_csv_streaming\n"
        "  kubectl logs deploy/streaming"
    )


def _up(cluster: kind.Cluster, forced: str) -> None:
    engine.ensure()
    cluster.check_ours()
    cluster.check_ports()
    edge = edges.find(cluster.edge)
    path = images.choose(forced, cluster.record().get("path", ""), edge)
    for name in ("kind", "helm", "kubectl"):
        tools.find(name)
    source = images.get(path, edge)
    cluster.ensure(source.node_image, source.kind_patch)
    cluster.note(path=source.path)
    release.restrict(cluster, "default")
    release.install_edge(cluster, source)
    _image(cluster, source, images.OURS)


def _image(cluster: kind.Cluster, source: images.Images, wanted: Mapping[str, Path]) -> None:
    images.build(source, wanted)
    release.restart(cluster, cluster.load(*wanted))


@main.command()
@click.option("--project", envvar="PROJECT", help="Folder of a Django project, to build its image instead.")
@click.pass_obj
def image(cluster: kind.Cluster, project: str | None) -> None:
    """Build the demo's image and streamproof's and load them into the cluster; what runs an old one is restarted."""
    wanted = dict([images.project(project)]) if project else images.OURS
    engine.ensure()
    _require(cluster)
    _image(cluster, images.get(cluster.record()["path"]), wanted)


def _require(cluster: kind.Cluster) -> None:
    if not cluster.record().get("path"):
        raise Trouble(f"there is no cluster {cluster.name}: `make kind-up` makes it")


@main.command()
@click.option("--images", "forced", envvar="IMAGES", type=click.Choice(["", "upstream", "registries"]), default="")
@click.pass_context
def demo(context: click.Context, forced: str) -> None:
    """Bring all of it up, install the chart, and verify a stream through the edge."""
    cluster: kind.Cluster = context.obj
    started = time.monotonic()
    _up(cluster, forced)
    release.install(cluster, release.RELEASE, "default", *release.routes(cluster))
    release.await_edge(cluster)
    run.say(f" • Verify a stream through the edge (all up after {time.monotonic() - started:.0f} s) …\n")
    context.invoke(verify)


@main.command()
@click.option("--url", envvar="URL", help="What to verify, by default the measuring stream through the edge.")
@click.pass_obj
def verify(cluster: kind.Cluster, url: str | None) -> None:
    """Verify a stream."""
    url = url or f"http://127.0.0.1:{cluster.http_port}/measure?rows=12&delay_ms=250"
    sys.exit(subprocess.run([sys.executable, "-m", "streamproof", "verify", url]).returncode)


@main.command()
@click.pass_obj
def logs(cluster: kind.Cluster) -> None:
    """Show what the demo's pods have logged."""
    _require(cluster)
    print(cluster.kubectl("logs", "deploy/streaming", "--all-pods", "--prefix", "--tail=100"))


@main.command()
def wheels() -> None:
    """Build the wheel of django-streamproof, for the images of projects that use it."""
    images.wheels()


@main.command()
def sbom() -> None:
    """Write what the images hold, as CycloneDX."""
    engine.ensure()
    for name in images.OURS:
        run.say(f" ✓ {publish.sbom(name)}")


@main.command()
def package() -> None:
    """Write the chart as an archive."""
    run.say(f" ✓ {publish.package()}")


@main.command()
@click.option("--registry", envvar="REGISTRY", default="")
def push(registry: str) -> None:
    """Push the images and the chart to an OCI registry."""
    engine.ensure()
    publish.push(registry)
    run.say(
        f"\n  helm install streaming oci://{registry}/streaming --set image.repository={registry}/streaming-demo "
        f"--set test.image.repository={registry}/streamproof"
    )


@main.command()
def browser() -> None:
    """Find a Chromium for the tests, or install one."""
    tools.chromium()


@main.command()
@click.pass_obj
def down(cluster: kind.Cluster) -> None:
    """Remove the cluster."""
    if not shutil.which("docker"):
        raise Trouble("there is no docker command here, so no cluster either")
    engine.ensure()
    if not cluster.remove():
        run.say(f"There is no cluster {cluster.name}.")


if __name__ == "__main__":
    run.main(main, "the same command goes on from here")
