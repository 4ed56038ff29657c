"""Measure what streaming costs, each figure beside a reference in the same run and through the same edge.

SUITE is ratios, with their bounds; clients, how many streams a pod holds; or curves, over the size of chunks and the
number of streams. A whole run on a cluster writes docs/results/, any other, of some measures or on loopback,
build/bench.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from cluster import run
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble, say
from local_edge import StartFailed

from bench import crowds, curves, measures, report
from bench.places import Loopback, Namespace, OnCluster


@dataclass(frozen=True)
class _Suite:
    """What is measured together.

    Attributes:
        stem: how the names of its files begin.
        title: of its page.
        measures: in this order.
        rounds: fewest for figures to be published.
        place: where on a cluster.
    """

    stem: str
    title: str
    measures: Sequence[Callable[..., None]]
    rounds: int
    place: Any = OnCluster


_SUITES = {
    "ratios": _Suite("bench", "Close to what the edge can carry", measures.ALL, 9),
    "clients": _Suite("bench-clients", "How many streams a pod holds", (crowds.clients,), 1, crowds.Crowds),
    "curves": _Suite("bench-curves", "Chunks, parallel streams, and where the time of a row goes", curves.ALL, 5),
}


def _names(suite: _Suite) -> dict[str, Callable[..., None]]:
    return {measure.__name__.replace("_", "-"): measure for measure in suite.measures}


@click.command(help=__doc__)
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=int, default=0, help="By which all its ports are moved.")
@click.option(
    "--where", envvar="WHERE", type=click.Choice(["cluster", "local"]), default="cluster", help="Or loopback."
)
@click.option("--rounds", type=click.IntRange(1), default=None, help="Of each comparison; 9 of ratios, 5 of curves.")
@click.argument("suite", type=click.Choice(list(_SUITES)), default="ratios")
@click.argument("names", nargs=-1)
def main(cluster: str, port_offset: int, where: str, rounds: int | None, suite: str, names: tuple[str, ...]) -> None:
    """Measure all of a suite, or what is named; exit with 1 if a bound is missed."""
    wanted = _SUITES[suite]
    known = _names(wanted)
    for name in names:
        if name not in known:
            raise Trouble(f"there is no measure {name} in {suite}: name some of {', '.join(known)}")
    here = Cluster(cluster, port_offset)
    if where == "cluster" and not here.record().get("path"):
        raise Trouble(f"there is no cluster {cluster}: `make kind-up` makes it, or WHERE=local measures without one")
    if where == "local" and suite == "clients":
        raise Trouble("the limits of a pod need a cluster: leave WHERE out")
    if rounds and suite == "clients":
        raise Trouble("each number of streams is tried once: leave --rounds out")
    rounds = rounds or wanted.rounds
    whole = where == "cluster" and not names and rounds >= wanted.rounds
    folder = ROOT / "docs" / "results" if whole else ROOT / "build" / "bench"
    figures = measures.Figures()
    with contextlib.ExitStack() as stack:
        place = Loopback(stack) if where == "local" else wanted.place(stack, here)
        settings = place.settings() | {"rounds": str(rounds)}
        started = time.monotonic()
        if isinstance(place, Namespace) and suite != "curves":
            measures.limits(place, figures)
        for name in names or known:
            known[name](place, rounds, figures)
    settings |= {"seconds": f"{time.monotonic() - started:.0f}"}
    report.write(folder, wanted.stem, wanted.title, figures, settings)
    print((folder / f"{wanted.stem}.md").read_text())
    if figures.missed:
        raise Trouble(f"a bound is missed by: {'; '.join(figures.missed)} (the figures are in {folder})")
    say(f" ✓ All bounds hold; the report and its pictures are in {folder}")


if __name__ == "__main__":
    run.main(main, "run it again", StartFailed)
