"""Numbers that people argue in: the time to the first event, the gaps between events, events a second. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from statistics import median

from streamproof.observation import Observation
from streamproof.verdict import Number, Verdict, count, ms, to_ms

_PERCENTILES = (50, 90, 99)


def pace(observations: Sequence[Observation]) -> dict[str, float]:
    """Return the numbers of a response, or the medians of those of several; empty where there was no event.

    Times are in milliseconds, the first event's from the request; percentiles are by nearest rank, gaps that occurred.
    """
    found = [numbers for numbers in map(_pace, observations) if numbers]
    names = [name for name in max(found, key=len, default={})]
    return {name: round(median(one[name] for one in found if name in one), 3) for name in names}


def _pace(observation: Observation) -> dict[str, float]:
    arrived = [event.arrived for event in observation.events]
    if not arrived:
        return {}
    numbers = {"first_event_ms": to_ms(arrived[0] - observation.request_sent_at)}
    gaps = sorted(later - earlier for earlier, later in pairwise(arrived))
    if gaps:
        numbers |= {f"gap_p{rank}_ms": to_ms(gaps[ceil(rank / 100 * len(gaps)) - 1]) for rank in _PERCENTILES}
        numbers["gap_max_ms"] = to_ms(gaps[-1])
    if arrived[-1] > arrived[0]:
        numbers["events_per_second"] = round(len(gaps) / (arrived[-1] - arrived[0]), 3)
    return numbers


def pace_line(observation: Observation) -> str:
    """Say in a line how events came; nothing where there are too few, or lags tell more."""
    if any(row.produced is not None for row in observation.rows):
        return ""
    numbers = pace([observation])
    return f"{count(observation.event_count, 'event')}: {in_words(numbers)}" if "gap_max_ms" in numbers else ""


def in_words(numbers: dict[str, float]) -> str:
    """Say the numbers in a line."""
    said = [f"first event after {ms(numbers['first_event_ms'] / 1000)}"]
    if "gap_max_ms" in numbers:
        largest = numbers["gap_max_ms"] / 1000
        gaps = [f"p{rank} {ms(numbers[f'gap_p{rank}_ms'] / 1000)}" for rank in _PERCENTILES]
        said.append(f"gaps {', '.join([*gaps, f'largest {ms(largest)}'])}")
    if "events_per_second" in numbers:
        said.append(f"{numbers['events_per_second']:.1f} events a second")
    return "; ".join(said)


def judge_pace(observations: Sequence[Observation]) -> Verdict:
    """Hold the numbers against what the user expects; without an expectation they pass."""
    numbers = pace(observations)
    expected = observations[0].expected
    found: dict[str, Number] = {"runs": len(observations), **numbers}
    limits = [
        ("first_event_ms", "the first event", "--max-first-event", expected.max_first_event),
        ("gap_p99_ms", "the gap between events that 99 % keep below", "--max-gap-p99", expected.max_gap_p99),
    ]
    wanted = [limit for limit in limits if limit[3] is not None]
    for name, what, option, limit in wanted:
        if limit is not None and numbers.get(name, 0.0) > limit * 1000:
            of = f", the median of {count(len(observations), 'run')}" if len(observations) > 1 else ""
            sentence = (
                f"{what} took {ms(numbers[name] / 1000)}{of}, longer than {option} {limit:g} s; {in_words(numbers)}"
            )
            return Verdict("pace", "FAIL", sentence, found)
    if missing := [option for name, _, option, _ in wanted if name not in numbers]:
        few = f"only {count(observations[0].event_count, 'event')} arrived"
        return Verdict("pace", "INCONCLUSIVE", f"{few}, so {missing[0]} has nothing to be held against", found)
    if not numbers:
        return Verdict("pace", "INCONCLUSIVE", "no event arrived, so there is no pace to tell", found)
    return Verdict("pace", "PASS", in_words(numbers), found)
