"""The short form of `make faults`: what a deploy may not cost, what can't be saved and is noticed, and a control."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from cluster.kind import Cluster
from faults import clocks, sse
from faults.events import EVENTS
from faults.session import Result, Shape, session
from faults.target import Target

# The streams of the full run are longer, and there are some of 150 s: scripts/faults/__main__.py.
SHAPE = Shape(shortest=10, longest=30, very_long=0)
SURVIVED = ("rollout-restart", "scale-down", "node-drain", "reloads")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def target(cluster: Cluster) -> Iterator[Target]:
    target = Target(cluster)
    target.install()
    yield target
    target.remove()


def have(target: Target, *names: str) -> dict[str, Result]:
    """Have these events happen while a hundred streams are open."""
    events = [event for event in EVENTS if event.name in names]
    return {result.event: result for result in asyncio.run(session(target, events, SHAPE))}


@pytest.fixture(scope="module")
def survived(target: Target) -> dict[str, Result]:
    return have(target, *SURVIVED)


@pytest.mark.parametrize("name", SURVIVED)
def test_no_stream_is_lost(survived: dict[str, Result], name: str) -> None:
    result = survived[name]
    assert result.open >= 100
    assert result.outcomes["completed"] >= 100
    assert result.lost == 0, result.how


def test_streams_of_a_killed_pod_are_truncated_and_none_is_taken_for_complete(target: Target) -> None:
    """Half of them come over HTTP/1.0, where the framing calls them complete."""
    target.install()
    result = have(target, "pod-kill")["pod-kill"]
    assert result.outcomes["truncated"] >= 10
    assert result.how["truncated: no terminating chunk"] >= 1
    assert result.how["truncated: too few rows, and the framing called it complete"] >= 1
    assert "wrong" not in result.outcomes
    # The app's own log knows better than the client what it has finished.
    assert result.logged["began, no end"] >= 10
    assert result.taken == 0
    assert any("app: " in line and "exit code 137" in line for line in result.after)


def test_a_pod_that_gives_no_answer_costs_a_new_stream_the_time_to_connect(target: Target) -> None:
    """Where there is another, that one answers; where there is none, the edge gives up after three times as long."""
    target.install()
    found = asyncio.run(clocks.connect_timeouts(target))
    assert [each.due for each in found] == [5, 15]
    assert all(each.as_expected for each in found), found


def test_server_sent_events_are_resumed_through_kills_without_loss(target: Target) -> None:
    numbers = asyncio.run(sse.resume(target, kills=20, readers=4))
    assert numbers["kills"] == 20
    assert numbers["cuts"] >= 4
    assert numbers["events"] >= 100
    assert (numbers["lost"], numbers["twice"]) == (0, 0)


def test_without_a_grace_period_the_same_restart_loses_streams(target: Target) -> None:
    """So the other tests could see it."""
    result = have(target, "no-grace")["no-grace"]
    assert result.outcomes["truncated"] >= 1
    assert result.taken == 0
