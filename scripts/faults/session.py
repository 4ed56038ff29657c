"""Has events happen under load, and tells what became of the streams."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster import run

from faults.client import Account, Load
from faults.events import Event
from faults.target import HOST, HTTP10_HOST, Target

# Until the pods that are to go hold their share of the streams.
_SETTLE = 10.0
_RECOVERY = 180.0


@dataclass(frozen=True)
class Shape:
    """How much load.

    Attributes:
        lanes: streams open at all times, but for a moment where one has ended: so that a hundred always are.
        shortest: seconds of the shortest streams.
        longest: seconds of the longest, but for the very long ones.
        very_long: seconds of one in 25; 0 for none.
    """

    lanes: int = 110
    shortest: int = 10
    longest: int = 60
    very_long: int = 150

    def lengths(self) -> Iterator[int]:
        """Give the length of one stream after the other, the same ones in each run."""
        chosen = random.Random(1)  # noqa: S311 - no secret
        for number in itertools.count(1):
            very_long = self.very_long and number % 25 == 0
            yield self.very_long if very_long else chosen.randint(self.shortest, self.longest)


@dataclass
class Result:
    """What became of the streams that ended in the time of an event; times in seconds since the load began.

    Attributes:
        event: its name.
        title: what happened.
        expected: as in the event's table.
        worker_class: gthread or asgi.
        lanes: streams that were to be open at all times.
        began: when the time of the event began: where that of the one before ended.
        at: when it happened.
        ended: when all old pods were gone, or all was well again.
        open: streams that were open when it happened.
        outcomes: number of streams by outcome.
        how: number of streams by the end that the client saw, of those that were not completed.
        longest: seconds that the longest completed stream lasted.
        logged: what the app's log says of the streams that the client did not complete: number by outcome.
        taken: streams that the client took for complete, and the app's log not.
        after: how containers ended since the event, and what gunicorn warned of.
        drawn: lane, beginning, end and outcome of each stream.
    """

    event: str
    title: str
    expected: str
    worker_class: str
    lanes: int
    began: float
    at: float
    ended: float
    open: int
    outcomes: dict[str, int]
    how: dict[str, int]
    longest: float
    logged: dict[str, int] = field(default_factory=dict)
    taken: int = 0
    after: list[str] = field(default_factory=list)
    drawn: list[tuple[int, float, float, str]] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many streams did not come whole."""
        return sum(number for outcome, number in self.outcomes.items() if outcome != "completed")

    @property
    def as_expected(self) -> bool:
        """Whether the streams fared as they should."""
        if self.outcomes.get("wrong") or self.taken:
            return False
        if self.expected == "none":
            return self.lost == 0 and self.open > 0
        if self.expected == "noticed":
            return self.outcomes.get("truncated", 0) > 0
        if self.expected == "control":
            return self.lost > 0
        return True

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


@dataclass
class _Window:
    event: Event
    began: float
    at: float
    open: int
    ended: float = 0.0
    after: list[str] = field(default_factory=list)


