"""Verdict about timing against a baseline: the same request to another address, such as the app's own. Pure.

Each pair is a response of the baseline and one of what is judged, open at the same time where the app allows it. What
they have in common decides what can be compared: the same events at once (a feed that clients share), the same
sequence for each request, or only the shape in which events come.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from streamproof.arrivals import TOO_SHORT, Arrivals, Kind, cache_note, too_short
from streamproof.judge import why_none
from streamproof.observation import Event, Observation
from streamproof.verdict import Number, Result, Verdict, count, ms, to_ms

# An event is late that came when the next one was due, but for so much of the pause between; or later than a second.
LATE_SHARE_OF_PAUSE = 0.9
LATE, SURELY_LATE = 0.1, 1.0
# Above the one share of late events it fails, up to the other it passes.
MAX_LATE, MAX_LATE_TO_PASS = 0.20, 0.10
# Two events that came within so many seconds came together.
TOGETHER = 0.01
# The share of events in batches that is chance, and the one above which a busy machine does not explain them.
CHANCE, MOST = 0.05, 0.50
# By how many bytes an event may differ from its counterpart: numbers and times in it do.
SIZE_TOLERANCE = 8
# The share of events with the size of their counterparts in two runs of one stream, at least.
SAME = 0.9
# Runs of one app may differ in pace by so much of their length, as on a busy machine.
PACE = 0.2
# Where the pace is irregular, so many times the longest run of the baseline is not chance.
SLOWER = 1.5
# How many more events at a time are taken for the same, and how many more are surely a hop's doing.
SAME_BATCH, LARGER_BATCH = 1.5, 2.0

_GOOD: tuple[Kind, ...] = ("one by one", "flowing")
_HELD: tuple[Kind, ...] = ("at once", "unflushed", "cut", "cut text", "batches", "short")
_HELD_BACK = "this path holds events back"
_WORDS: dict[Kind, str] = {
    "one by one": "one by one",
    "flowing": "without a pause",
    "at once": "at once",
    "unflushed": "at once, as compressed data that was never flushed",
    "cut": "in pieces, each event's end with the next event",
    "cut text": "in pieces that end within lines",
    "batches": "several at a time",
    "short": "within a moment",
    "unknown": "in no shape that tells anything",
}


class Pair(NamedTuple):
    """A response of the baseline, and one of what is judged."""

    baseline: Observation
    edge: Observation


class _Lags(NamedTuple):
    """How late events were against the baseline: in seconds, the share that was late, and what is common to all."""

    values: list[float]
    late: float
    shift: float


def judge_baseline(pairs: Sequence[Pair]) -> Verdict:
    """Judge what is behind a path by what came without it.

    Args:
        pairs: at least one, in the order in which they were asked for.
    """
    verdict = _judge(pairs)
    if verdict.result != "PASS":
        verdict = replace(verdict, sentence=verdict.sentence + cache_note(pairs[0].edge))
    if len(pairs) < 3 or not undecided(verdict):
        return verdict
    # What a busy machine did to one run; a hop that holds events back does it in each.
    others = [_judge([one for one in pairs if one is not left_out]) for left_out in pairs]
    decided = [one for one in others if one.result != "INCONCLUSIVE"]
    if len({one.result for one in decided}) != 1:
        return verdict
    return replace(decided[0], sentence=f"{decided[0].sentence}; one of {len(pairs)} runs is left out, as an exception")


def _judge(pairs: Sequence[Pair]) -> Verdict:
    numbers: dict[str, Number] = {"evidence": "baseline", "pairs": len(pairs)}
    if trouble := _unusable(pairs):
        return Verdict("timing", "INCONCLUSIVE", trouble, numbers)
    return _judge_shared(pairs, numbers) or _judge_replayed(pairs, numbers) or _judge_shape(pairs, numbers)


def undecided(verdict: Verdict) -> bool:
    """Tell whether another pair may bring a decision."""
    return verdict.result == "INCONCLUSIVE" and verdict.counts and "compared" in verdict.numbers


def one_at_a_time(pair: Pair) -> bool:
    """Tell whether one response began only after the other had ended, as from an app that serves one at a time."""
    first, second = sorted(pair, key=lambda one: one.header_at or one.ended_at)
    header = [one.header_at or one.ended_at for one in (first, second)]
    if not second.started_at < first.ended_at <= header[1]:
        return False
    # Where each of them comes at once, neither has waited for the other.
    waited = [at - one.request_sent_at for at, one in zip(header, (first, second), strict=True)]
    return waited[1] >= waited[0] + first.duration / 2


def _unusable(pairs: Sequence[Pair]) -> str | None:
    for pair in pairs:
        for name, one in (("the baseline", pair.baseline), ("this address", pair.edge)):
            if one.status is None or not 200 <= one.status < 300:
                return f"{name} gave nothing to compare: {why_none(one)[1]}"
            if not one.byte_count:
                return f"{name} gave nothing to compare: no byte of a body came within {one.duration:.1f} s"
        kinds = [(one.header("content-type") or "").split(";")[0].strip().lower() for one in pair]
        if kinds[0] != kinds[1]:
            return (
                f"the baseline is another stream: its content type is {kinds[0] or 'not given'}, and here it is "
                f"{kinds[1] or 'not given'}"
            )
        if pair.baseline.status != pair.edge.status:
            return f"the baseline answers {pair.baseline.status}, and this address {pair.edge.status}"
    return _another_stream(pairs)


def _another_stream(pairs: Sequence[Pair]) -> str | None:
    """Tell where each address sends the same events again and again, and they are not each other's."""
    there, here = [[one.events for one in runs] for runs in zip(*pairs, strict=True)]
    if len(pairs) < 2 or any(_same_sizes(*two) < SAME for runs in (there, here) for two in pairwise(runs)):
        return None
    if _same_sizes(there[0], here[0]) >= MOST:
        return None
    sizes = [median(event.size for event in runs[0]) for runs in (there, here)]
    return (
        f"the baseline is another stream: {count(len(there[0]), 'event')} of about {sizes[0]:g} bytes there, "
        f"{len(here[0])} of about {sizes[1]:g} here"
    )


