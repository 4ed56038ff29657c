import dataclasses
import gzip
import hashlib
import zlib

import pytest
from streamproof.expected import Expected
from streamproof.judge import judge, overall
from streamproof.verdict import Verdict

CHUNKED = "Transfer-Encoding: chunked"


def framing(observation):
    verdict = judge(observation)[0]
    assert verdict.question == "framing"
    return verdict.result, verdict.sentence


def completeness(observation):
    verdict = judge(observation)[1]
    assert verdict.question == "completeness"
    return verdict.result, verdict.sentence


def plain(stream, data, *lines, version="1.1"):
    """Make a response that carries no promise."""
    return "\r\n".join([f"HTTP/{version} 200 OK", *lines, "", ""]).encode() + data


# Framing


def test_chunked_with_a_terminating_chunk_passes(stream, record):
    assert framing(record([stream.chunked()])) == ("PASS", "chunked, 12 chunks, terminating chunk seen")


def test_content_length_that_is_met_passes_and_is_named(stream, record):
    seen = record([stream.header("Content-Length: 768") + stream.body()])
    assert framing(seen) == ("PASS", "Content-Length 768, not chunked; exactly that many bytes arrived")


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_chunked_without_a_terminating_chunk_is_truncated(stream, record, end):
    result, sentence = framing(record([stream.chunked().removesuffix(b"0\r\n\r\n")], end))
    assert result == "FAIL"
    assert sentence.startswith("truncated: chunked, 12 chunks, but no terminating chunk")


def test_fewer_bytes_than_content_length_is_truncated(stream, record):
    seen = record([stream.header("Content-Length: 769") + stream.body()])
    assert framing(seen) == ("FAIL", "truncated: Content-Length 769, not chunked, but only 768 bytes arrived")


def test_more_bytes_than_content_length_fails(stream, record):
    result, sentence = framing(record([stream.header("Content-Length: 700"), stream.body()]))
    assert result == "FAIL"
    assert "more bytes came after the end" in sentence


def test_both_transfer_encoding_and_content_length_fails(stream, record):
    data = stream.chunked().replace(b"X-Stream", b"Content-Length: 768\r\nX-Stream")
    result, sentence = framing(record([data]))
    assert result == "FAIL"
    assert "both Transfer-Encoding and Content-Length" in sentence


def test_chunked_in_an_http_1_0_response_fails(stream, record):
    result, sentence = framing(record([stream.chunked().replace(b"HTTP/1.1", b"HTTP/1.0")]))
    assert result == "FAIL"
    assert "HTTP/1.0" in sentence


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_until_close_is_inconclusive(stream, record, version):
    result, sentence = framing(record([stream.header(version=version) + stream.body()]))
    assert result == "INCONCLUSIVE"
    assert "nothing marks it" in sentence


def test_until_close_that_is_reset_is_truncated(stream, record):
    assert framing(record([stream.header() + stream.body()], "reset")) == (
        "FAIL",
        "truncated: the connection broke",
    )


