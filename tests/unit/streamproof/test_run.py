import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from justhtml import JustHTML
from streamproof import run as run_module
from streamproof.expected import Expected
from streamproof.judge import overall
from streamproof.observation import ChunkRun, End, Event, Misnumbered, Observation, Read, Role, Row, Stall
from streamproof.page import as_html
from streamproof.report import as_text
from streamproof.run import FORMAT, QUESTIONS, ROLES, Run

times = st.floats(-1e14, 1e14)
counts = st.integers(0, 1 << 70)
observations = st.builds(
    Observation,
    url=st.text(),
    protocol=st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2"]),
    timeout=times,
    max_bytes=counts,
    started_at=times,
    request_sent_at=times,
    header_at=st.none() | times,
    http_version=st.none() | st.sampled_from(["1.0", "1.1", "2"]),
    status=st.none() | st.just(200) | st.integers(100, 599),
    reason=st.text(),
    headers=st.lists(
        st.tuples(st.sampled_from(["Content-Length", "Transfer-Encoding", "X-Stream-Promise", "A"]), st.text()),
        max_size=4,
    ),
    byte_count=counts,
    sha256=st.text(),
    ended=st.sampled_from(get_args(End)),
    ended_at=times,
    error=st.none() | st.text(),
    reads=st.lists(st.builds(Read, times, counts, times, counts), max_size=5),
    events=st.lists(st.builds(Event, times, counts, counts), max_size=8),
    event_count=counts,
    connect_seconds=times,
    sync_flushes=st.none() | counts,
    times=st.none() | st.text(),
    read_count=counts,
    chunks=st.lists(st.builds(ChunkRun, counts, counts), max_size=3),
    chunk_count=counts,
    unfinished_chunk=st.none() | counts,
    rows=st.lists(st.builds(Row, times, st.none() | times, counts), max_size=8)
    | st.lists(times, max_size=8).map(lambda at: [Row(time + 0.1, time, 64) for time in sorted(at)]),
    row_count=counts,
    misnumbered=st.none() | st.builds(Misnumbered, counts, counts),
    sha256_zeroed=st.none() | st.text(),
    second_status_line=st.none() | counts,
    surplus=counts,
    encoded_bytes=st.none() | counts,
    coding_error=st.none() | st.text(),
    heartbeat_count=counts,
    longest_pause=times,
    stall=st.none() | st.builds(Stall, times, times, counts),
    expected=st.builds(
        Expected,
        bytes=st.none() | counts,
        sha256=st.none() | st.text(),
        backpressure=st.sampled_from([None, "backpressure", "absorb"]),
        read_timeout=st.none() | times,
    ),
)


@st.composite
def runs(draw):
    questions = draw(st.lists(st.sampled_from(QUESTIONS), min_size=1, unique=True))
    roles = {role for question in questions for role in ROLES[question]} | draw(
        st.sets(st.sampled_from(get_args(Role)))
    )
    # What else may be there several times.
    several = draw(st.lists(st.sampled_from(["concurrent", "short"]), max_size=3))
    seen = [dataclasses.replace(draw(observations), role=role) for role in [*sorted(roles), *several]]
    return Run(questions, seen)


