from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof.arrivals import Arrivals, judge_arrivals

from tests.unit.streamproof.recorded import came, recorded

PACED = [0.01 + 0.25 * number for number in range(24)]


def event(number, size=64):
    head = b"data: %08d " % number
    return head + b"x" * (size - len(head) - 2) + b"\n\n"


def one_by_one(times, size=64):
    return [(at, event(number, size)) for number, at in enumerate(times)]


def through_buffer(writes, buffer, end=None):
    """Pass on what was written in full buffers alone, the rest at the end."""
    held = b""
    passed = []
    for at, data in writes:
        held += data
        while len(held) >= buffer:
            passed.append((at, held[:buffer]))
            held = held[buffer:]
    at = writes[-1][0] if end is None else end
    merged = {}
    for when, data in [*passed, (at, held)]:
        merged[when] = merged.get(when, b"") + data
    return [(when, data) for when, data in merged.items() if data]


def timing(writes, content_type="text/event-stream", **changes):
    verdict = judge_arrivals(Arrivals(came(writes, content_type, **changes)))
    return verdict.result, verdict.sentence


UNSEEN = (
    "by arrivals alone a delay common to all, of up to 10.0 ms, a hop one event behind, or one that slows all "
    "evenly would not show"
)


def test_events_that_come_one_by_one_pass():
    verdict = judge_arrivals(Arrivals(came([*one_by_one(PACED), (6.5, event(0) + event(1) + event(2) + event(3))])))
    assert (verdict.result, verdict.sentence) == ("PASS", f"28 events came one by one, in 25 deliveries; {UNSEEN}")
    assert verdict.numbers == {
        "evidence": "arrivals",
        "events": 28,
        "deliveries": 25,
        "pauses": 24,
        "events_in_batches": 0.143,
        "shape": "one by one",
    }


@pytest.mark.parametrize("pause", [0.005, 0.02, 0.06])
def test_events_that_never_pause_pass(pause):
    result, sentence = timing(one_by_one([0.01 + pause * number for number in range(200)]))
    assert (result, "never silent for 100 ms" in sentence, UNSEEN in sentence) == ("PASS", True, True)


def test_all_at_the_end_fails_and_leaves_open_which():
    result, sentence = timing([(6.0, b"".join(event(number) for number in range(24)))])
    assert result == "FAIL"
    assert sentence.startswith("24 events came at once after 6.0 s, so this did not arrive as a stream: the app")


@pytest.mark.parametrize("wait", [0.6, 0.99])
def test_all_at_once_without_a_long_wait_is_inconclusive(wait):
    assert timing([(wait, b"".join(map(event, range(24))))])[0] == "INCONCLUSIVE"


def test_what_came_whole_at_once_is_too_short_to_tell_and_does_not_count():
    verdict = judge_arrivals(Arrivals(came([(0.02, b"".join(map(event, range(24))))])))
    assert (verdict.result, verdict.counts) == ("INCONCLUSIVE", False)
    assert verdict.sentence.startswith("too short to tell")
    assert verdict.numbers["shape"] == "short"


@pytest.mark.parametrize("changes", [{"ended": "timeout"}, {"ended": "truncated"}])
def test_what_did_not_come_whole_counts_however_short(changes):
    assert judge_arrivals(Arrivals(came([(0.02, event(1) + event(2))], **changes))).counts


