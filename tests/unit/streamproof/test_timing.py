from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof.observation import Read, Row
from streamproof.timing import judge_timing

from tests.unit.streamproof.recorded import SENT, recorded

PACED = [0.1 * number for number in range(12)]
HOUR = 3600.0


def observe(produced, arrived, *, server_ahead=0.0, size=64, ttfb=0.01, **others):
    """Make an observation of rows by the seconds, after the first, at which they were produced and arrived.

    The request was sent `ttfb` before the first row was produced.
    """
    start = SENT + ttfb
    rows = [Row(start + came, start + made + server_ahead, size) for made, came in zip(produced, arrived, strict=True)]
    return recorded(rows, ended_at=SENT + 60, **others)


def delayed(produced, delays):
    return [made + delay for made, delay in zip(produced, delays, strict=True)]


def timing(observation):
    verdict = judge_timing(observation)
    return verdict.result, verdict.sentence


def test_rows_in_time_pass():
    verdict = judge_timing(observe(PACED, delayed(PACED, [0.002] * 11 + [0.004])))
    assert (verdict.result, verdict.sentence) == (
        "PASS",
        "each of 12 rows arrived before the next one was produced, largest lag 4.0 ms",
    )
    assert verdict.numbers == pytest.approx(
        {
            "rows": 12,
            "spread_ms": 1102,
            "reads": 12,
            "evidence": "production times",
            "offset_lower_ms": -2,
            "offset_upper_ms": 10,
            "rows_judged": 12,
            "offset_used_ms": 0,
            "lag_min_ms": 2,
            "lag_median_ms": 2,
            "lag_p99_ms": 4,
            "lag_max_ms": 4,
            "pause_median_ms": 100,
            "rows_late": 0,
        },
        abs=0.01,
    )


def test_all_rows_at_the_end_fail():
    """The shape that proxy-buffering "on" gives to an upstream body that is not chunked."""
    verdict = judge_timing(observe(PACED, [1.205] * 12))
    assert (verdict.result, verdict.sentence) == (
        "FAIL",
        "12 of 12 rows were late, largest lag 1205 ms; all rows arrived together at the end",
    )
    assert (verdict.numbers["rows_late"], verdict.numbers["bursts"]) == (12, 1)


@pytest.mark.parametrize(("arrived", "result"), [(1.15, "PASS"), (1.25, "INCONCLUSIVE")])
def test_a_row_before_a_long_pause_may_come_until_its_end(arrived, result):
    produced = [*PACED[:5], 1.2, 1.3, 1.4]
    assert timing(observe(produced, [*PACED[:4], arrived, *(max(made, arrived) for made in produced[5:])]))[0] == result


def bursts(rows, per_burst, pause=0.1):
    produced = [pause * number for number in range(rows)]
    arrived = [pause * min(rows - 1, number // per_burst * per_burst + per_burst - 1) + 0.001 for number in range(rows)]
    return produced, arrived


@pytest.mark.parametrize(
    ("rows", "per_burst", "size", "words"),
    [
        (20, 4, 1024, "they came in 5 bursts of about 4096 bytes: this looks like a 4 KiB buffer"),
        (18, 4, 1024, "they came in 5 bursts of about 4096 bytes: this looks like a 4 KiB buffer"),
        (7, 4, 1024, "they came in 2 bursts of about 4096 bytes: this looks like a 4 KiB buffer"),
        (20, 8, 1024, "they came in 3 bursts of about 8192 bytes: this looks like an 8 KiB buffer"),
        (20, 4, 700, "they came in 5 bursts of about 2800 bytes"),
        (20, 2, 700, "they came in 10 bursts of about 1400 bytes"),
        (20, 4, 256, "they came in 5 bursts of about 1024 bytes: this looks like a 1 KiB buffer"),
        (20, 4, 903, "they came in 5 bursts of about 3612 bytes: this looks like a 4 KiB buffer"),
        (20, 4, 890, "they came in 5 bursts of about 3560 bytes"),
        (20, 4, 1 << 18, "they came in 5 bursts of about 1048576 bytes: this looks like a 1024 KiB buffer"),
        (20, 4, 1 << 19, "they came in 5 bursts of about 2097152 bytes"),
    ],
)
def test_bursts_are_recognised(rows, per_burst, size, words):
    result, sentence = timing(observe(*bursts(rows, per_burst), size=size))
    assert result == "FAIL"
    assert sentence.endswith(words)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([4, 2, 5, 1], "4 bursts of 1024 to 5120 bytes"),
        ([2, 4, 1], "3 bursts of 1024 to 4096 bytes"),
        ([18, 16, 20, 18, 1], "5 bursts of about 18432 bytes"),
        # The first may have shared its buffer with the header.
        ([2, 4, 4, 1], "4 bursts of about 4096 bytes: this looks like a 4 KiB buffer"),
        ([2, 4, 4, 4, 1], "5 bursts of about 4096 bytes: this looks like a 4 KiB buffer"),
    ],
)
def test_bursts_of_different_sizes_are_named_so(sizes, words):
    produced = [0.1 * number for number in range(sum(sizes))]
    arrived = [
        produced[end - 1] + 0.001 for size, end in zip(sizes, accumulate(sizes), strict=True) for _ in range(size)
    ]
    assert timing(observe(produced, arrived, size=1024))[1].endswith(f"they came in {words}")


