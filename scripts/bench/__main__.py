"""Measure what streaming costs, each figure beside a reference in the same run and through the same edge.

A whole run on a cluster writes docs/results/bench.md; any other run, of some measures or on loopback, into build/bench.
"""

from __future__ import annotations

import time

import click
from cluster import run
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble, say
from local_edge import StartFailed

from bench import measures, report
from bench.places import OnCluster, there

_NAMES = {measure.__name__.replace("_", "-"): measure for measure in measures.ALL}


@click.command(help=__doc__)
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=int, default=0, help="By which all its ports are moved.")
@click.option(
    "--where", envvar="WHERE", type=click.Choice(["cluster", "local"]), default="cluster", help="Or loopback."
)
@click.option("--rounds", type=click.IntRange(1), default=9, help="Of each comparison.")
@click.argument("names", nargs=-1, type=click.Choice(list(_NAMES)))
def main(cluster: str, port_offset: int, where: str, rounds: int, names: tuple[str, ...]) -> None:
    """Measure all, or what is named; exit with 1 if a bound is missed."""
    here = Cluster(cluster, port_offset)
    if where == "cluster" and not here.record().get("path"):
        raise Trouble(f"there is no cluster {cluster}: `make kind-up` makes it, or WHERE=local measures without one")
    figures = measures.Figures()
    whole = where == "cluster" and not names and rounds >= 7
    folder = ROOT / "docs" / "results" if whole else ROOT / "build" / "bench"
    with there(where, here) as place:
        settings = place.settings() | {"rounds": str(rounds)}
        started = time.monotonic()
        if isinstance(place, OnCluster):
            measures.limits(place, figures)
        for name in names or _NAMES:
            _NAMES[name](place, rounds, figures)
    settings |= {"seconds": f"{time.monotonic() - started:.0f}"}
    report.write(folder, figures, settings)
    print((folder / "bench.md").read_text())
    if figures.missed:
        raise Trouble(f"a bound is missed by: {'; '.join(figures.missed)} (the figures are in {folder})")
    say(f" ✓ All bounds hold; the report and its pictures are in {folder}")


if __name__ == "__main__":
    run.main(main, "run it again", StartFailed)
