import dataclasses

import pytest
from streamproof.backpressure import judge_backpressure
from streamproof.expected import Expected
from streamproof.observation import Row, Stall

from tests.unit.streamproof.recorded import SENT, recorded

SIZE = 1 << 16
ALL = 768  # rows of that size, 48 MiB
# The client stalls from 0.1 to 3.1 s after the request, with one row read.
BEGAN, ENDED = SENT + 0.1, SENT + 3.1


def observe(produced, *, ended="terminated", ahead=0.0, stall=True, **others):
    """Make an observation of a client that stalls, of rows by the seconds after the request at which they were made."""
    made = [SENT + seconds for seconds in produced]
    rows = [
        Row(at + 0.001 if at < BEGAN else max(at + 0.001, ENDED + 0.001 * number), at + ahead, SIZE)
        for number, at in enumerate(made)
    ]
    return recorded(
        rows, ended=ended, ended_at=SENT + 9, reads=[], stall=Stall(BEGAN, ENDED, SIZE) if stall else None, **others
    )


def fast(start, rows):
    return [start + 0.0001 * number for number in range(rows)]


# 8 MiB fill the socket buffers, then nothing until the client reads on.
WITH_A_STOP = [0.05, *fast(0.06, 128), *fast(3.11, ALL - 129)]
STOPPED = observe(WITH_A_STOP)
ABSORBED = observe([0.05, *fast(0.06, ALL - 1)])
# A row every 4 ms, more than socket buffers hold in 3 s, and goes on after the stall.
STEADY = observe([0.05, *[0.06 + 0.004 * number for number in range(1000)]])


@pytest.mark.parametrize("ahead", [0, 3600, -3600])
def test_an_app_that_stops_with_the_client_shows_backpressure(ahead):
    verdict = judge_backpressure(observe(WITH_A_STOP, ahead=ahead))
    assert verdict.result == "PASS"
    assert verdict.sentence.startswith("backpressure reaches the app: it stopped ")
    assert "8.0 MiB ahead of the client" in verdict.sentence
    assert verdict.numbers["outcome"] == "backpressure"
    assert verdict.numbers["bytes_held"] == 128 * SIZE
    assert verdict.numbers["app_still_ms"] == pytest.approx(3000, abs=20)


@pytest.mark.parametrize(("seen", "end"), [(ABSORBED, "came to its end"), (STEADY, "did not stop")])
def test_an_app_that_goes_on_shows_a_hop_that_absorbs(seen, end):
    verdict = judge_backpressure(seen)
    assert (verdict.result, verdict.numbers["outcome"]) == ("PASS", "absorb")
    assert end in verdict.sentence


@pytest.mark.parametrize(
    ("seen", "expect", "result"),
    [
        (STOPPED, "backpressure", "PASS"),
        (STOPPED, "absorb", "FAIL"),
        (ABSORBED, "absorb", "PASS"),
        (ABSORBED, "backpressure", "FAIL"),
    ],
)
def test_what_was_expected_decides(seen, expect, result):
    verdict = judge_backpressure(dataclasses.replace(seen, expected=Expected(backpressure=expect)))
    assert verdict.result == result
    assert (f"expected was {expect}" in verdict.sentence) == (result == "FAIL")


def test_what_fits_into_socket_buffers_is_inconclusive_and_says_what_to_ask_for():
    for seen in (observe([0.05, *fast(0.06, 300)]), observe([0.05 + 0.1 * number for number in range(60)])):
        verdict = judge_backpressure(dataclasses.replace(seen, expected=Expected(backpressure="absorb")))
        assert verdict.result == "INCONCLUSIVE"
        assert "may all be in socket buffers" in verdict.sentence
        assert "at least 48 MiB without pauses" in verdict.sentence


def test_a_pause_of_the_apps_own_is_no_backpressure():
    """The last row before the end of the stall may be as far from it as rows are from each other."""
    seen = observe([0.05 + 0.9 * number for number in range(8)])
    assert judge_backpressure(seen).result == "INCONCLUSIVE"


@pytest.mark.parametrize("ended", ["timeout", "too_large"])
def test_rows_that_were_not_read_may_have_been_produced_during_the_stall(ended):
    verdict = judge_backpressure(dataclasses.replace(ABSORBED, ended=ended))
    assert (verdict.result, "was not read" in verdict.sentence) == ("INCONCLUSIVE", True)


def test_a_stream_that_is_cut_after_the_stall_fails():
    verdict = judge_backpressure(dataclasses.replace(STOPPED, ended="truncated", error="the connection broke"))
    assert (verdict.result, verdict.sentence) == (
        "FAIL",
        "the stream did not survive a stall of 3.0 s: the connection broke",
    )


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (observe([0.05, 0.06], stall=False), "ended before the client could stall"),
        (dataclasses.replace(STOPPED, rows=[Row(SENT, None, SIZE)] * 9), "no production time"),
        (dataclasses.replace(STOPPED, rows=STOPPED.rows[::-1]), "cannot be right"),
        (dataclasses.replace(STOPPED, status=404, reason="Not Found"), "the response is 404 Not Found"),
    ],
)
def test_what_cannot_be_told_is_said(seen, words):
    verdict = judge_backpressure(seen)
    assert (verdict.result, words in verdict.sentence) == ("INCONCLUSIVE", True)