def test_a_stream_that_is_still_running_is_inconclusive(stream, record):
    data = stream.chunked()[:700]
    result, sentence = framing(record([data], "timeout"))
    assert (result, "still running when the time limit of 60 s" in sentence) == ("INCONCLUSIVE", True)
    result, sentence = framing(record([data], max_bytes=100))
    assert (result, "still running when the size limit of 100 bytes" in sentence) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(
    "garbage", [b"zz\r\n", b"fffffffffffffffffffff\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b";" * 99_999]
)
def test_what_is_no_chunk_fails(stream, record, garbage):
    result, sentence = framing(record([stream.header(CHUNKED), garbage]))
    assert result == "FAIL"
    assert "something that is not HTTP" in sentence


@pytest.mark.parametrize("end", ["closed", "timeout"])
def test_a_chunk_of_2_to_the_64_is_no_trap(stream, record, end):
    result, _ = framing(record([stream.header(CHUNKED), b"10000000000000000\r\n", b"x" * 9], end))
    assert result == ("FAIL" if end == "closed" else "INCONCLUSIVE")


def test_a_second_response_inside_the_body_fails_both_where_a_count_is_missed(stream, record):
    second = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    seen = record([stream.header() + stream.body()[:384] + second])
    assert framing(seen)[0] == "FAIL"
    assert "a second response begins inside the body, at byte 384" in framing(seen)[1]
    assert completeness(seen)[0] == "FAIL"


def test_a_status_line_alone_is_content(stream, record):
    body = b"An answer begins with\nHTTP/1.1 200 OK\n"
    data = plain(stream, body, f"Content-Length: {len(body)}")
    assert framing(record([data]))[0] == completeness(record([data]))[0] == "PASS"
    cut = dataclasses.replace(record([data]), expected=Expected(bytes=len(body) + 1))
    assert framing(cut)[0] == completeness(cut)[0] == "FAIL"
    expected = dataclasses.replace(record([data]), expected=Expected(sha256=hashlib.sha256(body).hexdigest()))
    assert framing(expected)[0] == "PASS"
    assert completeness(expected)[0] == "PASS"


# Completeness


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"http_version": "2"}, ", and yet the response ended with END_STREAM, so framing alone would have called it"),
        (
            {"headers": [("Content-Length", "3")]},
            ", and yet that is what Content-Length says, so framing alone would have called it complete",
        ),
        (
            {"headers": [], "ended": "closed"},
            ", and nothing marks the end: to a client that goes by framing, this looks complete",
        ),
    ],
)
def test_how_a_body_that_is_too_short_ended_is_told(stream, record, changes, words):
    seen = record([plain(stream, b"ab\n", "Content-Length: 3")])
    result, sentence = completeness(dataclasses.replace(seen, expected=Expected(bytes=4), **changes))
    assert (result, sentence.startswith(f"truncated: 3 of 4 bytes arrived{words}")) == ("FAIL", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stop_events": 2}, "after 2 events"),
        ({"stop_events": 3}, "after 1.5 s"),
        ({"stop_seconds": 1.5}, "after 1.5 s"),
    ],
)
def test_where_a_stream_was_stopped_is_told(stream, record, changes, words):
    seen = record([events(stream, "a", "b", end=b" ")], "timeout")
    seen = dataclasses.replace(seen, ended="stopped", ended_at=seen.request_sent_at + 1.5, **changes)
    assert framing(seen) == ("PASS", f"chunked, 2 chunks, valid so far, stopped as asked {words}")
    assert completeness(seen) == ("PASS", f"2 events (18 bytes) so far, stopped as asked {words}")


def test_what_is_expected_of_the_end_is_not_compared_before_it(stream, record):
    seen = dataclasses.replace(record([events(stream, "a", end=b" ")], "timeout"), expected=Expected(last="[DONE]"))
    result, sentence = completeness(dataclasses.replace(seen, ended="stopped", stop_events=1))
    assert (result, sentence) == (
        "INCONCLUSIVE",
        "1 event (9 bytes), stopped as asked before the end, which is what is expected to be compared",
    )
    assert completeness(seen)[1].startswith("still running when the time limit of 60 s was reached, 1 event")


def test_everything_that_was_promised_passes(stream, record):
    expected = ("PASS", "12 of 12 rows (768 of 768 bytes) arrived, and the digest is right")
    assert completeness(record([stream.chunked()])) == expected
    assert completeness(record([stream.header() + stream.body()])) == expected


def test_a_cut_behind_a_valid_terminating_chunk_is_truncated(stream, record):
    """What a hop makes of a stream that breaks off where only the app's close ends it."""
    seen = record([stream.header(CHUNKED) + stream.chunk(stream.body()[:384]) + stream.chunk(b"")])
    assert framing(seen)[0] == "PASS"
    result, sentence = completeness(seen)
    assert result == "FAIL"
    assert sentence.startswith("truncated: 6 of 12 rows (384 of 768 bytes) arrived, and yet")
    assert "a valid terminating chunk, so framing alone would have called it complete" in sentence
    # HTTP/1.1 to the app does not rule it out, so that must not be blamed alone.
    assert sentence.endswith(
        "where only the app's close ends the body, as over HTTP/1.0, and so does an app that hides its error"
    )


