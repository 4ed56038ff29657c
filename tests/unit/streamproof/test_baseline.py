import random
from itertools import accumulate
from math import ceil

import pytest
from streamproof.baseline import Pair, judge_baseline, one_at_a_time, undecided

from tests.unit.streamproof.recorded import SENT, came, recorded

PACED = [0.01 + 0.25 * number for number in range(24)]


def event(number, size=64, run=0):
    head = b"data: %08d %04d " % (number, run)
    return head + b"x" * (size - len(head) - 2) + b"\n\n"


def one_by_one(times, run=0, **others):
    return came([(at, event(number, run=run)) for number, at in enumerate(times)], **others)


def at_once(times, run=0):
    return came([(times[-1], b"".join(event(number, run=run) for number in range(len(times))))])


def by(number, times, run=0):
    """So many events at a time."""
    groups = [range(start, min(start + number, len(times))) for start in range(0, len(times), number)]
    return came([(times[group[-1]], b"".join(event(one, run=run) for one in group)) for group in groups])


def poisson(seed, number=24):
    times = [0.05]
    for _ in range(number - 1):
        times.append(times[-1] + 0.15 + random.Random(seed * 1000 + len(times)).expovariate(5))  # noqa: S311
    return times


def tokens(seed):
    """Events of a language model: other sizes and times in each run."""
    dice = random.Random(seed)  # noqa: S311
    at = [0.4 + 0.2 * number + dice.random() * 0.05 for number in range(20 + seed % 4)]
    return [(time, event(number, 30 + dice.randrange(40), run=seed)) for number, time in enumerate(at)]


def judged(baselines, edges):
    verdict = judge_baseline([Pair(*pair) for pair in zip(baselines, edges, strict=True)])
    return verdict.result, verdict.sentence


def runs(make, times):
    return [make(times, run=run) for run in (3, 4)]


GOOD = [one_by_one(PACED, run=run) for run in (1, 2)]


# The same stream for each request


def test_what_is_as_fast_as_the_baseline_passes():
    result, sentence = judged(GOOD, runs(one_by_one, [at + 0.003 for at in PACED]))
    assert (result, "a delay common to all would not show" in sentence) == ("PASS", True)


def test_a_delay_common_to_all_passes_and_is_told():
    result, sentence = judged(GOOD, runs(one_by_one, [at + 0.6 for at in PACED]))
    assert (result, "all by 600 ms, which may be the way there" in sentence) == ("PASS", True)


@pytest.mark.parametrize("make", [at_once, lambda times, run: by(4, times, run)])
def test_what_is_held_back_fails(make):
    result, sentence = judged(GOOD, runs(make, PACED))
    assert (result, sentence.startswith("this path holds events back")) == ("FAIL", True)


def test_a_hop_that_is_one_event_behind_fails():
    result, sentence = judged(GOOD, runs(one_by_one, [*PACED[1:], PACED[-1]]))
    assert (result, "a hop is one event behind" in sentence) == ("FAIL", True)


def test_a_run_that_was_a_little_slower_is_not_held_back():
    slower = [at * 1.1 for at in PACED]
    assert judged(GOOD, [one_by_one(PACED, run=3), one_by_one(slower, run=4)])[0] == "PASS"


def test_a_run_that_is_much_slower_does_not_pass():
    assert judged(GOOD, runs(one_by_one, [at * 1.6 for at in PACED]))[0] != "PASS"


def test_an_event_that_was_late_once_is_no_fault():
    once = list(PACED)
    once[5] = once[6] = PACED[6] + 0.01
    assert judged(GOOD, [one_by_one(once, run=3), one_by_one(PACED, run=4)])[0] == "PASS"


