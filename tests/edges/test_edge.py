"""What streamproof says of streams through the edge, and what the edge's own life does to them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from edges import happenings, measure
from edges.stage import READ_TIMEOUT, Stage
from faults.session import Result
from streamproof.ask import ask
from streamproof.run import Run
from streamproof.verdict import Verdict

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def asked(stage: Stage) -> dict[str, Run]:
    """All questions but the one that moves a lot, at once: most of the time is pauses."""
    with ThreadPoolExecutor() as pool:
        questions = measure.questions(stage)
        backpressure = questions.pop("backpressure")
        # Longer than the 15 s that Envoy gives a response by default.
        questions["long"] = measure.stream(stage, "rows=40&delay_ms=1000")
        answers = {about: pool.submit(ask, asking) for about, asking in questions.items()}
        answers["bad"] = pool.submit(measure.ask_badly, stage)
        runs = {about: answer.result() for about, answer in answers.items()}
        return runs | {"backpressure": ask(backpressure)}


def verdicts(run: Run) -> dict[str, Verdict]:
    return {verdict.question: verdict for verdict in run.verdicts()}


@pytest.mark.parametrize("about", ["stream", "long", "concurrency", "protocols"])
def test_streams_are_whole_and_in_time(asked: dict[str, Run], about: str) -> None:
    found = verdicts(asked[about])
    assert {each.result for each in found.values()} == {"PASS"}, found


def test_http2_is_offered_by_tls(asked: dict[str, Run]) -> None:
    numbers = verdicts(asked["protocols"])["protocols"].numbers
    assert (numbers["HTTP/2"], numbers["HTTP/2 with gzip"]) == ("PASS", "PASS")


def test_a_slow_client_holds_the_app_back(asked: dict[str, Run]) -> None:
    assert verdicts(asked["backpressure"])["backpressure"].numbers["outcome"] == "backpressure"


def test_a_silent_stream_is_cut_where_the_edge_can_be_told_to(stage: Stage, asked: dict[str, Run]) -> None:
    verdict = verdicts(asked["idle"])["idle"]
    if stage.edge.name == "traefik":  # it has no such timeout, and takes no annotation for one
        assert verdict.result == "PASS"
        assert verdict.numbers["longest_gap_ms"] >= READ_TIMEOUT * 1000
    else:
        assert verdict.result == "FAIL"
        assert READ_TIMEOUT * 1000 - 500 <= verdict.numbers["cut_after_ms"] < READ_TIMEOUT * 1000 + 4000


def test_a_stream_that_breaks_off_is_not_taken_for_complete(asked: dict[str, Run]) -> None:
    found = verdicts(asked["truncation"])
    assert (found["framing"].result, found["completeness"].result) == ("FAIL", "FAIL")


def test_a_bad_setting_is_found(stage: Stage, asked: dict[str, Run]) -> None:
    found = verdicts(asked["bad"])
    if stage.edge.name == "envoy-gateway":  # its default for the whole of a response is 15 s
        assert found["completeness"].result == "FAIL"
        assert 13 <= found["completeness"].numbers["rows"] <= 16
    else:
        assert found["completeness"].result == "PASS"
        assert found["timing"].result == "FAIL"
        assert "at the end" in found["timing"].sentence


@pytest.fixture(scope="module")
def restarted(stage: Stage) -> dict[str, Result]:
    return {result.event: result for result in happenings.restarts(stage)}


@pytest.mark.parametrize("event", [event.name for event in happenings.EVENTS])
def test_no_stream_is_lost(restarted: dict[str, Result], event: str) -> None:
    result = restarted[event]
    assert result.open >= 100
    assert result.outcomes["completed"] >= 100
    assert result.lost == 0, result.how