def test_a_cut_before_the_close_is_truncated(stream, record):
    result, sentence = completeness(record([stream.header() + stream.body()[:400]]))
    assert result == "FAIL"
    assert "6 of 12 rows (400 of 768 bytes) arrived, and nothing marks the end" in sentence


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_without_its_end_even_a_whole_body_is_truncated(stream, record, end):
    result, sentence = completeness(record([stream.chunked().removesuffix(b"0\r\n\r\n")], end))
    assert result == "FAIL"
    assert sentence.startswith("truncated: 12 of 12 rows (768 of 768 bytes) arrived, then:")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([*range(1, 13), 12], "a row is duplicated: row 12 stands where row 13 was due"),
        ([1, 2, 2, *range(4, 13)], "a row is duplicated: row 2 stands where row 3"),
        ([1, 3, 2, *range(4, 13)], "rows are missing or out of order: row 3 stands where row 2"),
        ([1, 2, *range(4, 13)], "rows are missing or out of order: row 4 stands where row 3 was due; 11 of 12 rows"),
        ([*range(5, 13), *range(1, 5)], "rows are missing or out of order: row 5 stands where row 1"),
        ([1, 2, 3, 4, 2, *range(6, 13)], "rows are out of order: row 2 stands where row 5"),
    ],
)
def test_rows_out_of_sequence_are_named(stream, record, numbers, words):
    result, sentence = completeness(record([stream.header() + b"".join(map(stream.row, numbers))]))
    assert (result, sentence[: len(words)]) == ("FAIL", words)


def test_more_than_promised_fails(stream, record):
    result, sentence = completeness(record([stream.header() + stream.body() + b"and more\n"]))
    assert result == "FAIL"
    assert "more than there should be: 13 of 12 rows" in sentence


def test_other_bytes_than_promised_fail(stream, record):
    result, sentence = completeness(record([stream.chunked().replace(b"..\n", b".,\n", 1)]))
    assert (result, sentence[:19]) == ("FAIL", "the digest is wrong")


def test_what_is_still_running_fails_only_if_something_is_wrong_already(stream, record):
    data = stream.header(CHUNKED) + stream.chunk(stream.body()[:384])
    assert completeness(record([data], "timeout")) == (
        "INCONCLUSIVE",
        "still running when the time limit of 60 s was reached, 6 of 12 rows (384 of 768 bytes) so far",
    )
    assert completeness(record([data + stream.chunk(stream.row(9))], "timeout"))[0] == "FAIL"
    assert completeness(record([data + stream.chunk(b"x" * 999)], "timeout"))[0] == "FAIL"


@pytest.mark.parametrize(
    ("promise", "result"),
    [
        ("rows=2", "PASS"),
        ("rows=3", "FAIL"),
        ("rows=1", "FAIL"),
        ("bytes=4", "PASS"),
        ("bytes=5", "FAIL"),
        ("bytes=3", "FAIL"),
        ("sha256=" + hashlib.sha256(b"a\nb\n").hexdigest(), "PASS"),
        (f"sha256={'0' * 64}", "FAIL"),
        ("rows=two", "INCONCLUSIVE"),
    ],
)
def test_each_part_of_a_promise_is_checked_alone(stream, record, promise, result):
    data = plain(stream, b"a\nb\n", "Content-Length: 4", f"X-Stream-Promise: {promise}")
    assert completeness(record([data]))[0] == result


def test_a_promise_that_cannot_be_read_is_quoted(stream, record):
    sentence = completeness(record([plain(stream, b"", "Content-Length: 0", "X-Stream-Promise: rows=two")]))[1]
    assert sentence == "the promise of the response cannot be read: rows='two' is not a number"


@pytest.mark.parametrize(
    ("expected", "result"),
    [
        ({"bytes": 768}, "PASS"),
        ({"bytes": 767}, "FAIL"),
        ({"bytes": 769}, "FAIL"),
        ({"sha256": "0" * 64}, "FAIL"),
    ],
)
def test_what_the_user_expects_counts_beside_the_promise(stream, record, expected, result):
    for data in (stream.chunked(), stream.chunked().replace(b"X-Stream-Promise", b"X-Nothing")):
        assert completeness(dataclasses.replace(record([data]), expected=Expected(**expected)))[0] == result


