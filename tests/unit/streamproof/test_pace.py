from dataclasses import replace

import pytest
from streamproof.expected import Expected
from streamproof.observation import Row
from streamproof.pace import judge_pace, pace, pace_line

from tests.unit.streamproof.recorded import SENT, came


def events(times, **others):
    return came([(at, b"data: 1\n\n") for at in times], **others)


TEN = [0.5, *(0.5 + 0.1 * number for number in range(1, 9)), 2.3]


def test_the_first_event_the_gaps_and_the_rate():
    numbers = pace([events(TEN)])
    assert numbers == pytest.approx(
        {
            "first_event_ms": 500,
            "gap_p50_ms": 100,
            "gap_p90_ms": 1000,
            "gap_p99_ms": 1000,
            "gap_max_ms": 1000,
            "events_per_second": 5,
        },
        abs=0.01,
    )


def test_percentiles_are_gaps_that_occurred():
    times = [0.0]
    for number in range(1, 101):
        times.append(times[-1] + number / 100)
    numbers = pace([events(times)])
    assert [numbers[f"gap_p{rank}_ms"] for rank in (50, 90, 99)] == pytest.approx([500, 900, 990], abs=0.01)


def test_of_several_runs_the_medians_count():
    numbers = pace([events([first, first + 1]) for first in (0.1, 0.2, 5.0)])
    assert (numbers["first_event_ms"], numbers["gap_max_ms"]) == pytest.approx((200, 1000), abs=0.01)


@pytest.mark.parametrize(("times", "names"), [([], set()), ([0.5], {"first_event_ms"})])
def test_few_events_have_few_numbers(times, names):
    assert pace([events(times)]).keys() == names


@pytest.mark.parametrize(
    ("limits", "times", "result", "words"),
    [
        ({}, TEN, "PASS", "first event after 500 ms; gaps p50 100 ms, p90 1000 ms, p99 1000 ms, largest 1000 ms; 5.0"),
        ({"max_first_event": 0.6, "max_gap_p99": 1.1}, TEN, "PASS", "first event after 500 ms"),
        ({"max_first_event": 0.4}, TEN, "FAIL", "the first event took 500 ms, longer than --max-first-event 0.4 s"),
        ({"max_gap_p99": 0.9}, TEN, "FAIL", "took 1000 ms, longer than --max-gap-p99 0.9 s"),
        ({"max_gap_p99": 0.9}, [0.5], "INCONCLUSIVE", "only 1 event arrived, so --max-gap-p99 has nothing"),
        ({"max_first_event": 0.4}, [], "INCONCLUSIVE", "only 0 events arrived"),
        ({}, [], "INCONCLUSIVE", "no event arrived"),
    ],
)
def test_the_numbers_are_held_against_what_is_expected(limits, times, result, words):
    verdict = judge_pace([events(times, expected=Expected(**limits))])
    assert (verdict.result, words in verdict.sentence) == (result, True), verdict


def test_a_limit_holds_for_the_median():
    expected = Expected(max_first_event=1.0)
    runs = [events([first, first + 1], expected=expected) for first in (0.1, 0.2, 5.0)]
    assert judge_pace(runs).result == "PASS"
    verdict = judge_pace([*runs[1:], events([3.0, 4.0], expected=expected)])
    assert (verdict.result, "took 3000 ms, the median of 3 runs" in verdict.sentence) == ("FAIL", True)


def test_what_takes_just_as_long_as_it_may_passes():
    limits = Expected(max_first_event=0.5, max_gap_p99=0.25)
    assert judge_pace([events([0.5, 0.75, 1.0], expected=limits)]).result == "PASS"


def test_where_lags_tell_more_there_is_no_line_about_gaps():
    plain = events(TEN)
    assert pace_line(plain).startswith("10 events: first event after 500 ms; gaps p50 100 ms")
    assert pace_line(replace(plain, rows=[Row(SENT + 1, SENT, 64)])) == ""
