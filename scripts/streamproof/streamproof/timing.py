"""Verdict about timing: does each row arrive before the app produces the next one?

That needs rows which carry the time of their production (see `promise`, and --times); without, what is left are
arrivals alone. Production times are on the app's clock, arrivals are on the client's, and only causality ties the two
together. Let s be production times, a arrivals, t0 the time at which the request was sent, and theta the app's clock
minus the client's. No row arrives before it is produced, so theta >= max(s - a); none is produced before it is asked
for, so theta <= min(s) - t0. Where 0 lies between these bounds the clocks are taken to agree. Where it does not, the
lower bound is taken: it gives the fastest row a lag of zero, so that lags are no larger than they really are, and what
remains unknown is a delay common to all rows, of at most the distance between the bounds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import ceil
from statistics import median

from streamproof.arrivals import Arrivals, judge_arrivals
from streamproof.observation import Observation, Read
from streamproof.verdict import Number, Result, Verdict, count, ms, to_ms

# Rows that are produced closer together than this, in seconds, are not told apart.
MIN_PAUSE = 0.020
# A lag, in seconds, that is too much even where rows cannot be judged one by one, or where clocks leave doubts.
SURELY_LATE = 1.0
# A lag, in seconds, that nobody notices.
UNNOTICED = 0.100
# How far apart, in seconds, two readings of one clock may seem to be.
CLOCK_NOISE = 0.001


def judge_timing(observation: Observation) -> Verdict:
    """Does each row arrive before the next one is produced, and if not, in what shape do they come?"""
    numbers: dict[str, Number] = {"rows": observation.row_count}
    reads = [read for read in observation.reads if read.size]
    if reads:
        numbers["spread_ms"] = to_ms(reads[-1].at - reads[0].at)
        numbers["reads"] = len(reads)

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("timing", result, sentence, numbers)

    timed = [(row.produced, row.arrived) for row in observation.rows if row.produced is not None]
    if not timed and observation.times is not None:
        return verdict(
            "INCONCLUSIVE",
            f"--times {observation.times} found a time in none of {count(observation.row_count, 'row')}: each is one "
            "line, and the group 'time' must hold seconds, ms or ns since 1970 or a date as in ISO 8601",
        )
    if not timed:
        return judge_arrivals(Arrivals(observation))
    numbers["evidence"] = "production times"
    if len(timed) < 2:
        return verdict("INCONCLUSIVE", "only one row with a production time arrived, at least two are needed")
    produced = [row[0] for row in timed]
    arrived = [row[1] for row in timed]
    if any(later < earlier for earlier, later in pairwise(produced)):
        return verdict("INCONCLUSIVE", "production times go backward, so lag cannot be told from them")

    lower, upper = clock_bounds(observation, timed)
    numbers |= {"offset_lower_ms": to_ms(lower), "offset_upper_ms": to_ms(upper)}
    if lower > upper + CLOCK_NOISE:
        return verdict(
            "INCONCLUSIVE",
            "the production times do not fit between the request and the arrivals, whatever the app's clock says: "
            "these rows were not produced for this request, or a clock was set meanwhile",
        )
    offset = clock_offset(lower, upper)
    clocks_agree = offset == 0.0
    lags = [came - made + offset for made, came in timed]
    pauses = [pause for pause in (later - earlier for earlier, later in pairwise(produced)) if pause >= MIN_PAUSE]
    largest = max(lags)
    numbers |= {
        "rows_judged": len(timed),
        "offset_used_ms": to_ms(offset),
        "lag_min_ms": to_ms(min(lags)),
        "lag_median_ms": to_ms(median(lags)),
        # By nearest rank: a lag that a row had.
        "lag_p99_ms": to_ms(sorted(lags)[ceil(0.99 * len(lags)) - 1]),
        "lag_max_ms": to_ms(largest),
    }
    notes = ""
    if not clocks_agree:
        which = "ahead of" if offset > 0 else "behind"
        notes = f"; the app's clock is about {ms(abs(offset))} {which} ours, lag is counted from the fastest row"
    if observation.row_count > len(observation.rows):
        notes += f"; only the first {len(observation.rows)} of {observation.row_count} rows were looked at"

    # A stream that spends most of its time between rows is paced by the app. One that does not may be as fast as the
    # path or the client allows, and then some lag is nothing but full buffers.
    if sum(pauses) * 2 < produced[-1] - produced[0] or not pauses:
        held = max(_held(observation.reads, [(made - offset, came) for made, came in timed]))
        if held >= SURELY_LATE:
            return verdict("FAIL", f"rows were held back for up to {ms(held)} while the client waited for them{notes}")
        return verdict(
            "INCONCLUSIVE",
            f"rows were produced too close together to be judged one by one (it takes pauses of {ms(MIN_PAUSE)}); "
            f"largest lag {ms(largest)}, none was held back for as long as {ms(SURELY_LATE)}{notes}",
        )

    pause = median(pauses)
    due = _due(produced, pause)
    numbers["pause_median_ms"] = to_ms(pause)

    def late_at(theta: float) -> list[int]:
        return [row for row, came in enumerate(arrived) if came >= due[row] - theta]

    late = late_at(offset)
    numbers["rows_late"] = len(late)
    in_time = f"each of {len(timed)} rows arrived before the next one was produced, largest lag {ms(largest)}{notes}"
    # Nearly the same lag for every row is distance, or clocks that differ: a buffer makes lags differ.
    constant = largest - min(lags) < pause / 2
    if not late:
        unknown = upper - lower
        if clocks_agree or not late_at(upper):
            return verdict("PASS", in_time)
        if unknown >= SURELY_LATE or not constant:
            return verdict("INCONCLUSIVE", f"{in_time}, but a delay of up to {ms(unknown)} may hide in that difference")
        return verdict("PASS", f"{in_time}; a delay common to all, of up to {ms(unknown)}, would not show")
    bursts = _bursts(reads, pause / 2)
    numbers["bursts"] = len(bursts)
    some_late = f"{len(late)} of {len(timed)} rows were late, largest lag {ms(largest)}"
    if constant and largest < SURELY_LATE:
        return verdict(
            "INCONCLUSIVE",
            f"{some_late}, but all rows by nearly the same time: that is a long way, or clocks that differ{notes}",
        )
    hit = {bisect_right([burst[0].at for burst in bursts], arrived[row]) for row in late}
    # A hop that holds rows back does so again and again, or holds most of them. A busy machine does it now and then, to
    # the app, to a hop or to this client, and for as long as half a second (measured: once in 900 streams).
    if largest < SURELY_LATE and len(hit) <= max(1, len(timed) // 100) and len(late) * 2 < len(timed):
        return verdict(
            "INCONCLUSIVE",
            f"{some_late}: so rarely, and for less than {ms(SURELY_LATE)}, it may be a busy machine; try again{notes}",
        )
    if largest < UNNOTICED and len(late) * 2 < len(timed):
        return verdict("INCONCLUSIVE", f"{some_late}: for less than {ms(UNNOTICED)}, it may be a busy machine{notes}")
    return verdict("FAIL", f"{some_late}; {_shape(bursts, len(timed))}{notes}")


def clock_bounds(observation: Observation, timed: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return between which bounds the app's clock minus the client's must be, given rows as (produced, arrived)."""
    return max(made - came for made, came in timed), timed[0][0] - observation.request_sent_at


