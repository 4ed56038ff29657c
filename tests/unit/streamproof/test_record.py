import gzip
import hashlib
import tracemalloc
import zlib
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof import http1 as http1_module
from streamproof import record as record_module
from streamproof.http1 import Http1Recorder
from streamproof.judge import judge
from streamproof.observation import ChunkRun, End, Framing, Misnumbered, Row
from streamproof.request import Request


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def without_reads(observation):
    values = {name: value for name, value in vars(observation).items() if name not in ("reads", "read_count")}
    return values | {"body_read": sum(read.size for read in observation.reads)}


cuts = st.lists(st.integers(min_value=0), max_size=40)


def test_counts_hashes_and_times_rows(stream, record):
    seen = record([stream.chunked()])
    assert (seen.http_version, seen.status, seen.reason, seen.ended) == ("1.1", 200, "OK", "terminated")
    assert (seen.byte_count, seen.row_count, seen.chunk_count) == (768, 12, 12)
    assert seen.chunks == [ChunkRun(64, 12)]
    assert seen.sha256 == hashlib.sha256(stream.body()).hexdigest()
    assert seen.sha256_zeroed in stream.promise
    assert seen.rows[:2] == [Row(1_700_000_002.0, 1_700_000_000.0, 64), Row(1_700_000_002.0, 1_700_000_000.1, 64)]
    assert seen.reads[0][1:] == (768, 0.5, 0)


@given(cuts=cuts, which=st.sampled_from(["chunked", "length", "close", "surplus", "cut", "too large"]))
def test_how_the_bytes_are_split_into_reads_changes_nothing(stream, record, cuts, which):
    body = stream.body()
    data = {
        "chunked": stream.chunked(),
        "length": stream.header(f"Content-Length: {len(body)}") + body,
        "close": stream.header() + body,
        "surplus": stream.header("Content-Length: 100") + body,
        "cut": stream.chunked()[:700],
        "too large": stream.chunked(),
    }[which]
    limit = 333 if which == "too large" else 1 << 20
    whole = record([data], max_bytes=limit)
    parts = record(split(data, cuts), max_bytes=limit)
    assert without_reads(parts) == without_reads(whole)
    for one, other in zip(judge(parts), judge(whole), strict=True):
        assert (one.result, one.sentence) == (other.result, other.sentence)
        assert one.numbers | {"reads": 0} == other.numbers | {"reads": 0}


@given(data=st.binary(), parts=cuts, end=st.sampled_from(["closed", "reset", "timeout"]))
def test_any_bytes_end_in_a_defined_state(record, data, parts, end):
    seen = record(split(data, parts), end)
    assert seen.ended in get_args(End)
    assert seen.framing in get_args(Framing)
    assert judge(seen)


@given(
    edits=st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 8), st.binary(max_size=8)), max_size=6),
    parts=cuts,
)
def test_a_damaged_response_ends_in_a_defined_state(stream, record, edits, parts):
    data = stream.chunked()
    for at, removed, added in edits:
        at %= len(data)
        data = data[:at] + added + data[at + removed :]
    seen = record(split(data, parts))
    assert seen.ended in get_args(End)
    assert judge(seen)


@given(cut=st.integers(min_value=0), framing=st.sampled_from(["chunked", "length", "close"]))
def test_a_cut_of_a_promised_stream_never_passes_as_complete(stream, record, cut, framing):
    body = stream.body()
    data = {
        "chunked": stream.chunked(),
        "length": stream.header(f"Content-Length: {len(body)}") + body,
        "close": stream.header() + body,
    }[framing]
    assert judge(record([data]))[1].result == "PASS"
    assert judge(record([data[: cut % len(data)]]))[1].result != "PASS"


