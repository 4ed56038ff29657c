import pytest
from streamproof.expected import Expected
from streamproof.idle import judge_idle
from streamproof.observation import Read

from tests.unit.streamproof.recorded import SENT, recorded


def observe(
    reads,
    ended_at,
    *,
    ended="terminated",
    status=200,
    heartbeats=0,
    pause=0.0,
    headers=(),
    size=10,
    read_timeout=None,
):
    """Make an observation of reads by the seconds after the request at which they returned."""
    at = [SENT + seconds for seconds in reads]
    return recorded(
        header_at=SENT if status else None,
        status=status,
        headers=list(headers),
        ended=ended,
        ended_at=SENT + ended_at,
        error="the connection was closed before the end" if ended == "truncated" else None,
        reads=[Read(time, size, time - before) for before, time in zip([SENT, *at], at, strict=False)],
        heartbeat_count=heartbeats,
        longest_pause=pause,
        expected=Expected(read_timeout=read_timeout),
    )


def idle(*args, **others):
    verdict = judge_idle(observe(*args, **others))
    return verdict.result, verdict.sentence


def test_the_longest_gap_that_was_survived_is_told():
    result, sentence = idle([0.1, 4.1, 5.0], 5.0)
    assert result == "PASS"
    assert "the longest gap without a byte was 4.0 s" in sentence


@pytest.mark.parametrize(("read_timeout", "result"), [(4.0, "PASS"), (4.5, "INCONCLUSIVE")])
def test_a_gap_must_be_as_long_as_the_read_timeout_to_show_that_it_is_survived(read_timeout, result):
    assert idle([0.1, 4.2, 5.0], 5.0, read_timeout=read_timeout)[0] == result


@pytest.mark.parametrize("read_timeout", [None, 1, 3])
def test_a_cut_after_a_gap_fails_and_says_after_how_long(read_timeout):
    result, sentence = idle([0.1, 0.2], 5.2, ended="truncated", read_timeout=read_timeout)
    assert result == "FAIL"
    assert sentence.startswith("cut after 5.0 s without a byte, as a read timeout does")


def test_a_cut_before_the_header_fails_too():
    assert idle([], 2.0, ended="truncated", status=None)[0] == "FAIL"
    assert idle([2.0], 2.0, status=504) == (
        "FAIL",
        "a gateway gave up after 2.0 s without a byte from the app: it answered 504",
    )


def test_a_cut_that_a_hop_made_look_like_an_end_is_told_by_what_was_promised():
    promise = ("X-Stream-Promise", "bytes=100")
    assert idle([0.1, 0.2], 5.2, headers=[promise])[0] == "FAIL"
    assert idle([0.1, 0.2], 5.2, headers=[promise], size=50)[0] == "PASS"


@pytest.mark.parametrize(
    ("reads", "ended_at", "words"),
    [
        ([0.1, 0.2, 0.3], 0.31, "does not look cut for being idle"),
        ([0.1, 1.1, 2.1], 3.1, "does not look cut for being idle"),
        ([0.1, 2.1], 2.11, "a hop that buffers and gives up does this"),
    ],
)
def test_a_cut_right_after_a_byte_or_after_a_gap_like_others_says_nothing_about_idleness(reads, ended_at, words):
    result, sentence = idle(reads, ended_at, ended="truncated")
    assert (result, words in sentence) == ("INCONCLUSIVE", True)


def test_a_heartbeat_that_bridges_a_long_enough_pause_passes():
    reads = [0.1 + 0.5 * number for number in range(10)]
    result, sentence = idle(reads, 4.7, heartbeats=9, pause=4.5, read_timeout=3)
    assert (result, sentence) == (
        "PASS",
        "survived a pause of 4.5 s thanks to 9 heartbeats: the longest gap without a byte was 0.5 s",
    )
    assert idle(reads, 4.7, heartbeats=9, pause=2.0, read_timeout=3)[0] == "INCONCLUSIVE"
    assert idle(reads, 4.7, heartbeats=0, pause=4.5, read_timeout=3)[0] == "INCONCLUSIVE"


def test_a_gap_that_is_still_open_at_the_time_limit_counts():
    assert idle([0.1], 5.0, ended="timeout", read_timeout=4)[0] == "PASS"


def test_time_that_the_client_did_not_spend_waiting_is_no_gap():
    seen = observe([0.1, 4.1], 4.2, read_timeout=2)
    seen.reads[1] = seen.reads[1]._replace(waited=0.5)
    assert judge_idle(seen).result == "INCONCLUSIVE"


def test_another_status_is_inconclusive():
    assert idle([0.1], 0.1, status=404)[0] == "INCONCLUSIVE"