def test_less_than_a_tenth_of_a_second_is_not_late():
    """However close together events are."""
    close = [0.01 + 0.02 * number for number in range(60)]
    late = list(accumulate((at + (0.08 if number // 10 % 2 else 0.0) for number, at in enumerate(close)), max))
    there, here = [one_by_one(close, run=run) for run in (1, 2)], runs(one_by_one, late)
    result, sentence = judged(there, here)
    assert (result, "the same stream for each request" in sentence) == ("PASS", True)


def test_late_in_one_run_alone_is_inconclusive():
    assert judged(GOOD, [by(4, PACED, 3), one_by_one(PACED, run=4)])[0] == "INCONCLUSIVE"


@pytest.mark.parametrize(("late", "result"), [(0, "PASS"), (3, "INCONCLUSIVE"), (4, "INCONCLUSIVE"), (5, "FAIL")])
def test_some_events_that_were_late_in_the_only_run_are_inconclusive(late, result):
    """The variants of --ask protocols are asked for once, each against two runs without a coding."""
    times = [at + 0.3 if 1 <= number <= late else at for number, at in enumerate(PACED[:8])]
    times = [max(times[: number + 1]) for number in range(8)]
    once = one_by_one(times, run=3)
    assert judged([one_by_one(PACED[:8], run=run) for run in (1, 2)], [once, once])[0] == result


def test_a_baseline_that_is_slower_takes_no_blame_and_gives_none():
    slow = [at * 1.5 for at in PACED]
    result, sentence = judged([one_by_one(slow, run=run) for run in (1, 2)], runs(one_by_one, PACED))
    assert (result, "as at the baseline; it is slower, 8.6 s instead of 5.8 s, so a delay" in sentence) == (
        "PASS",
        True,
    )


def test_a_cache_is_named_where_a_header_shows_it():
    lump = b"".join(map(event, range(24)))
    cached = [came([(0.01, lump)], headers=[("Content-Type", "text/event-stream"), ("Age", "7")]) for _ in range(2)]
    result, sentence = judged(GOOD, cached)
    assert (result, sentence.endswith("; a cache may have answered (Age: 7)")) == ("FAIL", True)


# A feed that all clients share


def shifted(observation, seconds):
    """The same, but on a feed that is further on by so many seconds."""
    return came(
        [(read.at - SENT, event(round(seconds * 4) + number)) for number, read in enumerate(observation.reads)],
        ended="timeout",
    )


@pytest.mark.parametrize(("delay", "result"), [(0.002, "PASS"), (0.6, "FAIL")])
def test_of_a_shared_feed_a_delay_common_to_all_shows(delay, result):
    first = one_by_one(PACED, ended="timeout")
    here = one_by_one([at + delay for at in PACED], ended="timeout")
    verdict = judge_baseline([Pair(first, here), Pair(shifted(first, 30), shifted(here, 30))])
    assert (verdict.result, "a feed that all clients share" in verdict.sentence) == (result, True)


# Another sequence in each run


def test_tokens_that_come_one_by_one_on_both_pass():
    result, sentence = judged([came(tokens(1)), came(tokens(2))], [came(tokens(3)), came(tokens(5))])
    assert (result, "one event behind, would not show" in sentence) == ("PASS", True)


def test_tokens_that_come_at_once_here_alone_fail():
    lump = [came([(5.0, b"".join(data for _, data in tokens(seed)))]) for seed in (3, 5)]
    result, sentence = judged([came(tokens(1)), came(tokens(2))], lump)
    assert result == "FAIL"
    assert sentence.startswith("this path holds events back: at the baseline they come one by one over 4.")


def test_what_the_app_does_itself_passes():
    lumps = [came([(2.0, b"".join(data for _, data in tokens(seed)))]) for seed in range(4)]
    result, sentence = judged(lumps[:2], lumps[2:])
    assert (result, sentence.endswith("and so they do at the baseline: the app does that")) == ("PASS", True)


@pytest.mark.parametrize(("here", "result"), [(4, "PASS"), (6, "PASS"), (7, "INCONCLUSIVE"), (12, "FAIL")])
def test_several_events_at_a_time_are_compared(here, result):
    times = [poisson(seed, 48 + 4 * seed) for seed in range(1, 5)]
    there = [by(4, times[run], run) for run in (0, 1)]
    verdict = judge_baseline([Pair(one, by(here, times[2 + run], 2 + run)) for run, one in enumerate(there)])
    assert (verdict.result, verdict.numbers["shape_there"]) == (result, "batches")


@pytest.mark.parametrize("seed", range(8))
def test_a_hop_that_is_one_event_behind_shows_at_the_end_where_the_pace_is_irregular(seed):
    """Its last two events come together, and those of the baseline do not."""
    there = [one_by_one(poisson(6 * seed + run), run) for run in (0, 1, 2)]
    edges = []
    for run in (3, 4, 5):
        times = poisson(6 * seed + run)
        edges.append(one_by_one([*times[1:], times[-1]], run))
    result, sentence = judged(there, edges)
    assert (result, "a hop is one event behind" in sentence) == ("FAIL", True)
    # Twice it may be chance, and another run tells.
    verdict = judge_baseline([Pair(*pair) for pair in zip(there[:2], edges[:2], strict=True)])
    assert (verdict.result, "or chance; try again" in verdict.sentence) == ("INCONCLUSIVE", True)
    assert undecided(verdict)


def test_one_run_on_a_busy_machine_is_no_fault():
    """A hop that holds events back does it in each run."""
    busy = [(at if number < 6 else max(at, 3.0), data) for number, (at, data) in enumerate(tokens(5))]
    busy = [(at, b"".join(data for when, data in busy if when == at)) for at in sorted({at for at, _ in busy})]
    for there, here in ((tokens(2), busy), (busy, tokens(2))):
        assert judged([came(tokens(1)), came(there)], [came(tokens(3)), came(here)])[0] == "PASS"
    assert judged([came(tokens(1)), came(tokens(2))], [came(busy), came(busy)])[0] == "INCONCLUSIVE"


def stalled(dice, times, rate, length):
    """What a busy machine makes of events: at times none comes, and then those of meanwhile together."""
    at = 0.0
    while at < times[-1]:
        at += dice.expovariate(rate)
        until = at + dice.expovariate(1 / length)
        times = [max(time, until) if at <= time < until else time for time in times]
        at = until
    writes = {
        time: b"".join(
            event(n, 48 + dice.randrange(40), dice.randrange(9999)) for n, other in enumerate(times) if other == time
        )
        for time in times
    }
    return list(writes.items())


def paced(dice, llm):
    """The times of events as of a language model, or at random."""
    if llm:
        return list(accumulate([0.02, 0.0, *(min(dice.lognormvariate(-3.2, 0.8), 0.8) for _ in range(57)), 0.0]))
    return list(accumulate([0.02, *(dice.expovariate(4) for _ in range(19))]))


def compared(seed, llm, path, connect=0.0005):
    """Judge as the verifier asks, three pairs where two decide nothing; the path is stalled twice as often."""
    dice = random.Random(seed)  # noqa: S311
    pairs = [
        Pair(
            came(stalled(dice, paced(dice, llm), 0.5, 0.15)),
            came(stalled(dice, path(paced(dice, llm)), 1.0, 0.15), connect_seconds=connect),
        )
        for _ in range(3)
    ]
    verdict = judge_baseline(pairs[:2])
    return judge_baseline(pairs) if undecided(verdict) else verdict


@pytest.mark.parametrize("llm", [True, False])
@pytest.mark.parametrize("connect", [0.0005, 0.15])
@pytest.mark.parametrize("delay", [0.0, 0.6])
def test_a_busy_machine_and_a_long_way_hold_nothing_back(llm, connect, delay):
    found = [compared(seed, llm, lambda times: [at + delay for at in times], connect) for seed in range(40)]
    assert [one.sentence for one in found if one.result == "FAIL"] == []
    assert sum(one.result == "PASS" for one in found) >= 36


@pytest.mark.parametrize("llm", [True, False])
def test_a_timer_is_found_on_a_busy_machine(llm):
    found = [compared(seed, llm, lambda times: [float(ceil(at)) for at in times]) for seed in range(40)]
    assert [one.sentence for one in found if one.result == "PASS"] == []
    assert sum(one.result == "FAIL" for one in found) >= 36, [one.sentence for one in found]


def test_of_three_runs_one_may_be_an_exception():
    lump = came([(5.0, b"".join(data for _, data in tokens(5)))])
    good = came(tokens(3))
    there = [came(tokens(seed)) for seed in (1, 2, 4)]
    for here, expected in (([good, lump, good], "PASS"), ([lump, good, lump], "FAIL")):
        result, sentence = judged(there, here)
        assert (result, sentence.endswith("one of 3 runs is left out, as an exception")) == (expected, True)


def test_runs_of_an_irregular_pace_are_not_compared_event_by_event():
    """Two of them may agree for a while by chance."""
    for seed in (492, 504, 816, 1152, 6256, 10800, 15088, *range(0, 200, 4)):
        dice = [random.Random(seed + run) for run in range(4)]  # noqa: S311
        times = [list(accumulate([0.01, *(one.expovariate(4) for _ in range(9))])) for one in dice]
        seen = [one_by_one(at, run, ended="timeout") for run, at in enumerate(times)]
        result, sentence = judged(seen[:2], seen[2:])
        assert result != "FAIL", sentence


def test_good_runs_and_bad_ones_mixed_are_inconclusive():
    lump = came([(5.0, b"".join(data for _, data in tokens(5)))])
    assert judged([came(tokens(1)), came(tokens(2))], [came(tokens(3)), lump])[0] == "INCONCLUSIVE"


# Baselines that are none


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"status": None, "http_version": None, "ended": "no_connection", "error": "no connection to a port 1"},
            "the baseline gave nothing to compare: there is no response to judge: no connection to a port 1",
        ),
        ({"status": 404, "reason": "Not Found"}, "the baseline gave nothing to compare: the response is 404 Not Found"),
        ({"status": 206}, "the baseline answers 206, and this address 200"),
        ({"headers": [("Content-Type", "text/html")]}, "the baseline is another stream: its content type is text/html"),
        ({"byte_count": 0}, "no byte of a body came"),
    ],
)
def test_a_baseline_that_is_none_is_inconclusive_and_says_why(changes, words):
    result, sentence = judged([one_by_one(PACED, **changes)], [one_by_one(PACED)])
    assert (result, words in sentence) == ("INCONCLUSIVE", True)