@pytest.mark.parametrize(
    ("number", "size", "buffer", "words"),
    [
        (24, 1000, 4096, "this looks like a 4 KiB buffer"),
        (64, 1000, 16384, "this looks like a 16 KiB buffer"),
        (40, 300, 1024, "this looks like a 1 KiB buffer"),
    ],
)
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/x-ndjson"])
def test_ends_of_events_that_wait_for_the_next_fail(number, size, buffer, words, content_type):
    writes = one_by_one([0.01 + 0.25 * one for one in range(number)], size)
    if content_type != "text/event-stream":
        writes = [(at, data.replace(b"\n", b" ")[:-1] + b"\n") for at, data in writes]
    result, sentence = timing(through_buffer(writes, buffer), content_type)
    assert (result, sentence.startswith("the end of an event waited"), words in sentence) == ("FAIL", True, True)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([5000, 8192, 8192, 8192, 300], "5 deliveries of about 8192 bytes: this looks like an 8 KiB buffer"),
        ([5000, 3600, 3600, 4096, 300], "5 deliveries of about 3600 bytes: this looks like a 4 KiB buffer"),
        ([5000, 3500, 3500, 4096, 300], "5 deliveries of about 3500 bytes"),
        ([9000, 4096, 8192, 300], "4 deliveries of about 6144 bytes"),
        ([5000, 1 << 20, 300], "3 deliveries of about 1048576 bytes: this looks like a 1024 KiB buffer"),
        ([5000, 1 << 21, 300], "3 deliveries of about 2097152 bytes"),
    ],
)
def test_the_size_of_the_pieces_is_told_without_the_first_and_the_last(sizes, words):
    body = b"".join(event(number, 1001) for number in range(sum(sizes) // 1001 + 1))
    cuts = pairwise(accumulate(sizes, initial=0))
    result, sentence = timing([(number, body[start:end]) for number, (start, end) in enumerate(cuts)])
    assert (result, sentence) == (
        "FAIL",
        f"the end of an event waited for the next one, after silence; it came in {words}",
    )


EITHER = "either an app that sends so, or a hop with a timer"


@pytest.mark.parametrize(
    ("writes", "content_type", "words", "shape"),
    [
        (
            [(0.7, event(1) + event(2))],
            "text/event-stream",
            "2 events within 100 ms are too few, or too early, to tell",
            "short",
        ),
        (one_by_one([0.01, 0.51]), "text/event-stream", "2 events in 2 deliveries are too few to tell", "unknown"),
        (
            [(6.0, event(1))],
            "text/event-stream",
            "1 event arrived, and arrivals tell nothing of less than two",
            "unknown",
        ),
        ([(6.0, b"x")], "text/event-stream", "no event arrived, and arrivals tell nothing of less than two", "unknown"),
        (
            [(6.0, b"x"), (6.1, b"x")],
            "video/mp4",
            "a body of type video/mp4 has no events that could be told apart, and from its bytes (100 ms from first to "
            "last) it cannot be told whether something held them back",
            "unknown",
        ),
        (
            [
                (0.2 * group, b"".join(map(event, range(size))))
                for group, size in enumerate([1, 1, 5, 1, 5, 1, 1, 1], 1)
            ],
            "text/event-stream",
            f"62% of 16 events came several at a time, up to 0.2 s apart: {EITHER}",
            "batches",
        ),
    ],
)
def test_why_arrivals_do_not_tell_is_told(writes, content_type, words, shape):
    verdict = judge_arrivals(Arrivals(came(writes, content_type)))
    assert (verdict.result, verdict.sentence) == (
        "INCONCLUSIVE",
        f"{words}; --baseline with the app's own address tells, or production times (--times, X-Stream-Promise)",
    )
    assert (verdict.numbers["evidence"], verdict.numbers["shape"]) == ("arrivals", shape)


def test_events_larger_than_a_buffer_fail():
    assert timing(through_buffer(one_by_one(PACED[:8], 10_000), 4096))[0] == "FAIL"


def test_lines_of_text_that_are_cut_are_inconclusive():
    """For an app may write text as it likes."""
    writes = [(at, b"x" * 9_999 + b"\n") for at in PACED[:8]]
    result, sentence = timing(through_buffer(writes, 4096), "text/plain")
    assert (result, "lines of text were cut" in sentence) == ("INCONCLUSIVE", True)


def test_a_large_event_that_a_path_cuts_is_no_fault():
    writes = [
        (at + part * 0.15, event(number, 90_000)[part * 30_000 :][:30_000])
        for number, at in enumerate([0.01 + number for number in range(8)])
        for part in range(3)
    ]
    assert timing(writes)[0] == "PASS"


@pytest.mark.parametrize("at_a_time", [2, 5])
def test_whole_events_at_a_time_are_inconclusive(at_a_time):
    writes = [(1.0 * group, b"".join(event(5 * group + one) for one in range(at_a_time))) for group in range(1, 7)]
    result, sentence = timing(writes)
    assert (result, f"about {at_a_time} whole events came at a time, up to 1.0 s apart" in sentence) == (
        "INCONCLUSIVE",
        True,
    )


def test_what_a_language_model_sends_at_both_ends_is_no_batch():
    ends = b"".join(map(event, range(3)))
    assert timing([(0.4, ends), *one_by_one([0.6, 0.8, 1.0, 1.2]), (1.4, ends)])[0] == "PASS"


def test_a_wait_before_the_first_event_is_no_fault():
    assert timing(one_by_one([2.0 + at for at in PACED]))[0] == "PASS"
    assert timing(one_by_one([2.0 + 0.005 * number for number in range(200)]))[0] == "PASS"


def test_what_was_held_back_and_then_comes_as_fast_as_a_path_allows_does_not_pass():
    lump = b"".join(event(number) for number in range(20_000))
    writes = [(30.0 + 0.02 * piece, lump[piece * 32_000 :][:32_000]) for piece in range(40)]
    assert timing(writes)[0] == "INCONCLUSIVE"


def test_tcp_slow_start_over_a_far_path_does_not_look_like_a_hop():
    writes = through_buffer([(0.2, b"".join(event(number, 900) for number in range(60)))], 14_000)
    flights = [
        (0.2 + 0.15 * index, data)
        for index, (_, data) in enumerate(
            [(0, writes[0][1][part : part + 14_000]) for part in range(0, 54_000, 14_000)]
        )
    ]
    assert timing(flights, connect_seconds=0.15)[0] != "FAIL"


@pytest.mark.parametrize("connect", [0.0005, 0.05, 0.15, 0.3])
def test_events_one_by_one_on_a_long_way_are_no_batch(connect):
    """Reads of less than two round trips are one delivery there, but what was held back comes faster than this."""
    tokens = [(4 * connect + 0.8 + 0.04 * number, event(number, 300)) for number in range(100)]
    assert timing(tokens, connect_seconds=connect)[0] == "PASS"
    pairs = [number // 2 * 1.5 + number % 2 * 0.2 + 1 for number in range(20)]
    assert timing(one_by_one(pairs), connect_seconds=connect)[0] == "PASS"


@pytest.mark.parametrize("connect", [0.01, 0.02, 0.1])
def test_several_events_at_a_time_over_a_slow_line_do_not_pass(connect):
    """Of 1.2 Mbit/s: packets are 10 ms apart."""
    writes = [
        (2 * group + 0.01 * packet, event(30 * group + packet, 1500)) for group in range(1, 6) for packet in range(30)
    ]
    assert timing(writes, connect_seconds=connect)[0] == "INCONCLUSIVE"


def test_a_file_that_a_busy_machine_reads_in_some_pieces_is_not_one_by_one():
    writes = [(0.01 + 0.03 * piece, b"line %06d\n" % piece * 4000) for piece in range(9)]
    assert timing(writes, "text/plain")[0] == "INCONCLUSIVE"
    assert timing(one_by_one([0.01 + 0.03 * number for number in range(9)]))[0] == "PASS"


@pytest.mark.parametrize(
    ("number", "result"), [(0, "INCONCLUSIVE"), (1, "INCONCLUSIVE"), (2, "INCONCLUSIVE"), (3, "PASS")]
)
def test_few_events_tell_nothing(number, result):
    assert timing(one_by_one([0.01 + 0.5 * at for at in range(number)]))[0] == result


# Compressed


def test_a_compressor_that_is_never_flushed_fails():
    lump = [(3.0, b"".join(map(event, range(12))))]
    result, sentence = timing(lump, sync_flushes=0, encoded_bytes=200)
    assert (result, "the compressor never flushed" in sentence) == ("FAIL", True)
    assert "compressor" not in timing(lump, sync_flushes=12, encoded_bytes=200)[1]


def test_a_compressor_without_flushes_whose_events_come_in_time_passes():
    assert timing(one_by_one(PACED), sync_flushes=0, encoded_bytes=200)[0] == "PASS"


def test_what_is_not_in_the_coding_that_it_claims_is_named():
    error = "what came is not valid gzip (incorrect header check)"
    found = timing([], coding_error=error)
    assert found == (
        "INCONCLUSIVE",
        f"nothing of the body could be decoded, so there is nothing to tell from arrivals: {error}",
    )
    result, sentence = timing(one_by_one(PACED), coding_error=error)
    assert (result, sentence.endswith(f"; then {error}")) == ("PASS", True)
    assert "decoded" not in timing([])[1]


# Without events


@pytest.mark.parametrize("content_type", ["application/octet-stream", None, "text/plain"])
def test_bytes_that_come_bit_by_bit_pass(content_type):
    assert timing([(at, b"word ") for at in PACED], content_type)[0] == "PASS"


@pytest.mark.parametrize("writes", [[(6.0, b"x" * 600)], [(at, b"x" * 4096) for at in PACED], [(0.6, b"x")]])
@pytest.mark.parametrize("content_type", ["application/octet-stream", None])
def test_bytes_never_fail(writes, content_type):
    assert timing(writes, content_type)[0] == "INCONCLUSIVE"


def test_bytes_that_flow_pass():
    assert timing([(0.01 + 0.02 * at, b"x" * 60_000) for at in range(100)], "video/mp4")[0] == "PASS"


def test_a_cache_is_named_where_a_header_shows_it():
    headers = [("Content-Type", "text/event-stream"), ("Age", "7"), ("X-Cache", "Hit")]
    for writes in ([(6.0, b"".join(map(event, range(24))))], [(0.9, event(1) + event(2))]):
        assert timing(writes, headers=headers)[1].endswith("; a cache may have answered (Age: 7, X-Cache: Hit)")
    assert "cache" not in timing(one_by_one(PACED), headers=headers)[1]


def test_nothing_is_inconclusive():
    assert judge_arrivals(Arrivals(recorded())).result == "INCONCLUSIVE"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from([b"data: 1\n\n", b"data: ", b"2\n\n", b": c\n", b"x"]))),
    st.sampled_from(["text/event-stream", "text/plain", "application/x-ndjson", None]),
    st.floats(0, 1),
)
def test_whatever_comes_has_a_verdict_that_is_explained(steps, content_type, connect):
    at = 0.0
    writes = []
    for pause, data in steps:
        at += pause
        writes.append((at, data))
    verdict = judge_arrivals(Arrivals(came(writes, content_type, connect_seconds=connect)))
    assert verdict.question == "timing"
    if verdict.result == "PASS":
        assert "would not show" in verdict.sentence