def test_informational_responses_are_skipped(stream, record):
    seen = record([b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", stream.chunked()])
    assert (seen.status, seen.ended) == (200, "terminated")


def test_a_chunk_that_is_not_finished_is_counted_apart(stream, record):
    seen = record([stream.header("Transfer-Encoding: chunked"), b"3\r\nabc\r\n3\r\nab"])
    assert (seen.ended, seen.chunks, seen.unfinished_chunk, seen.byte_count) == ("truncated", [ChunkRun(3, 1)], 2, 5)


def test_a_last_line_that_nothing_ends_is_no_row(stream, record):
    assert record([stream.header() + b"one\ntwo"]).row_count == 1


def test_a_line_too_long_to_be_kept_is_hashed_as_it_is(stream, record, monkeypatch):
    monkeypatch.setattr(record_module, "MAX_LINE", 100)
    long = stream.row(1, 1.7e9)[:-1] + b"." * 50 + b"\n"
    data = stream.header() + long + stream.row(2, 1.7e9)
    zeroed = stream.row(2, 0).replace(b"         0.", b"0000000000.")
    for seen in (record([data]), record(split(data, list(range(len(data)))))):
        assert seen.sha256_zeroed == hashlib.sha256(long + zeroed).hexdigest()
        assert [row.produced for row in seen.rows] == [None, 1.7e9]


def test_a_status_line_in_the_middle_of_a_line_too_long_is_none(stream, record, monkeypatch):
    monkeypatch.setattr(record_module, "MAX_LINE", 100)
    assert record([stream.header(), b"." * 101, b"HTTP/1.1 200 OK\n"]).second_status_line is None
    assert record([stream.header(), b"HTTP/1.1 200 OK" + b"." * 101, b"\n"]).second_status_line == 0


def test_rows_without_a_promise_of_times_carry_none(stream, record):
    seen = record([b"HTTP/1.1 200 OK\r\n\r\n" + stream.body()])
    assert seen.rows[0].produced is None
    assert seen.sha256_zeroed is None


@pytest.mark.parametrize(
    ("numbers", "expected"), [([1, 2, 2], Misnumbered(3, 2)), ([1, 3], Misnumbered(2, 3)), ([1, 2, 3], None)]
)
def test_the_first_row_out_of_sequence_is_noted(stream, record, numbers, expected):
    assert record([stream.header() + b"".join(map(stream.row, numbers))]).misnumbered == expected


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"a\nHTTP/1.1 500 Internal Server Error\r\n", 2),
        (b"a\nHTTP/1.1 500", 2),
        (b"HTTP/1.0 200 OK\n", 0),
        (b"a HTTP/1.1 500 Error\n", None),
        (b"HTTP/1.1 5000 things\n", None),
    ],
)
def test_a_status_line_inside_the_body_is_noted(stream, record, body, offset):
    assert record([stream.header() + body]).second_status_line == offset


def test_a_status_line_where_a_chunk_header_is_due_is_noted(stream, record):
    data = stream.header("Transfer-Encoding: chunked") + b"3\r\nabc\r\nHTTP/1.1 500 Internal Server Error\r\n\r\n"
    seen = record([data])
    assert (seen.ended, seen.second_status_line) == ("protocol_error", 3)


@pytest.mark.parametrize(("limit", "ended", "size"), [(768, "terminated", 768), (767, "too_large", 767)])
def test_the_size_limit_is_kept_to_the_byte(stream, record, limit, ended, size):
    seen = record([stream.chunked()], max_bytes=limit)
    assert (seen.ended, seen.byte_count) == (ended, size)


def test_what_is_kept_is_bounded(stream, record, monkeypatch):
    for module, name in ((record_module, "MAX_READS"), (record_module, "MAX_ROWS"), (http1_module, "MAX_CHUNK_RUNS")):
        monkeypatch.setattr(module, name, 3)
    chunks = [stream.chunk(b"." * size + b"\n") for size in range(10)]
    seen = record([stream.header("Transfer-Encoding: chunked"), *chunks, stream.chunk(b"")])
    assert (len(seen.reads), len(seen.rows), len(seen.chunks)) == (3, 3, 3)
    assert (seen.read_count, seen.row_count, seen.chunk_count) == (12, 10, 10)


def test_an_observation_needs_an_end(stream):
    with pytest.raises(ValueError, match="not ended"):
        Http1Recorder(Request("http://test/")).observation()


def test_a_chunk_header_that_comes_alone_begins_a_chunk(stream, record):
    seen = record(
        [stream.header("Transfer-Encoding: chunked"), b"3\r\n", b"abc\r\n3\r\n", b"d", b"ef\r\n", b"0\r\n\r\n"]
    )
    assert seen.chunks == [ChunkRun(3, 2)]


# gzip