def test_a_baseline_that_is_another_stream_is_inconclusive_and_says_so():
    other = [came([(at, event(n, 300, run)) for n, at in enumerate(PACED[:9])]) for run in (1, 2)]
    result, sentence = judged(other, runs(one_by_one, PACED))
    assert result == "INCONCLUSIVE"
    assert sentence == "the baseline is another stream: 9 events of about 300 bytes there, 24 of about 64 here"
    # What differs from run to run anyway is no other stream, nor is what was cut.
    assert judged([came(tokens(1)), came(tokens(2))], runs(one_by_one, PACED))[0] == "PASS"
    assert judged(GOOD, runs(one_by_one, PACED[:12]))[0] == "PASS"


def test_a_baseline_that_is_worse_is_inconclusive():
    result, sentence = judged([at_once(PACED, run=run) for run in (1, 2)], runs(one_by_one, PACED))
    assert (result, sentence.startswith("the baseline does not tell")) == ("INCONCLUSIVE", True)


def test_what_is_too_short_on_both_does_not_count():
    short = [0.01, 0.02, 0.03]
    verdict = judge_baseline([Pair(at_once(short, 1), at_once(short, 2))])
    assert (verdict.result, verdict.counts) == ("INCONCLUSIVE", False)


def test_an_app_that_serves_one_at_a_time_is_noticed():
    first = recorded(ended_at=SENT + 3)
    after = recorded(started_at=SENT + 0.01, header_at=SENT + 3.01, ended_at=SENT + 6)
    beside = recorded(started_at=SENT + 0.01, header_at=SENT + 0.02, ended_at=SENT + 3)
    assert one_at_a_time(Pair(first, after)) and one_at_a_time(Pair(after, first))
    # Both collect what they send: the header of each comes with its end.
    lumps = [recorded(header_at=SENT + at, ended_at=SENT + at) for at in (3, 3.01)]
    assert not one_at_a_time(Pair(*lumps))
    assert one_at_a_time(Pair(lumps[0], recorded(header_at=SENT + 6, ended_at=SENT + 6)))
    assert not one_at_a_time(Pair(first, beside))
    assert not one_at_a_time(Pair(first, recorded(started_at=SENT + 4, header_at=SENT + 4, ended_at=SENT + 5)))
