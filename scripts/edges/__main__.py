"""Compare the edges of a cluster: python -m edges."""

from __future__ import annotations

import click
from cluster import run
from cluster.kind import Cluster

from edges import measure, report
from edges.stage import Stage


@click.command(help=__doc__)
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=int, default=0, help="By which all its ports are moved.")
def main(cluster: str, port_offset: int) -> None:
    """Ask all edges that the cluster has, and rewrite docs/edges.md and its picture."""
    stage = Stage(Cluster(cluster, port_offset))
    stage.install()
    found = measure.measure(stage, lambda line: run.say(f" • {line} …"))
    report.write(found)
    stage.remove()
    print(report.table(found))


if __name__ == "__main__":
    run.main(main, "the same command begins anew")
