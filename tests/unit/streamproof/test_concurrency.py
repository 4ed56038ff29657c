import dataclasses

import pytest
from streamproof.concurrency import judge_concurrency

SENT = 1_700_000_000.0


@pytest.fixture
def streams(stream, record):
    """Four streams of 1.2 s at the same time, in time and whole."""
    seen = record([stream.chunked()])
    rows = [row._replace(arrived=row.produced + 0.001 * number) for number, row in enumerate(seen.rows)]
    one = dataclasses.replace(
        seen,
        role="concurrent",
        rows=rows,
        started_at=SENT - 0.02,
        request_sent_at=SENT - 0.01,
        header_at=SENT,
        ended_at=SENT + 1.2,
    )
    return [one] * 4


@pytest.fixture
def short(record):
    """Make a short request by when it began and how long it took, in seconds."""

    def make(began, took, status="404 Not Found"):
        seen = record([f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()])
        return dataclasses.replace(seen, started_at=SENT + began, ended_at=SENT + began + took)

    return make


def test_rounds_are_told_apart_and_a_refusal_in_one_fails(streams, short, record):
    later = [
        dataclasses.replace(one, started_at=one.started_at + 4, header_at=one.header_at + 4, ended_at=one.ended_at + 4)
        for one in streams
    ]
    verdict = judge_concurrency([*streams, *later], [short(0.1, 0.05)], short(-1, 0.01))
    assert (verdict.result, verdict.numbers["at_once"]) == ("PASS", 4)
    assert verdict.sentence.startswith("8 streams in 2 rounds, all in time and whole")
    refused = record([b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"])
    later[0] = dataclasses.replace(refused, role="concurrent", started_at=SENT + 4, ended_at=SENT + 4.01)
    verdict = judge_concurrency([*streams, *later], [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith("1 of 8 streams in 2 rounds were refused (502 Bad Gateway), 7 were served")


def test_streams_in_time_and_short_requests_answered_pass(streams, short):
    verdict = judge_concurrency(streams, [short(0.1, 0.05), short(0.4, 0.02), short(9, 8)], short(-1, 0.01))
    assert (verdict.result, verdict.sentence) == (
        "PASS",
        "4 streams at once, all in time and whole; worst lag 11 ms; 2 short requests meanwhile took 50 ms at most, "
        "alone 10.0 ms",
    )
    assert (verdict.numbers["at_once"], verdict.numbers["refused"]) == (4, 0)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests", "502 Bad Gateway"])
def test_refused_streams_are_counted_apart_and_fail(streams, short, record, status):
    refused = record([f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()])
    verdict = judge_concurrency([*streams, refused, refused], [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith(
        f"2 of 6 streams at once were refused ({status}), 4 were served; worst lag 11 ms"
    )


def test_a_stream_without_a_connection_fails(streams, short):
    none = dataclasses.replace(
        streams[0], status=None, ended="no_connection", error="no connection to x port 1: refused"
    )
    verdict = judge_concurrency([*streams, none], [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith("1 of 5 streams at once got no connection: no connection to x port 1: refused")


def test_one_late_stream_fails_all(streams, short, record, stream):
    late = dataclasses.replace(streams[0], rows=record([stream.chunked()]).rows)
    verdict = judge_concurrency([*streams, late], [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith("1 of 5 streams at once failed, the first for timing: 12 of 12 rows were late")


def test_streams_that_have_to_wait_for_each_other_fail(streams, short):
    after = [
        dataclasses.replace(
            one,
            header_at=one.header_at + 1.3 * number,
            ended_at=one.ended_at + 1.3 * number,
            request_sent_at=SENT - 0.01,
        )
        for number, one in enumerate(streams)
    ]
    verdict = judge_concurrency(after, [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "FAIL"
    assert "only 1 of 4 streams at once ran, others waited up to 3910 ms" in verdict.sentence


def test_streams_too_short_to_run_at_the_same_time_are_inconclusive(streams, short):
    after = [
        dataclasses.replace(one, header_at=SENT + 0.2 * number, ended_at=SENT + 0.2 * number + 0.1)
        for number, one in enumerate(streams)
    ]
    verdict = judge_concurrency(after, [short(0.1, 0.05)], short(-1, 0.01))
    assert (verdict.result, "only 1 ran at the same time" in verdict.sentence) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(("took", "alone", "result"), [(1.5, 0.01, "FAIL"), (1.5, 1.0, "PASS"), (0.9, 0.01, "PASS")])
def test_a_short_request_that_the_streams_keep_waiting_fails(streams, short, took, alone, result):
    verdict = judge_concurrency(streams, [short(0.1, took)], short(-2, alone))
    assert verdict.result == result
    assert "took" in verdict.sentence


def test_a_short_request_that_is_not_answered_fails(streams, short):
    verdict = judge_concurrency(
        streams, [short(0.1, 0.1), short(0.2, 0.1, status="503 Service Unavailable")], short(-1, 0.01)
    )
    assert verdict.result == "FAIL"
    assert "1 of 2 short requests to http://test/ failed while streams ran: 503 Service Unavailable" in verdict.sentence


def test_without_a_short_request_meanwhile_it_is_inconclusive(streams, short):
    for shorts, alone in (
        ([], short(-1, 0.01)),
        ([short(0.1, 0.1)], short(-1, 0.1, status="500 Internal Server Error")),
    ):
        assert judge_concurrency(streams, shorts, alone).result == "INCONCLUSIVE"


def test_streams_that_cannot_be_judged_are_inconclusive(streams, short):
    unclear = [dataclasses.replace(one, rows=[]) for one in streams]
    verdict = judge_concurrency(unclear, [short(0.1, 0.05)], short(-1, 0.01))
    assert verdict.result == "INCONCLUSIVE"
    assert verdict.sentence.startswith(
        "4 of 4 streams at once could not be judged, the first for timing: a body of no type"
    )
