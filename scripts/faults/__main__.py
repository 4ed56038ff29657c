"""Hold streams open through the edge of a cluster, have things happen to it, and account for every stream."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence

import click
from cluster import run
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble, say

from faults import clocks, hostile, idle, report, sse
from faults.events import EVENTS, Event
from faults.session import Result, Shape, session
from faults.target import Target

RESULTS = ROOT / "build" / "faults"
# What is cut need not be long; where only new streams are refused, there must be many of them.
_SHAPES = {
    "none": Shape(),
    "apart": Shape(),
    "noticed": Shape(very_long=0),
    "control": Shape(shortest=1, longest=40, very_long=0),
}
_OTHERS = ("sse", "hostile", "clocks", "idle")
_PAUSES = (5, 65, 300)


def sessions(events: Sequence[Event]) -> list[list[Event]]:
    """Return the events that can share a load, in their order; each control has pods of its own."""

    def alike(event: Event) -> tuple[bool, str, str]:
        return event.expected in ("none", "apart"), event.query, event.name if event.expected == "control" else ""

    return [list(together) for _, together in itertools.groupby(events, alike)]


@click.command(help=__doc__)
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=int, default=0, help="By which all its ports are moved.")
@click.option("--worker-class", type=click.Choice(["gthread", "asgi"]), default="gthread", help="That serves.")
@click.argument("names", nargs=-1, type=click.Choice([*(event.name for event in EVENTS), *_OTHERS]))
def main(cluster: str, port_offset: int, worker_class: str, names: tuple[str, ...]) -> None:
    """Have all events happen, or those that are named; exit with 1 if a stream fared otherwise than expected."""
    target = Target(Cluster(cluster, port_offset), worker_class)
    if len(target.cluster.containers()) < 3:
        raise Trouble(f"the cluster {cluster} has not two workers to drain one: make it with WORKERS=2")
    folder = RESULTS if worker_class == "gthread" else RESULTS.with_name(f"{RESULTS.name}-{worker_class}")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = names or (*(event.name for event in EVENTS), *_OTHERS)
    results: list[Result] = []
    resumed: dict[str, int] = {}
    hostile_numbers: list[str] = []
    for together in sessions([event for event in EVENTS if event.name in wanted]):
        target.install()
        for result in asyncio.run(session(target, together, _SHAPES[together[0].expected])):
            (folder / f"{result.event}.json").write_text(json.dumps(result.as_json()))
            results.append(result)
    if set(_OTHERS) & set(wanted):
        target.install()
    if "sse" in wanted:
        resumed = asyncio.run(sse.resume(target, kills=500, readers=10))
        (folder / "sse.json").write_text(json.dumps(resumed))
    if "hostile" in wanted:
        numbers = asyncio.run(hostile.all_of_them(target))
        (folder / "hostile.json").write_text(json.dumps(numbers))
        hostile_numbers = hostile.unexpected(numbers)
    waits: list[dict[str, object]] = []
    if "clocks" in wanted:
        waits = clocks.as_json(asyncio.run(clocks.clocks(target)))
        (folder / "clocks.json").write_text(json.dumps(waits))
    if "idle" in wanted:
        # Longer than the longest pause.
        target.install("--set", "streaming.maxDuration=400")
        found = idle.as_json(asyncio.run(idle.silences(target, _PAUSES)))
        (folder / "idle.json").write_text(json.dumps(found))
        waits = [*waits, *found]
    target.remove()
    report.write(folder)
    print((folder / "faults.md").read_text())
    unexpected = [result.title for result in results if not result.as_expected]
    if resumed.get("lost") or resumed.get("twice"):
        unexpected.append("server-sent events")
    unexpected += hostile_numbers
    if not all(each["as_expected"] for each in waits):
        unexpected.append("clocks or idle streams")
    if unexpected:
        raise Trouble(f"not as expected: {', '.join(unexpected)}")
    say(f" ✓ As expected; the report and its pictures are in {folder}")


if __name__ == "__main__":
    run.main(main, "name the events that are left to go on")
