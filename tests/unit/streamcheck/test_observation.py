import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from justhtml import JustHTML
from streamcheck.judge import judge, overall
from streamcheck.observation import FORMAT, ChunkRun, Misnumbered, Observation, Read, Row
from streamcheck.page import as_html
from streamcheck.report import as_text

times = st.floats(-1e14, 1e14)
counts = st.integers(0, 1 << 70)
observations = st.builds(
    Observation,
    url=st.text(),
    timeout=times,
    max_bytes=counts,
    request_sent_at=times,
    header_at=st.none() | times,
    http_version=st.none() | st.sampled_from(["1.0", "1.1"]),
    status=st.none() | st.just(200) | st.integers(100, 599),
    reason=st.text(),
    headers=st.lists(
        st.tuples(st.sampled_from(["Content-Length", "Transfer-Encoding", "X-Stream-Promise", "A"]), st.text()),
        max_size=4,
    ),
    byte_count=counts,
    sha256=st.text(),
    ended=st.sampled_from(["terminated", "closed", "truncated", "timeout", "too_large", "protocol_error"]),
    ended_at=times,
    error=st.none() | st.text(),
    reads=st.lists(st.builds(Read, times, counts, times), max_size=5),
    read_count=counts,
    chunks=st.lists(st.builds(ChunkRun, counts, counts), max_size=3),
    chunk_count=counts,
    unfinished_chunk=st.none() | counts,
    rows=st.lists(st.builds(Row, times, st.none() | times), max_size=8)
    | st.lists(times, max_size=8).map(lambda at: [Row(time + 0.1, time) for time in sorted(at)]),
    row_count=counts,
    misnumbered=st.none() | st.builds(Misnumbered, counts, counts),
    sha256_zeroed=st.none() | st.text(),
    second_status_line=st.none() | counts,
    surplus=counts,
    expected_bytes=st.none() | counts,
    expected_sha256=st.none() | st.text(),
)


@given(observations)
def test_whatever_is_loaded_is_what_was_saved_and_can_be_judged_and_shown(tmp_path_factory, observation):
    path = tmp_path_factory.mktemp("saved") / "seen.json"
    observation.save(path)
    loaded = Observation.load(path)
    assert loaded == observation
    verdicts = judge(loaded)
    assert verdicts == judge(observation)
    assert as_text([("stream", loaded)], verdicts).endswith(f"verdict: {overall(verdicts)}")
    assert JustHTML(as_html([("stream", loaded)], verdicts), strict=True)


@pytest.fixture
def saved(stream, record, tmp_path):
    path = tmp_path / "seen.json"
    record([stream.chunked()]).save(path)
    return path


def test_a_recorded_observation_keeps_its_verdicts(stream, record, saved):
    assert judge(Observation.load(saved)) == judge(record([stream.chunked()]))


def test_every_field_is_saved(saved):
    values = json.loads(saved.read_text())
    assert values.keys() == {"format"} | {field.name for field in dataclasses.fields(Observation)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "streamcheck observation 0"}, FORMAT),
        ({"status": "200"}, "status has a wrong value"),
        ({"status": True}, "status has a wrong value"),
        ({"byte_count": -1}, "byte_count has a wrong value"),
        ({"ended": "well"}, "ended has a wrong value"),
        ({"ended": []}, "ended has a wrong value"),
        ({"ended_at": float("nan")}, "ended_at has a wrong value"),
        ({"ended_at": 10**400}, "ended_at has a wrong value"),
        ({"rows": [[1.0]]}, "rows has a wrong value"),
        ({"rows": [[1.0, "x"]]}, "rows has a wrong value"),
        ({"headers": [["a"]]}, "headers has a wrong value"),
        ({"headers": {}}, "headers has a wrong value"),
    ],
)
def test_says_what_is_wrong_with_a_file(saved, change, complaint):
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    with pytest.raises(ValueError, match=complaint):
        Observation.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, "\x00", f'{{"format": "{FORMAT}"}}'])
def test_a_file_that_holds_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"not JSON|not an observation"):
        Observation.load(path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match="not JSON"):
        Observation.load(path)


def test_repeated_headers_are_joined(record, stream):
    seen = record([stream.header("Via: a", "via: b", "Transfer-Encoding: chunked")])
    assert (seen.header("VIA"), seen.header("x"), seen.framing) == ("a, b", None, "chunked")