def gzipped(stream, *, rows=None, extra=b"", cut=None):
    """Make a chunked response whose body is compressed and flushed row by row, and its encoded length."""
    compressor = zlib.compressobj(wbits=31)
    pieces = [compressor.compress(row) + compressor.flush(zlib.Z_SYNC_FLUSH) for row in stream.body().splitlines(True)]
    body = (b"".join(pieces[:rows]) + (compressor.flush() if rows is None else b"") + extra)[:cut]
    header = stream.header("Content-Encoding: gzip", "Transfer-Encoding: chunked")
    return header + stream.chunk(body) + stream.chunk(b""), len(body)


@given(cuts=cuts)
def test_gzip_is_undone_as_it_comes(stream, record, cuts):
    data, length = gzipped(stream)
    seen = record(split(data, cuts))
    assert (seen.ended, seen.coding_error, seen.encoded, seen.encoded_bytes) == ("terminated", None, None, length)
    assert (seen.byte_count, seen.row_count) == (768, 12)
    assert sum(read.size for read in seen.reads) == 768
    assert [verdict.result for verdict in judge(seen)][:2] == ["PASS", "PASS"]


def test_a_row_arrives_with_the_read_that_lets_it_be_decoded(stream, record):
    data, _ = gzipped(stream)
    whole = record([data])
    assert {row.arrived for row in whole.rows} == {whole.reads[0].at}
    assert len([read for read in record([data[n : n + 1] for n in range(len(data))]).reads if read.size]) >= 12


def test_several_members_are_one_body(stream, record):
    body = gzip.compress(stream.body()[:100]) + gzip.compress(b"") + gzip.compress(stream.body()[100:])
    seen = record([stream.header("Content-Encoding: x-gzip", f"Content-Length: {len(body)}") + body])
    assert (seen.coding_error, seen.sha256) == (None, hashlib.sha256(stream.body()).hexdigest())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rows": 6}, "breaks off before its end"),
        ({"cut": -4}, "breaks off before its end"),
        ({"extra": b"garbage"}, "not valid gzip"),
    ],
)
def test_gzip_that_cannot_be_undone_fails_as_completeness(stream, record, changes, complaint):
    seen = record([gzipped(stream, **changes)[0]])
    assert complaint in seen.coding_error
    completeness = judge(seen)[1]
    assert (completeness.result, complaint in completeness.sentence) == ("FAIL", True)


def test_an_empty_body_in_gzip_is_no_error(stream, record):
    assert record([stream.header("Content-Encoding: gzip", "Content-Length: 0")]).coding_error is None


def test_a_gzip_bomb_ends_at_the_size_limit_and_is_never_in_memory(stream, record):
    bomb = gzip.compress(b"\0" * (64 << 20))
    header = stream.header("Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    record([header + bomb], max_bytes=1000)  # so that what is loaded only once does not count
    tracemalloc.start()
    seen = record([header + bomb], max_bytes=20 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (seen.ended, seen.byte_count) == ("too_large", 20 << 20)
    assert peak < 8 << 20


def test_gzip_that_says_nothing_for_long_ends_at_the_size_limit(stream, record):
    nothing = gzip.compress(b"") * 1000
    seen = record([stream.header("Content-Encoding: gzip"), nothing, nothing], max_bytes=30_000)
    assert (seen.ended, seen.encoded_bytes, seen.byte_count) == ("too_large", 30_000, 0)


# Heartbeats


def test_comments_of_an_event_stream_are_counted_and_do_not_end_a_pause(stream):
    recorder = Http1Recorder(Request("http://test/"))
    recorder.sent(0.0)
    recorder.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n", 1.0, 1.0)
    for at, data in (
        (2.0, b": heart"),
        (3.0, b"beat\n\n"),
        (4.0, b":\r\n\r\n"),
        (5.0, b"data: 2\n\n"),
        (6.0, b": x\n\n"),
    ):
        recorder.feed(data, at, 1.0)
    recorder.closed(6.5)
    seen = recorder.observation()
    assert (seen.heartbeat_count, seen.longest_pause) == (3, 4.0)


def test_elsewhere_a_colon_means_something(stream, record):
    assert record([stream.header() + b": x\n"]).heartbeat_count == 0


def test_http10_is_asked_for_in_the_request_line():
    recorder = Http1Recorder(Request("http://test/HTTP/1.1", headers=[("Host", "HTTP/1.1")], protocol="HTTP/1.0"))
    assert recorder.output.startswith(b"GET /HTTP/1.1 HTTP/1.0\r\n")
    assert b"Host: HTTP/1.1\r\n" in recorder.output