@pytest.mark.parametrize(("expected", "larger"), [(700, 768), (800, 800)])
def test_of_what_the_app_promises_and_the_user_expects_the_larger_is_told(stream, record, expected, larger):
    verdict = judge(dataclasses.replace(record([stream.chunked()]), expected=Expected(bytes=expected)))[1]
    assert verdict.numbers["bytes_expected"] == larger
    assert f"(768 of {larger} bytes)" in verdict.sentence


def test_without_a_promise_a_marked_end_passes_and_says_in_a_line_that_nothing_was_compared(stream, record):
    data = plain(stream, stream.chunk(b"a\n") + stream.chunk(b""), CHUNKED)
    result, sentence = completeness(record([data]))
    assert result == "PASS"
    assert "nothing to compare with" in sentence
    assert "--expect-last" in sentence
    assert len(sentence) < 100


def events(stream, *texts, end=b"", kind="text/event-stream"):
    body = b"".join(stream.chunk(b"data: %s\n\n" % text.encode()) for text in texts)
    return plain(stream, body + (end or stream.chunk(b"")), CHUNKED, f"Content-Type: {kind}")


@pytest.mark.parametrize(
    ("expected", "texts", "result", "words"),
    [
        ({"last": "data: [DONE]"}, ["a", "b", "[DONE]"], "PASS", "3 events (32 bytes) arrived, and the last line is"),
        ({"last": "[DONE]"}, ["a", "b"], "FAIL", "the last line is 'data: b', not '[DONE]'"),
        ({"last": "[DONE]"}, ["[DONE]", "b"], "FAIL", "the last line is 'data: b'"),
        ({"last": "[DONE]"}, [], "FAIL", "there is no line"),
        ({"last": "[DONE]"}, ["x" * 5000], "FAIL", "xxx…', not '[DONE]'"),
        ({"events": 2}, ["a", "b"], "PASS", "2 of 2 events"),
        (
            {"events": 3},
            ["a", "b"],
            "FAIL",
            "2 of 3 events (18 bytes) arrived, and yet",
        ),
        ({"events": 1}, ["a", "b"], "FAIL", "2 of 1 event"),
    ],
)
def test_what_is_expected_of_events(stream, record, expected, texts, result, words):
    seen = dataclasses.replace(record([events(stream, *texts)]), expected=Expected(**expected))
    found, sentence = completeness(seen)
    assert found == result, sentence
    assert words in sentence


@pytest.mark.parametrize(
    ("accept", "kind", "result"),
    [
        (None, "text/html", "PASS"),
        ("*/*", "text/html", "PASS"),
        ("text/event-stream", "text/html; charset=utf-8", "FAIL"),
        ("text/event-stream", "text/event-stream; charset=utf-8", "PASS"),
        ("application/json, text/*;q=0.5", "text/event-stream", "PASS"),
        ("text/event-stream, text/html;q=0", "text/html", "FAIL"),
    ],
)
def test_a_type_that_accept_did_not_ask_for_fails(stream, record, accept, kind, result):
    seen = dataclasses.replace(record([events(stream, "a", kind=kind)]), accept=accept)
    assert completeness(seen)[0] == result


def test_a_response_without_a_type_is_none_that_accept_did_not_ask_for(stream, record):
    seen = record([plain(stream, b"abc", "Content-Length: 3")])
    assert completeness(dataclasses.replace(seen, accept="text/event-stream"))[0] == "PASS"


@pytest.mark.parametrize("last", ["[DONE]", "data: [DONE]"])
def test_the_last_line_needs_only_to_contain_what_is_expected(stream, record, last):
    seen = dataclasses.replace(record([events(stream, "a", "[DONE]")]), expected=Expected(last=last))
    assert completeness(seen)[0] == "PASS"


def test_too_few_events_are_not_wrong_while_it_runs_and_too_many_are(stream, record):
    seen = record([events(stream, "a", "b", end=b" ")], "timeout")
    assert completeness(dataclasses.replace(seen, expected=Expected(events=3)))[0] == "INCONCLUSIVE"
    assert completeness(dataclasses.replace(seen, expected=Expected(events=1)))[0] == "FAIL"


