"""Valid responses, damaged in any way and split anywhere: no exception, a defined end, bounded memory.

Short here; `python -m pytest tests/unit/streamproof/test_fuzz.py --hypothesis-profile=long` takes half an hour or so.
"""

import gzip
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import h2.config
import h2.connection
from hypothesis import given
from hypothesis import strategies as st
from streamproof import record as record_module
from streamproof.expected import Expected
from streamproof.http1 import Http1Recorder
from streamproof.http2 import Http2Recorder
from streamproof.idle import judge_idle
from streamproof.judge import judge
from streamproof.observation import End
from streamproof.protocols import judge_protocols
from streamproof.request import Request

MAX_BYTES = 2000
REQUEST = Request("https://test/", max_bytes=MAX_BYTES)
CHUNKED = "Transfer-Encoding: chunked"
GZIP = "Content-Encoding: gzip"
EVENTS = "Content-Type: text/event-stream"

# What one would not hit upon by chance: lengths at the limits, line ends, and frames of HTTP/2.
TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\0",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"10000000000000000\r\n",
        b"-1\r\n",
        b";" * 300,
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"X-Stream-Promise: rows=1,rows=2\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 500 Error\r\n\r\n",
        b"\xff\xfe\xc3\x28",
        b"\0\0\0\4\0\0\0\0\0",
        b"\0\0\0\4\1\0\0\0\0",
        b"\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0",
        b"\0\0\0\1\0\0\0\0\1",
        b"\0\0\1\1\4\0\0\0\1\x88",
        b"\0\0\0\1\5\0\0\0\1",
        b"\0\0\0\x09\0\0\0\0\1",
        b"\0\0\0\0\1\0\0\0\1",
        b"\0\0\1\0\x08\0\0\0\1\xff",
        b"\0\0\4\3\0\0\0\0\1\0\0\0\2",
        b"\0\0\4\5\4\0\0\0\1\0\0\0\2",
        b"\0\0\x08\6\0\0\0\0\0pingping",
        b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\0",
        b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",
        b"\0\0\4\x08\0\0\0\0\1\x7f\xff\xff\xff",
        b"\xff\xff\xff\0\0\0\0\0\1",
    ]
)
EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.none() | st.integers(0, 40), st.binary(max_size=12) | TOKENS),
    min_size=1,
    max_size=8,
)
# Of a body before it is framed.
CONTENT_EDITS = st.just([]) | EDITS
CUTS = st.lists(st.integers(0, 1 << 16), max_size=30)
ENDS = st.sampled_from(["closed", "reset", "timed_out"])


def damaged(data, edits):
    """Replace some bytes by others; by as many where the number to remove is None, which leaves lengths right."""
    for at, removed, added in edits:
        at %= len(data) + 1
        data = data[:at] + added + data[at + (len(added) if removed is None else removed) :]
    return data


def fed(recorder, data, cuts, end):
    """Feed pieces as an observer would, and check what holds in any case."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    recorder.sent(0.0)
    for number, (start, stop) in enumerate(pairwise(edges)):
        recorder.feed(data[start:stop], float(number), 0.5)
        assert len(recorder.to_send()) <= 4 * (stop - start) + 100
    if end == "reset":
        recorder.reset(99.0, "the connection broke")
    else:
        getattr(recorder, end)(99.0)
    seen = recorder.observation()
    assert seen.ended in get_args(End)
    assert seen.byte_count <= MAX_BYTES
    assert (seen.encoded_bytes or 0) <= MAX_BYTES
    assert len(seen.rows) <= seen.row_count
    assert sum(read.size for read in seen.reads) == seen.byte_count
    for verdict in [
        *judge(seen),
        judge_idle(replace(seen, expected=Expected(read_timeout=1.0))),
        judge_protocols([seen]),
    ]:
        assert verdict.sentence
    # With a promise of times, so of the digest, nothing damaged may pass.
    whole = judge(seen)[1]
    if whole.result == "PASS" and "digest is right" in whole.sentence:
        assert seen.row_count == 12


def http1_responses(stream, edits=()):
    body = damaged(stream.body(), edits)
    packed = damaged(gzip.compress(stream.body(), mtime=0), edits)
    length = f"Content-Length: {len(body)}"
    chunks = b"".join(map(stream.chunk, [*body.splitlines(keepends=True), b""]))
    events = b"data: 1\n\n: heartbeat\n\nid: 2\ndata: 2\n\n"
    return {
        "chunked": stream.header(CHUNKED) + chunks,
        "length": stream.header(length) + body,
        "close": stream.header() + body,
        "http10": stream.header(version="1.0") + body,
        "gzip": stream.header(CHUNKED, GZIP)
        + stream.chunk(packed[:50])
        + stream.chunk(packed[50:])
        + stream.chunk(b""),
        "events": b"HTTP/1.1 200 OK\r\n" + EVENTS.encode() + b"\r\n\r\n" + events,
        "trailer": stream.header(CHUNKED) + chunks[:-2] + b"A: b\r\n\r\n",
        "early": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + stream.header(length) + body,
    }


def http2_response(stream, request, packed, edits=()):
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    peer.receive_data(request)
    headers = [(":status", "200"), ("x-stream-promise", stream.promise)]
    peer.send_headers(1, headers + ([("content-encoding", "gzip")] if packed else []))
    body = damaged(gzip.compress(stream.body(), mtime=0) if packed else stream.body(), edits)
    for start in range(0, len(body), 128):
        peer.send_data(1, body[start : start + 128], pad_length=start % 3)
    peer.send_headers(1, [("a", "b")], end_stream=True)
    return peer.data_to_send()


@given(
    which=st.sampled_from(["chunked", "length", "close", "http10", "gzip", "events", "trailer", "early"]),
    content=CONTENT_EDITS,
    edits=CONTENT_EDITS,
    cuts=CUTS,
    end=ENDS,
    protocol=st.sampled_from(["HTTP/1.0", "HTTP/1.1"]),
)
def test_a_damaged_http1_response_ends_in_a_defined_state(stream, which, content, edits, cuts, end, protocol):
    recorder = Http1Recorder(replace(REQUEST, protocol=protocol))
    fed(recorder, damaged(http1_responses(stream, content)[which], edits), cuts, end)


@given(packed=st.booleans(), content=CONTENT_EDITS, edits=CONTENT_EDITS, cuts=CUTS, end=ENDS)
def test_a_damaged_http2_response_ends_in_a_defined_state(stream, packed, content, edits, cuts, end):
    recorder = Http2Recorder(REQUEST)
    fed(recorder, damaged(http2_response(stream, recorder.output, packed, content), edits), cuts, end)


@given(frames=st.lists(TOKENS | st.binary(max_size=30), max_size=30), cuts=CUTS, end=ENDS)
def test_any_frames_end_in_a_defined_state(frames, cuts, end):
    recorder = Http2Recorder(REQUEST)
    fed(recorder, b"\0\0\0\4\0\0\0\0\0" + b"".join(frames), cuts, end)


def test_the_fuzzed_responses_are_valid_to_begin_with(stream):
    for which, data in http1_responses(stream).items():
        recorder = Http1Recorder(REQUEST)
        recorder.feed(data, 1.0, 1.0)
        recorder.closed(2.0)
        assert recorder.ended in ("terminated", "closed"), which
    for packed in (False, True):
        recorder = Http2Recorder(REQUEST)
        recorder.feed(http2_response(stream, recorder.output, packed), 1.0, 1.0)
        assert recorder.ended == "terminated"
    assert record_module.MAX_HEADER > MAX_BYTES, "so that what is put in between is found by the parser, not the limit"
