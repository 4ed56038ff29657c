import hashlib
from itertools import pairwise

import h2.config
import h2.connection
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof.http2 import Http2Recorder
from streamproof.judge import judge
from streamproof.request import Request

SENT, AT = 1_700_000_000.0, 1_700_000_002.0


def recorder(max_bytes=1 << 20):
    made = Http2Recorder(Request("https://test/a?b", max_bytes=max_bytes))
    made.sent(SENT)
    return made


def record(reads, max_bytes=1 << 20):
    made = recorder(max_bytes)
    for data in reads:
        made.feed(data, AT, 0.5)
    made.closed(AT + 1)
    return made.observation()


class Peer:
    """The server's side, by h2: it has taken the request, and what it wants to send is taken from `data_to_send`."""

    def __init__(self, request=None, **settings):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        for name, value in settings.items():
            self.h2.local_settings[getattr(h2.settings.SettingCodes, name)] = value
        self.h2.initiate_connection()
        self.events = self.h2.receive_data(request or recorder().output)

    def respond(self, promise=None, status="200", **more):
        headers = [(":status", status), *([("x-stream-promise", promise)] if promise else []), *more.items()]
        self.h2.send_headers(1, headers)
        return self

    def send(self, *pieces, end=True):
        for piece in pieces:
            self.h2.send_data(1, piece)
        if end:
            self.h2.end_stream(1)
        return self.bytes()

    def bytes(self):
        return self.h2.data_to_send()


def whole(stream):
    return Peer().respond(stream.promise).send(*stream.body().splitlines(keepends=True))


def frame(kind, payload=b"", flags=0, stream=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def goaway(last, code=0):
    return frame(7, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def test_the_request_names_the_host_once():
    (headers,) = [event.headers for event in Peer().events if hasattr(event, "headers")]
    assert [tuple(header) for header in headers] == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"test"),
        (b":path", b"/a?b"),
        (b"user-agent", b"streamproof"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
    ]


@given(cuts=st.lists(st.integers(min_value=0), max_size=40))
def test_a_whole_stream_is_recorded_however_it_is_split(stream, cuts):
    data = whole(stream)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    seen = record([data[start:end] for start, end in pairwise(edges)])
    assert (seen.http_version, seen.status, seen.framing, seen.ended) == ("2", 200, "h2", "terminated")
    assert (seen.byte_count, seen.row_count) == (768, 12)
    assert seen.sha256 == hashlib.sha256(stream.body()).hexdigest()
    assert [(verdict.result, verdict.question) for verdict in judge(seen)][:2] == [
        ("PASS", "framing"),
        ("PASS", "completeness"),
    ]
    assert judge(seen)[0].sentence == "HTTP/2 frames, END_STREAM seen"


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (b"", "the connection was closed before the end"),
        (frame(3, (2).to_bytes(4, "big"), stream=1), "the server reset the stream, INTERNAL_ERROR"),
        (frame(3, (99).to_bytes(4, "big"), stream=1), "the server reset the stream, error code 99"),
        (goaway(0, 11), "the server ended the connection by GOAWAY, ENHANCE_YOUR_CALM"),
        (goaway(1, 2), "the server ended the connection by GOAWAY, INTERNAL_ERROR"),
    ],
)
def test_a_stream_without_end_stream_is_truncated(stream, end, error):
    seen = record([Peer().respond(stream.promise).send(stream.body()[:384], end=False), end])
    assert (seen.ended, seen.error, seen.byte_count) == ("truncated", error, 384)
    assert [verdict.result for verdict in judge(seen)][:2] == ["FAIL", "FAIL"]
    assert judge(seen)[0].sentence == f"truncated: HTTP/2 frames, but no END_STREAM: {error}"


def test_a_cut_that_ends_properly_is_told_by_the_promise(stream):
    seen = record([Peer().respond(stream.promise).send(stream.body()[:384])])
    framing, completeness, _ = judge(seen)
    assert (framing.result, completeness.result) == ("PASS", "FAIL")
    assert "ended with END_STREAM, so framing alone would have called it complete" in completeness.sentence