def clock_offset(lower: float, upper: float) -> float:
    """Return which of these is taken: zero where both clocks can agree, else the lower bound."""
    return 0.0 if lower <= CLOCK_NOISE and upper >= -CLOCK_NOISE else lower


def _due(produced: Sequence[float], pause: float) -> list[float]:
    """Return for each row when it must have arrived, on the app's clock.

    That is when the next row is produced; rows that are produced together, as one chunk, count as one here. Rows with
    no successor get the median pause.
    """
    due = []
    successor = 0
    for made in produced:
        while successor < len(produced) and produced[successor] < made + MIN_PAUSE:
            successor += 1
        due.append(produced[successor] if successor < len(produced) else made + pause)
    return due


def _held(reads: Sequence[Read], rows: Sequence[tuple[float, float]]) -> list[float]:
    """Return for each row, given as (produced, arrived), how long the client sat waiting while it was under way.

    The time that the client spent on the bytes it had is its own: a slow client must not find rows late because of it.
    """
    starts = [read.at - read.waited for read in reads]
    sums = [0.0, *accumulate(read.waited for read in reads)]

    def waited_until(time: float) -> float:
        last = bisect_right(starts, time) - 1
        return sums[last] + min(time - starts[last], reads[last].waited) if last >= 0 else 0.0

    return [waited_until(came) - waited_until(made) for made, came in rows]


def _bursts(reads: Sequence[Read], gap: float) -> list[list[Read]]:
    """Group reads with less than a gap, in seconds, from one to the next."""
    bursts: list[list[Read]] = []
    for read in reads:
        if bursts and read.at - bursts[-1][-1].at < gap:
            bursts[-1].append(read)
        else:
            bursts.append([read])
    return bursts


def _shape(bursts: Sequence[Sequence[Read]], rows: int) -> str:
    """Say in what shape rows came that were late, given how many there were."""
    sizes = [sum(read.size for read in burst) for burst in bursts]
    if not sizes:  # of a saved run
        return "their shape is unknown, as no read was recorded"
    if len(sizes) == 1:
        return "all rows arrived together at the end"
    if len(sizes) * 2 > rows:
        return "they came one by one"
    # The last burst is what was left. The first may have shared its buffer with the header.
    full = sizes[1:-1] if len(sizes) > 3 else sizes[:-1]
    size = median(full)
    if max(full) - min(full) > size / 4:
        return f"they came in {count(len(sizes), 'burst')} of {min(sizes)} to {max(sizes)} bytes"
    buffer = next((kib for kib in (1 << power for power in range(11)) if abs(size - kib * 1024) < kib * 1024 / 8), None)
    guess = f": this looks like {'an' if buffer == 8 else 'a'} {buffer} KiB buffer" if buffer else ""
    return f"they came in {count(len(sizes), 'burst')} of about {size:.0f} bytes{guess}"