@given(runs())
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_is_loaded_can_be_judged_and_is_what_was_saved(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("saved") / "seen.json"
    run.save(path)
    loaded = Run.load(path)
    assert loaded == run
    verdicts = loaded.verdicts()
    assert verdicts == run.verdicts()
    assert [verdict.question for verdict in verdicts] == run.questions
    streams = [(one.role, one) for one in loaded.observations[:2]]
    assert as_text(streams, verdicts).endswith(f"verdict: {overall(verdicts)}")
    assert JustHTML(as_html(streams, verdicts), strict=True)


@pytest.fixture
def saved(stream, record, tmp_path):
    path = tmp_path / "seen.json"
    Run(["framing", "timing"], [record([stream.chunked()])]).save(path)
    return path


def test_a_saved_run_keeps_its_verdicts(stream, record, saved):
    run = Run.load(saved)
    assert run.observations == [record([stream.chunked()])]
    assert [(verdict.question, verdict.result) for verdict in run.verdicts()] == [
        ("framing", "PASS"),
        ("timing", "FAIL"),
    ]


def test_what_an_older_file_lacks_has_its_default(saved):
    values = json.loads(saved.read_text())
    values["observations"][0]["reads"] = [read[:3] for read in values["observations"][0]["reads"]]
    del values["observations"][0]["events"]
    saved.write_text(json.dumps(values))
    (seen,) = Run.load(saved).observations
    assert (seen.events, {read.unfinished for read in seen.reads}) == ([], {0})


def test_every_field_is_saved(saved):
    values = json.loads(saved.read_text())
    assert values.keys() == {"format"} | {field.name for field in dataclasses.fields(Run)}
    assert values["observations"][0].keys() == {field.name for field in dataclasses.fields(Observation)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "streamproof observation 1"}, FORMAT),
        ({"questions": []}, "it is empty"),
        ({"questions": ["weather"]}, "questions has a wrong value"),
        ({"questions": ["concurrency"]}, "no observation for 'concurrent'"),
        ({"questions": ["framing", "protocols"]}, "no observation for 'HTTP/1.0'"),
        ({"observations": []}, "no observation for 'stream'"),
        ({"observations": [{}]}, "it lacks"),
        ({"observations": 3}, "observations has a wrong value"),
    ],
)
def test_says_what_is_wrong_with_a_file(saved, change, complaint):
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    with pytest.raises(ValueError, match=complaint):
        Run.load(saved)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"role": "chorus"}, "role has a wrong value"),
        ({"status": "200"}, "status has a wrong value"),
        ({"status": True}, "status has a wrong value"),
        ({"byte_count": -1}, "byte_count has a wrong value"),
        ({"ended": "well"}, "ended has a wrong value"),
        ({"ended": []}, "ended has a wrong value"),
        ({"ended_at": float("nan")}, "ended_at has a wrong value"),
        ({"ended_at": 10**400}, "ended_at has a wrong value"),
        ({"rows": [[1.0, 1.0]]}, "rows has a wrong value"),
        ({"reads": [[1.0, 1, 1.0, 1, 1]]}, "reads has a wrong value"),
        ({"events": [[1.0, 1]]}, "events has a wrong value"),
        ({"rows": [[1.0, "x", 1]]}, "rows has a wrong value"),
        ({"headers": [["a"]]}, "headers has a wrong value"),
        ({"headers": {}}, "headers has a wrong value"),
        ({"expected": {"backpressure": "both"}}, "backpressure has a wrong value"),
        ({"expected": {"bytes": "8"}}, "bytes has a wrong value"),
    ],
)
def test_says_what_is_wrong_with_an_observation_in_a_file(saved, change, complaint):
    values = json.loads(saved.read_text())
    values["observations"][0] |= change
    saved.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=complaint):
        Run.load(saved)


def test_what_a_file_lacks_has_its_default(saved):
    values = json.loads(saved.read_text())
    del values["observations"][0]["stall"], values["observations"][0]["expected"]["read_timeout"]
    saved.write_text(json.dumps(values))
    seen = Run.load(saved).observations[0]
    assert (seen.stall, seen.expected) == (None, Expected())


def test_a_file_of_the_format_before_is_judged_alike(stream, record, saved):
    values = json.loads(saved.read_text())
    del values["observations"][0]["expected"]
    values["observations"][0] |= {"expected_bytes": 4, "expected_sha256": "0" * 64}
    saved.write_text(json.dumps(values | {"format": "streamproof run 2", "expect": "absorb", "read_timeout": 3.0}))
    expected = Expected(bytes=4, sha256="0" * 64, backpressure="absorb", read_timeout=3.0)
    assert Run.load(saved).observations == [dataclasses.replace(record([stream.chunked()]), expected=expected)]
    saved.write_text(json.dumps({"format": "streamproof run 2", "questions": ["framing"], "observations": [3]}))
    with pytest.raises(ValueError, match="observations has a wrong value"):
        Run.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, "\x00", f'{{"format": "{FORMAT}"}}'])
def test_a_file_that_holds_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"not JSON|not a run|not a whole run"):
        Run.load(path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match="not JSON"):
        Run.load(path)


def test_repeated_headers_are_joined(record, stream):
    seen = record([stream.header("Via: a", "via: b", "Transfer-Encoding: chunked")])
    assert (seen.header("VIA"), seen.header("x"), seen.framing) == ("a, b", None, "chunked")


def test_a_file_without_an_end_is_no_run(monkeypatch):
    monkeypatch.setattr(run_module, "_MAX_FILE", 1 << 20)
    with pytest.raises(ValueError, match="holds more than 1 MiB"):
        Run.load(Path("/dev/zero"))