def test_a_stream_goes_on_after_a_goaway_that_lets_it(stream):
    peer = Peer()
    begun = peer.respond(stream.promise).send(stream.body()[:384], end=False)
    seen = record([begun, goaway(1), peer.send(stream.body()[384:])])
    assert (seen.ended, seen.byte_count) == ("terminated", 768)


def test_what_came_before_an_invalid_frame_in_the_same_read_counts(stream):
    data = Peer().respond(stream.promise).send(stream.body()[:384], end=False) + frame(0, b"x", stream=3)
    seen = record([data])
    assert (seen.ended, seen.byte_count) == ("protocol_error", 384)
    assert judge(seen)[0].result == "FAIL"


def test_windows_are_given_back():
    made = recorder(1 << 30)
    peer = Peer(made.output)
    made.feed(peer.respond().send(end=False), AT, 0.5)
    for _ in range(200):  # three times the window
        made.feed(peer.send(b"." * 16384, end=False), AT, 0.5)  # h2 raises when the window is used up
        if answer := made.to_send():
            peer.h2.receive_data(answer)
    made.feed(peer.send(), AT, 0.5)
    assert made.observation().byte_count == 200 * 16384


def test_a_server_whose_window_is_zero_can_answer(stream):
    made = recorder()
    peer = Peer(made.output, INITIAL_WINDOW_SIZE=0)
    made.feed(peer.respond(stream.promise).send(stream.body()), AT, 0.5)
    assert made.observation().ended == "terminated"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of 4740180 bytes"),
        (b"\xff" * 9, "a frame of 16777215 bytes"),
        (frame(4) + frame(1, b"\xff" * 9, flags=4, stream=1), ""),
        (frame(4) + frame(1, b"\x82" * 9, flags=4, stream=1), ""),
        (frame(4) + frame(1, b"\x00\x07:status\x03abc", flags=4, stream=1), "the status is 'abc'"),
        (frame(4) + frame(5, b"\0\0\0\2", flags=4, stream=1), ""),
        (frame(4) + frame(8, b"\0\0\0\0"), ""),
        (frame(4) + frame(0, b"x", stream=1), ""),
        (frame(7, b""), ""),
    ],
)
def test_what_is_not_http2_is_a_protocol_error(data, error):
    seen = record([data])
    assert (seen.status, seen.ended, error in seen.error) == (None, "protocol_error", True)
    assert judge(seen)[0].sentence.startswith("what came back is not an HTTP/2 response: ")


def test_endless_continuation_ends(stream):
    made = recorder()
    made.feed(frame(4) + frame(1, b"", stream=1), AT, 0.5)
    for _ in range(1000):
        made.feed(frame(9, b"\x00\x01a\x01b" * 100, stream=1), AT, 0.5)
        if made.ended:
            break
    assert made.ended == "protocol_error"


def test_a_header_that_unfolds_ends(stream):
    """A few bytes of HPACK can stand for a long header each time."""
    block = b"\x88\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 10_000
    seen = record([frame(4) + frame(1, block, flags=4, stream=1)])
    assert seen.ended == "protocol_error"


@pytest.mark.parametrize(
    "kind",
    [frame(4), frame(4, b"\0\7\0\0\0\1"), frame(6, b"12345678"), frame(99, b"x"), frame(2, b"\0\0\0\0\1", stream=5)],
)
def test_floods_leave_nothing_behind(kind):
    """Whoever reads the socket ends them at the time limit."""
    made = recorder()
    for _ in range(20):
        made.feed(kind * 1000, AT, 0.0)
        assert len(made.to_send()) <= 1000 * 17
    assert made.ended is None
    made.timed_out(AT)
    assert made.observation().row_count == 0


def test_the_size_limit_is_kept_to_the_byte(stream):
    seen = record([whole(stream)], max_bytes=767)
    assert (seen.ended, seen.byte_count) == ("too_large", 767)


def test_informational_responses_are_skipped(stream):
    peer = Peer()
    peer.h2.send_headers(1, [(":status", "103"), ("link", "</x>")])
    assert record([peer.respond().send(b"x")]).status == 200