def test_late_rows_of_a_saved_run_that_has_no_reads_have_no_shape():
    result, sentence = timing(observe(PACED, [1.2] * 12, reads=[]))
    assert result == "FAIL"
    assert sentence.endswith("their shape is unknown, as no read was recorded")


def test_a_row_held_until_the_next_one_comes_fails():
    arrived = [*(made + 0.1001 for made in PACED[:-1]), PACED[-1] + 0.0001]
    result, sentence = timing(observe(PACED, arrived))
    assert result == "FAIL"
    assert "11 of 12 rows were late, largest lag 100 ms; they came one by one" in sentence


def held(produced, row, delay):
    """Hold one row back, and with it those that follow meanwhile."""
    return [max(made, produced[row] + delay) if number >= row else made for number, made in enumerate(produced)]


def test_rows_held_back_once_for_a_second_fail():
    result, sentence = timing(observe(PACED, held(PACED, 5, 1.05)))
    assert (result, "7 of 12 rows were late, largest lag 1050 ms" in sentence) == ("FAIL", True)


@pytest.mark.parametrize("delay", [0.15, 0.5])
def test_rows_held_back_once_for_less_are_inconclusive(delay):
    """As by a machine that is too busy to run the client."""
    result, sentence = timing(observe(PACED, held(PACED, 5, delay)))
    assert result == "INCONCLUSIVE"
    assert sentence.endswith(": so rarely, and for less than 1000 ms, it may be a busy machine; try again")


def test_most_rows_held_back_fail_however_short():
    assert timing(observe(PACED, held(PACED, 2, 0.8)))[0] == "FAIL"


@pytest.mark.parametrize(
    ("rows", "times", "result"),
    [(30, 1, "INCONCLUSIVE"), (30, 2, "FAIL"), (250, 2, "INCONCLUSIVE"), (250, 3, "FAIL")],
)
def test_once_or_one_in_a_hundred_is_rarely(rows, times, result):
    produced = [0.1 * number for number in range(rows)]
    late = {5 + 8 * number for number in range(times)}
    arrived = [made + (0.15 if number in late else 0.001) for number, made in enumerate(produced)]
    arrived = [max(arrived[: number + 1]) for number in range(rows)]
    assert timing(observe(produced, arrived))[0] == result


@pytest.mark.parametrize(("late", "p99"), [(2, 1), (3, 50)])
def test_the_99th_percentile_is_the_lag_that_one_row_in_a_hundred_exceeds(late, p99):
    produced = [0.1 * number for number in range(200)]
    numbers = judge_timing(observe(produced, delayed(produced, [0.001] * (200 - late) + [0.05] * late))).numbers
    assert numbers["lag_p99_ms"] == pytest.approx(p99, abs=0.01)
    assert numbers["lag_median_ms"] == pytest.approx(1, abs=0.01)


def test_rows_held_back_twice_fail_however_short():
    twice = [max(pair) for pair in zip(held(PACED, 3, 0.15), held(PACED, 8, 0.15), strict=True)]
    twice[4:8] = PACED[4:8]
    assert timing(observe(PACED, twice))[0] == "FAIL"


@pytest.mark.parametrize("delay", [0.09, 0.05])
def test_a_hiccup_shorter_than_the_pause_passes(delay):
    assert timing(observe(PACED, delayed(PACED, [0.001] * 5 + [delay] + [0.001] * 6)))[0] == "PASS"


def test_short_lags_again_and_again_fail():
    assert timing(observe(*bursts(24, 3, pause=0.03)))[0] == "FAIL"