async def session(target: Target, events: Sequence[Event], shape: Shape) -> list[Result]:
    """Have events happen one after the other while streams are open, of one kind of expectation and query.

    Raises:
        Trouble: the load does not come up, an event could not be made to happen, or something does not recover.
    """
    kind, query = events[0].expected, events[0].query
    hosts = (HOST, HTTP10_HOST) if kind == "noticed" else (HOST,)
    if events[0].prepare:
        await asyncio.to_thread(events[0].prepare, target)
    load = Load(target.cluster.http_port, hosts, shape.lengths(), shape.lanes, query)
    zero = time.monotonic()
    windows: list[_Window] = []
    logged: dict[str, set[str]] = {}
    load.start()
    try:
        for number, event in enumerate(events):
            began = time.monotonic() if windows else zero
            if number and event.prepare:
                await asyncio.to_thread(event.prepare, target)
            await load.fill(_RECOVERY)
            await asyncio.sleep(shape.longest / 2 if event.prepare else _SETTLE)
            before = await asyncio.to_thread(_restarts, target)
            window = _Window(event, began, time.monotonic(), load.open())
            windows.append(window)
            run.say(f" • {event.title}, with {window.open} streams open …")
            happened = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
            await asyncio.to_thread(event.do, target)
            if kind == "noticed":
                # Until the kubelet has seen it: before, all seems well.
                await asyncio.sleep(5)
                await asyncio.to_thread(target.await_recovery, _RECOVERY)
                if not event.query:
                    await load.fill(_RECOVERY)
            else:
                await asyncio.to_thread(target.await_old_pods, event.edge)
            window.ended = time.monotonic()
            if kind == "noticed":
                window.after = sorted(set(await asyncio.to_thread(_restarts, target)) - set(before))
                window.after += await asyncio.to_thread(_complaints, target, happened)
                _merge(logged, await asyncio.to_thread(target.endings))
            run.say(f" ✓ {event.title}: {_short(_ended_in(load.accounts, window))}")
        if kind in ("none", "apart"):
            run.say(" • Wait until the last streams have ended …")
            await load.finish()
            windows[-1].ended = time.monotonic()
    finally:
        await load.leave()
    if kind == "noticed":
        _merge(logged, await asyncio.to_thread(target.endings))
    return [_result(load, window, target.worker_class, zero, logged) for window in windows]


def _merge(logged: dict[str, set[str]], more: dict[str, set[str]]) -> None:
    for identity, outcomes in more.items():
        logged[identity] = logged.get(identity, set()) | outcomes


def _restarts(target: Target) -> list[str]:
    """Return how containers of the app and of the edge ended the last time, once for each."""
    found = []
    for pod in (*target.pods(), *target.edge_pods()):
        for status in pod["status"].get("containerStatuses", []):
            last = status["lastState"].get("terminated")
            if last:
                name = "edge" if "controller" in pod["metadata"]["name"] else "app"
                found.append(f"{name}: {last['reason']}, exit code {last['exitCode']}, at {last['finishedAt']}")
    return found


def _complaints(target: Target, since: str) -> list[str]:
    """Return what gunicorn has warned of since then, each sentence once."""
    lines = [line for line in target.log() if line["logger"].startswith("gunicorn") and line["level"] != "INFO"]
    return sorted({re.sub("[0-9]+", "N", line["message"]) for line in lines if line["time"] >= since})


def _ended_in(accounts: Sequence[Account], window: _Window) -> list[Account]:
    return [each for each in accounts if each.outcome and window.began <= each.ended < window.ended]


def _short(accounts: Sequence[Account]) -> str:
    counted = Counter(str(account.outcome) for account in accounts)
    return ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())


def _result(load: Load, window: _Window, worker_class: str, zero: float, logged: dict[str, set[str]]) -> Result:
    accounts = _ended_in(load.accounts, window)
    lost = [each for each in accounts if each.outcome != "completed"]
    completed = [each for each in accounts if each.outcome == "completed"]
    drawn = [
        (each.lane, round(each.began - zero, 2), round(each.ended - zero, 2), str(each.outcome))
        if each.outcome and each.ended < window.ended
        else (each.lane, round(each.began - zero, 2), round(window.ended - zero, 2), "open")
        for each in load.accounts
        if each.began < window.ended and (not each.outcome or each.ended >= window.began)
    ]
    return Result(
        event=window.event.name,
        title=window.event.title,
        expected=window.event.expected,
        worker_class=worker_class,
        lanes=load.lanes,
        began=round(window.began - zero, 2),
        at=round(window.at - zero, 2),
        ended=round(window.ended - zero, 2),
        open=window.open,
        outcomes=dict(Counter(str(each.outcome) for each in accounts)),
        how=dict(Counter(f"{each.outcome}: {each.how}" for each in lost)),
        longest=round(max((each.ended - each.began for each in completed), default=0.0), 1),
        logged=dict(Counter(_said(each, logged) for each in lost)) if logged else {},
        taken=sum(each.identity in logged and "completed" not in logged[each.identity] for each in completed),
        after=window.after,
        drawn=drawn,
    )


def _said(account: Account, logged: dict[str, set[str]]) -> str:
    if account.identity not in logged:
        return "never began"
    return "+".join(sorted(logged[account.identity])) or "began, no end"
