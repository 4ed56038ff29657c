import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof import record as record_module
from streamproof.events import Piece, event_format, splitter

SSE = "text/event-stream; charset=utf-8"
PARTS = 'multipart/x-mixed-replace; boundary="cut here"'


def split(content_type, *pieces):
    one = splitter(content_type)
    return [event for piece in pieces for event in one.feed(piece)] + list(one.finish())


def sizes(content_type, *pieces):
    return [event.size for event in split(content_type, *pieces)]


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("text/event-stream", "server-sent events"),
        ("Text/Event-Stream;charset=utf-8", "server-sent events"),
        ("application/x-ndjson", "JSON lines"),
        ("application/jsonl", "JSON lines"),
        ("application/geo+json-seq", "JSON lines"),
        ("text/plain; charset=utf-8", "lines"),
        ("text/csv", "lines"),
        (PARTS, "parts"),
        ("multipart/x-mixed-replace", None),
        ("application/json", None),
        ("text/html", None),
        ("", None),
        (None, None),
    ],
)
def test_the_content_type_tells_what_events_are(content_type, form):
    assert event_format(content_type) == form
    assert (splitter(content_type) is None) == (form is None)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_server_sent_events_end_at_an_empty_line_of_any_kind(end):
    body = end.join([b"event: a", b"data: 1", b"", b"data: 22", b"data: 3", b"", b""])
    assert sizes(SSE, body) == [9 + 8 + 1, 9 + 8 + 1]


@pytest.mark.parametrize(
    "body",
    [
        b": a comment\n\n",
        b":\n:\n\n",
        b"event: ping\n\n",
        b"retry: 3000\nid: 7\n\n",
        b"database: 1\n\n",
        b"\n\n\n",
        b"data: not ended\n",
    ],
)
def test_what_a_browser_does_not_dispatch_is_no_event(body):
    assert split(SSE, body) == []


@pytest.mark.parametrize("body", [b"data\n\n", b"data:\n\n", b"\xef\xbb\xbfdata: 1\n\n", b": note\ndata: 1\n\n"])
def test_an_event_needs_a_data_field(body):
    assert len(split(SSE, body)) == 1


def test_a_comment_within_an_event_changes_nothing_of_it():
    assert split(SSE, b"data: 1\n: note\nid: 2\n\n") == split(SSE, b"data: 1\nid: 2\n\n")


def test_line_ends_that_a_hop_changed_change_nothing():
    assert split(SSE, b"data: 1\r\n\r\n") == split(SSE, b"data: 1\n\n")


def test_lines_that_are_not_blank_are_events():
    body = b'{"a": 1}\n\n{"b": 2}\r\n \t\n\x1e\n{"c": 3}'
    assert sizes("application/x-ndjson", body) == [9, 10, 8]


def test_json_texts_after_a_separator_are_events():
    assert sizes("application/json-seq", b'\x1e{"a": 1}\n\x1e{"b": 2}\n') == [10, 10]


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b""])
def test_parts_are_events(length):
    head = b"\r\n--cut here\r\nContent-Type: text/plain\r\n" + length + b"\r\n"
    body = head + b"12345" + head + b"6789\n" + b"\r\n--cut here--\r\nepilogue --cut here\r\n"
    assert split(PARTS, body) == [Piece(5, zlib.crc32(b"12345")), Piece(5, zlib.crc32(b"6789\n"))]


def test_a_part_of_known_length_ends_without_the_next_delimiter():
    one = splitter(PARTS)
    assert len(list(one.feed(b"--cut here\nContent-Length: 3\n\nabc"))) == 1


def test_what_was_begun_of_a_line_is_unfinished():
    for content_type in (SSE, "text/plain"):
        one = splitter(content_type)
        assert (list(one.feed(b"data: 12")), one.unfinished) == ([], 8)
        list(one.feed(b"3\n"))
        assert one.unfinished == 0


bodies = st.lists(
    st.sampled_from([b"data: 1", b"data", b":", b": c", b"x", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b" ", b"\x1e"]),
    max_size=30,
).map(b"".join)
part_bodies = st.lists(
    st.sampled_from([b"--cut here", b"--", b"\r\n", b"\n", b"Content-Length: 3", b"abc", b"-", b"c"]), max_size=30
).map(b"".join)


@given(
    st.sampled_from([(SSE, bodies), ("text/plain", bodies), (PARTS, part_bodies)]).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), pair[1])
    ),
    st.lists(st.integers(0, 300)),
)
def test_how_a_body_is_cut_into_reads_changes_nothing(what, cuts):
    content_type, body = what
    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    assert split(content_type, *(body[start:end] for start, end in pairwise(edges))) == split(content_type, body)


@pytest.mark.parametrize("content_type", [SSE, "application/x-ndjson", "text/plain", PARTS])
def test_an_event_without_an_end_needs_bounded_memory(content_type):
    one = splitter(content_type)
    piece = b"x" * (64 << 10)
    begin = b"--cut here\r\n\r\n" if content_type == PARTS else b"data: "
    list(one.feed(begin))
    tracemalloc.start()
    try:
        for _ in range(2000):
            assert list(one.feed(piece)) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# As they are recorded


def answer(content_type, *chunks):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return [head, *(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))]


def test_events_are_recorded_with_the_read_that_ended_them(record):
    seen = record(answer(SSE, b"data: 1\n\nda", b"ta: 2\n\n", b": ping\n\n"))
    assert [(event.arrived, event.size) for event in seen.events] == [(1_700_000_002.0, 9), (1_700_000_002.0, 9)]
    assert (seen.event_count, [read.unfinished for read in seen.reads]) == (2, [0, 2, 0, 0, 0])


@pytest.mark.parametrize(("end", "number"), [("closed", 2), ("reset", 1), ("timeout", 1)])
def test_a_last_line_that_nothing_ends_is_an_event_if_that_was_the_end(record, end, number):
    seen = record([b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n1\n2"], end)
    assert seen.event_count == number


def test_events_beyond_a_limit_are_counted(record, monkeypatch):
    monkeypatch.setattr(record_module, "MAX_EVENTS", 3)
    seen = record(answer("text/plain", b"1\n" * 5))
    assert (len(seen.events), seen.event_count) == (3, 5)


@pytest.mark.parametrize(("mode", "flushes"), [(zlib.Z_SYNC_FLUSH, 3), (zlib.Z_NO_FLUSH, 0)])
def test_flushes_of_gzip_are_counted_wherever_reads_cut_them(record, mode, flushes):
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)
    body = b"".join(squeeze.compress(b"data: 1\n\n") + squeeze.flush(mode) for _ in range(3)) + squeeze.flush()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    seen = record([head, *(bytes([byte]) for byte in body)])
    assert (seen.sync_flushes, seen.event_count) == (flushes, 3)
    assert record([head.replace(b"Content-Encoding: gzip\r\n", b"")]).sync_flushes is None