@pytest.mark.parametrize("ended", ["timeout", "stopped"])
def test_no_header_within_the_limit_fails(stream, record, ended):
    nothing = dataclasses.replace(record([], "timeout"), ended=ended)
    verdicts = judge(nothing)
    assert {verdict.result for verdict in verdicts} == {"FAIL"}
    assert all("no response header came within" in verdict.sentence for verdict in verdicts)


# Streams that never end


@pytest.mark.parametrize(
    ("stop", "ended", "texts", "results"),
    [
        ({"stop_events": 2}, "stopped", ["a", "b"], ("PASS", "PASS")),
        ({"stop_seconds": 1.0}, "stopped", ["a"], ("PASS", "PASS")),
        ({"stop_seconds": 1.0}, "stopped", [], ("PASS", "FAIL")),
        ({"stop_events": 2}, "timeout", [], ("PASS", "FAIL")),
        ({"stop_events": 2}, "timeout", ["a"], ("PASS", "INCONCLUSIVE")),
        ({}, "timeout", ["a", "b"], ("PASS", "PASS")),
        ({}, "timeout", [], ("PASS", "INCONCLUSIVE")),
    ],
)
def test_a_stream_that_never_ends_is_valid_so_far(stream, record, stop, ended, texts, results):
    seen = dataclasses.replace(record([events(stream, *texts, end=b" ")], "timeout"), ended=ended, **stop)
    found = [framing(seen), completeness(seen)]
    assert tuple(result for result, _ in found) == results, found
    assert "valid so far" in found[0][1]
    if not stop and texts:
        assert "--events N or --for SECONDS" in found[1][1]


def test_heartbeats_alone_are_no_events(stream, record):
    data = plain(stream, stream.chunk(b": ping\n\n") + b" ", CHUNKED, "Content-Type: text/event-stream")
    seen = dataclasses.replace(record([data], "timeout"), ended="stopped", stop_seconds=1.0)
    assert completeness(seen) == ("INCONCLUSIVE", "no event came, but 1 heartbeat")


def test_without_a_promise_content_length_is_a_count(stream, record):
    assert completeness(record([plain(stream, b"abc", "Content-Length: 3")]))[0] == "PASS"
    assert completeness(record([plain(stream, b"ab", "Content-Length: 3")]))[0] == "FAIL"


def test_without_a_promise_an_end_that_nothing_marks_is_inconclusive(stream, record):
    assert completeness(record([plain(stream, b"abc")]))[0] == "INCONCLUSIVE"


def test_an_encoded_body_is_not_compared_with_the_promise(stream, record):
    header = stream.header("Content-Encoding: compress", "Content-Length: 5")
    result, sentence = completeness(record([header + b"12345"]))
    assert (result, "(compress)" in sentence) == ("INCONCLUSIVE", True)
    assert completeness(record([header + b"1234"]))[0] == "FAIL"
    assert completeness(record([plain(stream, b"12", "Content-Encoding: compress", "Content-Length: 2")]))[0] == "PASS"


# What is no 200


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("404 Not Found", "INCONCLUSIVE"),
        ("204 No Content", "INCONCLUSIVE"),
        ("505 HTTP Version Not Supported", "INCONCLUSIVE"),
        ("500 Internal Server Error", "FAIL"),
        ("502 Bad Gateway", "FAIL"),
        ("504 Gateway Timeout", "FAIL"),
    ],
)
def test_another_status_is_inconclusive_and_an_error_of_the_server_fails(stream, record, status, result):
    verdicts = judge(record([stream.header("Content-Length: 0", status=status)]))
    why = "only a 2xx with a body is judged"
    if status[:3] in ("502", "504"):
        why = "a hop got no good answer from what is behind it, so ask the pod itself"
    sentence = f"the response is {status}, not the stream: {why}"
    assert {(verdict.result, verdict.sentence) for verdict in verdicts} == {(result, sentence)}
    assert all(verdict.numbers == {"status": int(status[:3])} for verdict in verdicts)