def _same_sizes(one: Sequence[Event], other: Sequence[Event]) -> float:
    """Return how many events are as long as their counterparts; one run may have been stopped or cut earlier."""
    pairs = list(zip(one, other, strict=False))
    return sum(abs(here.size - there.size) <= SIZE_TOLERANCE for here, there in pairs) / len(pairs) if pairs else 0.0


def _judge_shared(pairs: Sequence[Pair], numbers: dict[str, Number]) -> Verdict | None:
    """Judge a feed that all clients share: the baseline's arrivals are the production times, on one clock."""
    baselines = [pair.baseline for pair in pairs]
    # What each request gets anew is no shared feed, and two requests one after the other tell.
    if len(pairs) < 2 or any(_alike(one, other) for one, other in pairwise(baselines)):
        return None
    if not all(_alike(*pair) for pair in pairs):
        return None
    found = []
    for baseline, edge in pairs:
        due = {event.digest: event.arrived for event in _once(edge.events)}
        matched = [event for event in _once(baseline.events) if event.digest in due]
        lags = [due[event.digest] - event.arrived for event in matched]
        found.append(_Lags(lags, _late([event.arrived for event in matched], lags), 0.0))
    return _by_lag("a feed that all clients share", "when the baseline had it", found, numbers)


def _judge_replayed(pairs: Sequence[Pair], numbers: dict[str, Number]) -> Verdict | None:
    """Judge a stream that each request gets anew, at the same pace: it is aligned at the request."""
    if len(pairs) < 2:
        return None
    everything = [one for pair in pairs for one in pair]
    length = min(len(one.events) for one in everything)
    whole = [one for one in everything if one.ended in ("terminated", "closed")]
    if length < 3 or any(len(one.events) != length for one in whole):
        return None
    # What comes at once even there has no pace that anything could be held against.
    if any(Arrivals(pair.baseline).kind in ("at once", "unflushed", "short") for pair in pairs):
        return None
    sizes = zip(*([event.size for event in one.events[:length]] for one in everything), strict=True)
    if any(max(these) - min(these) > SIZE_TOLERANCE for these in sizes):
        return None
    times = {id(one): [event.arrived - one.request_sent_at for event in one.events[:length]] for one in everything}
    # The earliest of all runs: what a busy machine did to one of them is not the app's pace.
    due = [min(these) for these in zip(*(times[id(pair.baseline)] for pair in pairs), strict=True)]
    first, *others = (times[id(pair.baseline)] for pair in pairs)
    if not all(_same_pace(first, other) for other in others):
        return None
    found = [_against(due, times[id(pair.edge)]) for pair in pairs]
    for pair in pairs:
        times_there, times_here = due, times[id(pair.edge)]
        gained = (times_there[-1] - times_there[0]) - (times_here[-1] - times_here[0])
        # A baseline that is slower than what it is compared with, as through a tunnel, has no production times.
        if gained > PACE * (due[-1] - due[0]) and Arrivals(pair.edge).kind in _GOOD:
            return None
    steady = [_against(due, _at_pace(due, times[id(pair.edge)])) for pair in pairs]
    # Late only because this run was a little slower: nothing that a hop does, and nothing that is on time either.
    if any(
        raw.late > max(MAX_LATE_TO_PASS, at.late) and at.late <= MAX_LATE for raw, at in zip(found, steady, strict=True)
    ):
        return None
    same = "the same stream for each request"
    verdict = _by_lag(same, "as long after the request as at the baseline", found, numbers)
    # Where what is judged was asked for once, no other run shows that it was more than a busy machine.
    if len({id(pair.edge) for pair in pairs}) == 1 and max(one.late for one in found) <= MOST:
        return verdict if verdict.result == "PASS" else replace(verdict, result="INCONCLUSIVE")
    # Of an irregular pace two runs may agree for a while by chance, and hardly two more.
    first, *others = (times[id(pair.edge)] for pair in pairs)
    return None if verdict.result == "FAIL" and not all(_same_pace(first, other) for other in others) else verdict


