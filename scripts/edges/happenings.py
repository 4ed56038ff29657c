"""What an edge's own life does to the streams that are open through it, and what a move to another edge does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from cluster import release
from faults.client import Account, Load
from faults.events import Event, rollout_restart
from faults.session import Result, Shape, session
from faults.target import HOST

from edges.stage import Stage

# Seconds until all lanes of a cut-over have a stream.
_FILLING = 60
SHAPE = Shape(shortest=10, longest=20, very_long=0)


def _restart_edge(target: object) -> None:
    assert isinstance(target, Stage)  # noqa: S101 - the events below are for it alone
    target.restart_edge()


EVENTS = (
    Event("rollout-restart", "kubectl rollout restart", rollout_restart),
    Event("edge-restart", "rollout restart of the edge", _restart_edge, edge=True),
)


def restarts(stage: Stage) -> list[Result]:
    """Replace the app's pods and then the edge's, with a hundred streams open through it."""
    return asyncio.run(session(stage, EVENTS, SHAPE))


@dataclass(frozen=True)
class CutOver:
    """What became of the streams while clients moved from one edge to another.

    Attributes:
        open: streams through the old edge when its route was removed.
        old: accounts of all streams through the old edge.
        new: of those through the new one.
    """

    open: int
    old: Sequence[Account]
    new: Sequence[Account]


def cut_over(stage: Stage, old: str, new: str, lanes: int = 40) -> CutOver:
    """Move clients from an edge with an Ingress to one with an HTTPRoute, both before the same Service.

    Args:
        stage: the release, installed.
        old: the edge that all clients use in the beginning, when there is no route for the other.
        new: the edge that all use in the end, when there is no route for the first.
        lanes: streams open at all times.
    """
    return asyncio.run(_cut_over(stage.behind(old), stage.behind(new), lanes))


async def _cut_over(old: Stage, new: Stage, lanes: int) -> CutOver:
    await asyncio.to_thread(old.upgrade, "--set", "httpRoute.enabled=false")
    await asyncio.to_thread(old.await_old_pods)
    before, after = (Load(each.cluster.http_port, (HOST,), itertools.cycle((15, 20, 25)), lanes) for each in (old, new))
    before.start()
    try:
        await before.fill(_FILLING)
        # The new route beside the old one: nobody uses it yet.
        await asyncio.to_thread(old.upgrade, "--set", "httpRoute.enabled=true")
        await asyncio.to_thread(release.await_edge, new.cluster, HOST)
        # The name now leads to the new edge: who comes, comes through it; what is open goes on through the old one.
        after.start()
        ending = asyncio.create_task(before.finish())
        await after.fill(_FILLING)
        still = before.open()
        await asyncio.to_thread(old.upgrade, "--set", "ingress.enabled=false")
        await ending
        await after.finish()
    finally:
        await before.leave()
        await after.leave()
    return CutOver(still, before.accounts, after.accounts)