def test_some_lags_that_nobody_notices_are_inconclusive():
    """As where a busy machine stops an app that writes without pauses."""
    produced = [0.01 + 0.001 * (number % 30) + 0.08 * (number // 30) for number in range(120)]
    arrived = list(
        accumulate((made + (0.06 if number % 30 > 24 else 0.001) for number, made in enumerate(produced)), max)
    )
    result, sentence = timing(observe(produced, arrived))
    assert (result, "for less than 100 ms, it may be a busy machine" in sentence) == ("INCONCLUSIVE", True), sentence


def test_the_last_row_is_held_against_the_median_pause():
    assert timing(observe(PACED, delayed(PACED, [0.001] * 11 + [0.099])))[0] == "PASS"
    assert timing(observe(PACED, delayed(PACED, [0.001] * 11 + [0.101])))[0] == "INCONCLUSIVE"


# Clocks


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_another_clock_is_accounted_for(ahead):
    verdict = judge_timing(observe(PACED, delayed(PACED, [0.002] * 12), server_ahead=ahead))
    assert verdict.result == "PASS"
    words = "about 3599998 ms ahead of ours" if ahead > 0 else "about 3600002 ms behind ours"
    assert words in verdict.sentence
    assert verdict.numbers["lag_max_ms"] == pytest.approx(0, abs=0.01)
    assert verdict.numbers["offset_used_ms"] == pytest.approx(ahead * 1000 - 2, abs=0.01)


@pytest.mark.parametrize("ahead", [0.005, 0.05, 0.2, -0.015, -0.05, -0.2])
def test_a_clock_that_is_a_little_off_is_accounted_for_too(ahead):
    verdict = judge_timing(observe(PACED, delayed(PACED, [0.002] * 12), server_ahead=ahead))
    assert verdict.result == "PASS"
    assert f"{'ahead of' if ahead > 0 else 'behind'} ours" in verdict.sentence
    assert verdict.numbers["offset_used_ms"] == pytest.approx((ahead - 0.002) * 1000, abs=0.01)


@pytest.mark.parametrize("ahead", [0.0025, -0.0105])  # the rows' bounds are 2 ms and 10 ms
def test_less_than_a_millisecond_is_the_noise_of_one_clock(ahead):
    verdict = judge_timing(observe(PACED, delayed(PACED, [0.002] * 12), server_ahead=ahead))
    assert (verdict.result, verdict.numbers["offset_used_ms"]) == ("PASS", 0)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("arrived", [[1.205] * 12, bursts(12, 3)[1]])
def test_another_clock_hides_nothing(ahead, arrived):
    assert timing(observe(PACED, arrived, server_ahead=ahead))[0] == "FAIL"


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_slow_first_row_does_not_count_as_lag_on_another_clock(ahead):
    result, sentence = timing(observe(PACED, delayed(PACED, [0.002] * 12), server_ahead=ahead, ttfb=0.5))
    assert result == "PASS"
    assert "a delay common to all, of up to 502 ms, would not show" in sentence


def test_another_clock_that_could_hide_a_second_is_inconclusive():
    observation = observe(PACED, delayed(PACED, [0.002] * 12), server_ahead=HOUR, ttfb=1.5)
    assert timing(observation)[0] == "INCONCLUSIVE"


def test_rows_that_all_are_somewhat_late_are_inconclusive():
    """As on a long way, with pauses shorter than the way."""
    result, sentence = timing(observe(PACED, delayed(PACED, [0.15] * 12)))
    assert (result, "by nearly the same time" in sentence) == ("INCONCLUSIVE", True)


def test_rows_that_all_are_a_second_late_fail():
    assert timing(observe(PACED, delayed(PACED, [1.5] * 12)))[0] == "FAIL"


def test_rows_older_than_the_request_are_inconclusive():
    """As from a cache: all at once, produced long ago."""
    result, sentence = timing(observe(PACED, [0.0] * 12, server_ahead=-HOUR))
    assert (result, "were not produced for this request" in sentence) == ("INCONCLUSIVE", True)


def test_bounds_that_miss_each_other_by_the_noise_of_a_clock_are_none():
    assert timing(observe(PACED, delayed(PACED, [-0.0005] * 12), ttfb=0.0))[0] == "PASS"


@pytest.mark.parametrize("early", [0.005, 0.1])
def test_rows_a_little_older_than_the_request_are_inconclusive_too(early):
    """They are all there before the last of them can have been produced, if the first was for this request."""
    result, sentence = timing(observe(PACED, [PACED[-1] - early] * 12, ttfb=0.0))
    assert (result, "were not produced for this request" in sentence) == ("INCONCLUSIVE", True)


def test_production_times_that_go_backward_are_inconclusive():
    result, sentence = timing(observe([0, 1, 0.5], [0, 1, 1.5]))
    assert (result, sentence) == ("INCONCLUSIVE", "production times go backward, so lag cannot be told from them")
    assert timing(observe([0, 0, 1], [0, 0, 1]))[0] == "PASS"


# Rows produced close together


def test_rows_produced_together_are_judged_as_one():
    produced = [0.2 * (number // 5) + 0.0001 * (number % 5) for number in range(40)]
    assert timing(observe(produced, delayed(produced, [0.002] * 40)))[0] == "PASS"
    assert timing(observe(produced, [1.5] * 40))[0] == "FAIL"


DENSE = [0.001 * number for number in range(2000)]


def test_rows_too_close_together_are_inconclusive():
    verdict = judge_timing(observe(DENSE, delayed(DENSE, [0.05] * 2000)))
    assert (verdict.result, verdict.sentence) == (
        "INCONCLUSIVE",
        "rows were produced too close together to be judged one by one (it takes pauses of 20 ms); largest lag 50 ms, "
        "none was held back for as long as 1000 ms",
    )
    assert verdict.numbers["lag_max_ms"] == pytest.approx(50, abs=0.01)


@pytest.mark.parametrize(("pause", "words"), [(0.019, "too close together"), (0.021, "each of 50 rows")])
def test_rows_are_told_apart_from_20_ms_on(pause, words):
    produced = [pause * number for number in range(50)]
    assert words in timing(observe(produced, delayed(produced, [0.001] * 50)))[1]


@pytest.mark.parametrize(("pause", "result"), [(0.05, "INCONCLUSIVE"), (0.2, "FAIL")])
def test_rows_with_pauses_now_and_then_are_judged_one_by_one_if_it_mostly_pauses(pause, result):
    """A hundred rows in 0.1 s, and then a pause, ten times; the rows after the first pause come 0.21 s late."""
    produced = [(0.1 + pause) * (number // 100) + 0.001 * (number % 100) for number in range(1000)]
    arrived = [made + (0.21 if number >= 100 else 0.0) for number, made in enumerate(produced)]
    assert timing(observe(produced, arrived))[0] == result


def test_rows_close_together_that_are_held_back_for_a_second_fail():
    result, sentence = timing(observe(DENSE, [2.001] * 2000))
    assert (result, sentence) == ("FAIL", "rows were held back for up to 2001 ms while the client waited for them")


def test_a_slow_client_does_not_blame_the_path():
    """The client never waits; the bytes lie in front of it."""
    arrived = [2 * made + 0.001 for made in DENSE]
    reads = [Read(SENT + 0.01 + came, 64, 0.0) for came in arrived]
    assert timing(observe(DENSE, arrived, reads=reads))[0] == "INCONCLUSIVE"


# Too little to go by


def test_without_production_times_arrivals_alone_are_inconclusive(stream, record):
    verdict = judge_timing(record([b"HTTP/1.1 200 OK\r\n\r\n", stream.body()]))
    assert verdict.result == "INCONCLUSIVE"
    assert "--baseline" in verdict.sentence
    assert verdict.numbers["evidence"] == "arrivals"


def test_rows_of_an_encoded_body_cannot_be_read(stream, record):
    result, sentence = timing(record([stream.header("Content-Encoding: compress"), b"\x1f\x8b\n"]))
    assert (result, "encoded (compress)" in sentence) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(
    ("rows", "result", "words"),
    [
        (0, "INCONCLUSIVE", "nothing of the body arrived, so there is nothing to tell from arrivals"),
        (1, "INCONCLUSIVE", "only one row with a production time arrived, at least two are needed"),
        (2, "PASS", "each of 2 rows arrived before the next one was produced, largest lag 0.0 ms"),
    ],
)
def test_two_rows_are_needed(rows, result, words):
    assert timing(observe(PACED[:rows], PACED[:rows])) == (result, words)


def test_says_when_not_every_row_was_kept():
    observation = observe(PACED, PACED)
    object.__setattr__(observation, "row_count", 99)
    assert timing(observation)[1].endswith("only the first 12 of 99 rows were looked at")


# What holds for all


@given(
    pauses=st.lists(st.floats(0.03, 2), min_size=2, max_size=30),
    data=st.data(),
    ahead=st.sampled_from([0, HOUR, -HOUR, 30.5]),
)
def test_jitter_below_the_pauses_never_fails(pauses, data, ahead):
    produced = [sum(pauses[:number]) for number in range(len(pauses) + 1)]
    delays = data.draw(st.lists(st.floats(0.0001, 0.015), min_size=len(produced), max_size=len(produced)))
    observation = observe(produced, delayed(produced, delays), server_ahead=ahead)
    assert timing(observation)[0] == "PASS"


@given(
    rows=st.integers(3, 30), pause=st.floats(0.03, 0.9), late=st.integers(0), ahead=st.sampled_from([0, HOUR, -HOUR])
)
def test_a_row_a_second_later_than_the_others_never_passes(rows, pause, late, ahead):
    produced = [pause * number for number in range(rows)]
    late %= rows
    arrived = [max(made, produced[late] + 1.0) if row >= late else made for row, made in enumerate(produced)]
    result, _ = timing(observe(produced, arrived, server_ahead=ahead))
    # Where clocks differ and no row comes early, nearly all of that second may be the clocks'.
    assert result == "FAIL" or (ahead and late == 0 and result == "INCONCLUSIVE")