def test_any_2xx_with_a_body_is_judged(stream, record):
    for status in ("201 Created", "206 Partial Content"):
        assert framing(record([stream.header("Content-Length: 2", status=status) + b"a\n"]))[0] == "PASS"


@pytest.mark.parametrize(
    ("coding", "body", "result", "count"),
    [
        ("gzip, chunked", gzip.compress(b"a\nb\n", mtime=0), "PASS", 4),
        ("deflate, chunked", zlib.compress(b"a\nb\n"), "PASS", 4),
        ("gzip, chunked", b"nonsense", "FAIL", 0),
    ],
)
def test_a_transfer_coding_before_chunked_is_undone(stream, record, coding, body, result, count):
    data = plain(stream, stream.chunk(body) + stream.chunk(b""), f"Transfer-Encoding: {coding}")
    for cut in (1, 25, len(data)):
        seen = record([data[:cut], *([data[cut:]] if data[cut:] else [])])
        assert (framing(seen)[0], seen.byte_count, seen.header("transfer-encoding")) == (result, count, coding)


def test_identity_is_no_transfer_coding(stream, record):
    result, sentence = framing(record([plain(stream, b"a\nb\n", "Transfer-Encoding: identity")]))
    assert (result, "which HTTP no longer knows" in sentence) == ("INCONCLUSIVE", True)


def test_a_switch_of_protocols_is_named(record):
    (verdict, *_) = judge(record([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]))
    assert "101 Switching Protocols" in verdict.sentence
    assert "_SWITCH" not in verdict.sentence


def test_no_bytearray_is_shown_to_people(stream, record):
    for data in (b"nonsense\r\n\r\n", stream.header(CHUNKED) + b"zz\r\n"):
        sentence = framing(record([data]))[1]
        assert "bytearray" not in sentence
        assert "nonsense" in sentence or "zz" in sentence


def test_a_redirect_is_reported_with_its_location(stream, record):
    verdicts = judge(record([stream.header("Location: https://there/", "Content-Length: 0", status="302 Found")]))
    sentence = "the response is 302 Found to https://there/, which is not followed: --location follows it"
    assert {verdict.sentence for verdict in verdicts} == {sentence}


@pytest.mark.parametrize(("status", "redirect"), [(299, False), (300, True), (399, True), (400, False)])
def test_a_location_means_a_redirect_only_where_the_status_does(stream, record, status, redirect):
    data = stream.header("Location: https://there/", "Content-Length: 0", status=f"{status} X")
    assert (" to https://there/" in framing(record([data]))[1]) is redirect


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nA: b"])
@pytest.mark.parametrize("end", ["closed", "reset", "timeout"])
def test_no_response_is_inconclusive_but_none_within_the_limit_fails(record, data, end):
    verdicts = judge(record([data] if data else [], end))
    late = end == "timeout"
    assert {verdict.result for verdict in verdicts} == {"FAIL" if late else "INCONCLUSIVE"}
    words = "no response header came within " if late else "there is no response to judge: the "
    assert all(verdict.sentence.startswith(words) for verdict in verdicts)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_not_http_fails_as_framing(record, data):
    verdicts = judge(record([data]))
    assert [verdict.result for verdict in verdicts] == ["FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]
    assert verdicts[0].sentence.startswith("what came back is not an HTTP/1.1 response: ")
    assert verdicts[1].sentence == "there is no response to judge: its header was not valid"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (["PASS", "PASS"], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["FAIL", "INCONCLUSIVE", "PASS"], "FAIL"),
        ([], "INCONCLUSIVE"),
    ],
)
def test_verdicts_are_summed_up(results, expected):
    assert overall([Verdict("framing", result, "") for result in results]) == expected


# All together


def test_what_is_too_short_to_tell_does_not_count_beside_what_does():
    passed, failed = Verdict("framing", "PASS", ""), Verdict("framing", "FAIL", "")
    short, unclear = Verdict("timing", "INCONCLUSIVE", "", counts=False), Verdict("timing", "INCONCLUSIVE", "")
    pairs = [[passed, short], [failed, short], [passed, unclear], [short]]
    assert [overall(pair) for pair in pairs] == ["PASS", "FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]