def _same_pace(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether two runs differ by no more than what would be late, but for an event in ten."""
    differences = [later - earlier for earlier, later in zip(one, other, strict=True)]
    middle = median(differences)
    return sum(abs(one - middle) <= LATE for one in differences) >= (1 - MAX_LATE_TO_PASS) * len(differences)


def _judge_shape(pairs: Sequence[Pair], numbers: dict[str, Number]) -> Verdict:
    """Judge by the shape alone, as the events of a language model differ from run to run."""
    there = [Arrivals(pair.baseline) for pair in pairs]
    here = [Arrivals(pair.edge) for pair in pairs]
    kinds_there, kinds_here = {one.kind for one in there}, {one.kind for one in here}
    at_a_time = [max(one.at_a_time for one in runs) for runs in (there, here)]
    numbers |= {
        "compared": "shape",
        "shape_there": ", ".join(sorted(kinds_there)),
        "shape_here": ", ".join(sorted(kinds_here)),
        "events_at_a_time_there": at_a_time[0],
        "events_at_a_time_here": at_a_time[1],
    }

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("timing", result, sentence, numbers)

    said_there = " or ".join(sorted({_WORDS[one.kind] for one in there}))
    said_here = " or ".join(sorted({_WORDS[one.kind] for one in here}))
    if all(_comes_one_by_one(runs) for runs in (there, here)):
        if behind := _one_behind(pairs):
            return verdict(*behind)
        if slower := _slower(pairs):
            return verdict("INCONCLUSIVE", slower)
        return verdict(
            "PASS",
            f"events come {said_here}, as at the baseline; {_why_shape(pairs)}, so a delay common to all, or a hop one "
            "event behind, would not show",
        )
    if kinds_there <= set(_GOOD) and all(_is_held(one) for one in here):
        longest = min(one.spread for one in there)
        if "short" not in kinds_here or all(one.spread < longest / 3 for one in here):
            return verdict(
                "FAIL",
                f"{_HELD_BACK}: at the baseline they come {said_there} over {longest:.1f} s, here "
                f"{said_here}, the first after {ms(median(one.waited for one in here))} instead of "
                f"{ms(median(one.waited for one in there))}",
            )
    held = kinds_there | kinds_here <= set(_HELD) - {"short"}
    ratio = at_a_time[1] / at_a_time[0] if at_a_time[0] else 1.0
    if held and kinds_there == kinds_here and len(kinds_here) == 1 and ratio <= SAME_BATCH:
        return verdict("PASS", f"events come {said_here}, and so they do at the baseline: the app does that")
    if (
        held
        and kinds_there == {"batches"}
        and all(map(_is_held, [*there, *here]))
        and (kinds_here <= {"at once", "cut"} or ratio >= LARGER_BATCH)
    ):
        more = f", {at_a_time[1]:g} instead of {at_a_time[0]:g}" if kinds_here == {"batches"} else ""
        return verdict("FAIL", f"{_HELD_BACK}: at the baseline they come {said_there}, here {said_here}{more}")
    if all(one.ended in ("terminated", "closed") and one.duration < TOO_SHORT for pair in pairs for one in pair):
        return too_short(numbers)
    return verdict(
        "INCONCLUSIVE",
        f"the baseline does not tell: there events come {said_there}, here {said_here}",
    )


def _why_shape(pairs: Sequence[Pair]) -> str:
    """Say why events could not be compared one by one."""
    there, here = [
        [one.events[-1].arrived - one.events[0].arrived if one.events else 0.0 for one in runs]
        for runs in zip(*pairs, strict=True)
    ]
    if min(there) > max(here) * (1 + PACE):
        return f"it is slower, {min(there):.1f} s instead of {max(here):.1f} s"
    return "runs differ from one another" if len(pairs) > 1 else "each was asked for once"


def _comes_one_by_one(runs: Sequence[Arrivals]) -> bool:
    """Tell whether events come one by one: a hop that holds them does it in each run, a busy machine now and then."""
    good = [one for one in runs if one.kind in _GOOD]
    rest = {one.kind for one in runs} - set(_GOOD)
    return len(good) == len(runs) or (rest == {"batches"} and min((one.batched for one in good), default=1.0) <= CHANCE)


def _is_held(one: Arrivals) -> bool:
    """Tell whether a run came in a shape that only a hop makes of events one by one."""
    return one.kind in _HELD and (one.kind != "batches" or one.batched > MOST)


def _one_behind(pairs: Sequence[Pair]) -> tuple[Result, str] | None:
    """Look for a hop that passes on an event when it gets the next one: at the end it must pass on two at once."""
    if len(pairs) < 2 or any(one.ended not in ("terminated", "closed") for pair in pairs for one in pair):
        return None
    gaps = [[later.arrived - earlier.arrived for earlier, later in pairwise(pair.baseline.events)] for pair in pairs]
    last_there = [run[-1] for run in gaps]
    last_here = [pair.edge.events[-1].arrived - pair.edge.events[-2].arrived for pair in pairs]
    rarely = sum(gap <= TOGETHER for run in gaps for gap in run) <= 0.1 * sum(map(len, gaps))
    shown = [there for there, here in zip(last_there, last_here, strict=True) if here <= TOGETHER < there]
    if not rarely or len(shown) < 2:
        return None
    said = f"the last two events came together here, and {ms(min(shown))} apart at the baseline"
    firsts = [
        (pair.edge.events[0].arrived - pair.edge.request_sent_at)
        - (pair.baseline.events[0].arrived - pair.baseline.request_sent_at)
        for pair in pairs
    ]
    # Of an irregular pace the last two may come together twice by chance, and hardly a third time.
    first, *others = (
        [event.arrived - pair.baseline.request_sent_at for event in pair.baseline.events] for pair in pairs
    )
    regular = all(len(first) == len(other) and _same_pace(first, other) for other in others)
    # How late the first one is depends on when the second one was due.
    if (regular or len(shown) >= 3) and sum(firsts) >= LATE * len(firsts) and min(firsts) >= LATE / 3:
        return "FAIL", f"a hop is one event behind: {said}, and the first one came up to {ms(max(firsts))} later"
    return "INCONCLUSIVE", f"{said}: a hop that is one event behind does that, or chance; try again, or with --repeat"


def _slower(pairs: Sequence[Pair]) -> str | None:
    """Say that events came more slowly in each run, where that is more than runs of an irregular pace differ by."""
    if not all(len(pair.baseline.events) == len(pair.edge.events) >= 2 for pair in pairs):
        return None
    there = max(pair.baseline.events[-1].arrived - pair.baseline.events[0].arrived for pair in pairs)
    here = min(pair.edge.events[-1].arrived - pair.edge.events[0].arrived for pair in pairs)
    if here <= there * SLOWER + LATE:
        return None
    return (
        f"events come one by one, but over {here:.1f} s instead of {there:.1f} s at the baseline: something slows them"
    )


def _by_lag(what: str, due: str, found: Sequence[_Lags], numbers: dict[str, Number]) -> Verdict:
    lags = [lag - one.shift for one in found for lag in one.values]
    shift = max((one.shift for one in found), key=abs)
    late = [one.late for one in found]
    total = sum(len(one.values) for one in found)
    late_count = sum(round(one.late * len(one.values)) for one in found)
    numbers |= {
        "compared": what,
        "events": total,
        "events_late": late_count,
        "lag_median_ms": to_ms(median(lags)),
        "lag_max_ms": to_ms(max(lags)),
        "shift_ms": to_ms(shift),
    }
    common = ""
    if any(one.shift for one in found):
        common = f"; all by {ms(max(shift, 0.0))}, which may be the way there: a delay common to all would not show"
    said = (
        f"{late_count} of {count(total, 'event')} were late against the baseline ({what}), largest lag {ms(max(lags))}"
    )
    if min(late) > MAX_LATE:
        return Verdict("timing", "FAIL", f"{_HELD_BACK}: {said}{common}", numbers)
    if max(late) <= MAX_LATE_TO_PASS:
        sentence = f"events came {due}, largest lag {ms(max(lags))} ({what}){common}"
        return Verdict("timing", "PASS", sentence, numbers)
    return Verdict("timing", "INCONCLUSIVE", f"{said}, and not so in each run; try again{common}", numbers)


def _against(due: Sequence[float], times: Sequence[float]) -> _Lags:
    """Return lags, with what is common to all taken from the fastest event."""
    lags = [time - at for at, time in zip(due, times, strict=True)]
    shift = min(lags)
    return _Lags(lags, _late(due, [lag - shift for lag in lags]), shift)


def _at_pace(due: Sequence[float], times: Sequence[float]) -> list[float]:
    """Return the times as if the run had been neither slower nor faster than the other, within `PACE`."""
    length = due[-1] - due[0]
    drift = (times[-1] - due[-1]) - (times[0] - due[0])
    if length <= 0 or abs(drift) > PACE * length:
        return list(times)
    return [time - drift * (at - due[0]) / length for at, time in zip(due, times, strict=True)]


def _late(due: Sequence[float], lags: Sequence[float]) -> float:
    """Return the share of events that were late."""
    pauses = [later - earlier for earlier, later in pairwise(due)]
    pauses.append(median(pauses) if pauses else 0.0)  # nothing follows the last one
    late = [
        lag >= LATE and (lag >= LATE_SHARE_OF_PAUSE * pause or lag >= SURELY_LATE)
        for lag, pause in zip(lags, pauses, strict=True)
    ]
    return sum(late) / len(late) if late else 0.0


def _alike(one: Observation, other: Observation) -> bool:
    """Tell whether at least half of the events are the same, of those that occur once."""
    ours, theirs = ({event.digest for event in _once(seen.events)} for seen in (one, other))
    return len(ours & theirs) * 2 >= max(2, min(len(ours), len(theirs)))


def _once(events: Sequence[Event]) -> list[Event]:
    counts = Counter(event.digest for event in events)
    return [event for event in events if counts[event.digest] == 1]
