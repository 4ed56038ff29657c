import dataclasses

import pytest
from streamproof.protocols import ORDER, judge_protocols

from tests.unit.streamproof.recorded import came

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def good(stream, record):
    """An observation of each variant but HTTP/2; rows are in time."""

    def in_time(seen, role, **changes):
        rows = [row._replace(arrived=row.produced + 0.001) for row in seen.rows]
        protocol = "HTTP/1.0" if role.startswith("HTTP/1.0") else "HTTP/1.1"
        sent = rows[0].produced - 0.01
        return dataclasses.replace(seen, role=role, rows=rows, request_sent_at=sent, protocol=protocol, **changes)

    chunked = record([stream.chunked()])
    until_close = record([stream.header() + stream.body()])
    return {
        role: in_time(until_close if role.startswith("HTTP/1.0") else chunked, role)
        for role in ORDER
        if "HTTP/2" not in role
    }


def judged(observations):
    return judge_protocols(list(observations.values()))


def test_all_that_pass_are_named(good):
    verdict = judged(good)
    assert (verdict.result, verdict.sentence) == (
        "PASS",
        "whole and in time over HTTP/1.1, HTTP/1.1 reused, HTTP/1.1 with gzip, HTTP/1.1 with br, HTTP/1.1 with zstd, "
        "as a browser, HTTP/1.0, HTTP/1.0 with gzip; "
        "HTTP/2 was not asked for: it requires an https URL; nothing was compressed",
    )
    assert verdict.numbers["HTTP/1.1"] == "PASS"
    assert verdict.numbers["HTTP/2 with gzip"] == "not asked"


def test_the_first_that_fails_is_named_and_outweighs_what_is_unclear(good, stream, record):
    good["HTTP/1.1"] = dataclasses.replace(good["HTTP/1.1"], rows=[])
    good["HTTP/1.1 with gzip"] = dataclasses.replace(record([stream.chunked()]), role="HTTP/1.1 with gzip")
    verdict = judged(good)
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith("HTTP/1.1 with gzip: timing: 12 of 12 rows were late")
    assert [verdict.numbers[role] for role in ORDER[:3]] == ["INCONCLUSIVE", "PASS", "FAIL"]


def test_an_end_by_close_is_in_order_for_http10_if_all_has_arrived(good):
    assert good["HTTP/1.0"].ended == "closed"
    assert judged(good).numbers["HTTP/1.0"] == "PASS"
    good["HTTP/1.0"] = dataclasses.replace(good["HTTP/1.0"], headers=[])
    verdict = judged(good)
    assert (verdict.result, verdict.numbers["HTTP/1.0"]) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert verdict.sentence.startswith("HTTP/1.0: completeness: ")


def test_chunked_in_the_response_to_http10_fails(good):
    good["HTTP/1.0"] = dataclasses.replace(good["HTTP/1.1"], role="HTTP/1.0", protocol="HTTP/1.0")
    verdict = judged(good)
    assert verdict.result == "FAIL"
    assert verdict.sentence.startswith("HTTP/1.0: framing: Transfer-Encoding in the response to an HTTP/1.0 request")


def test_what_is_not_offered_is_not_wrong(good, record):
    for role in ("HTTP/1.0", "HTTP/1.0 with gzip"):
        refused = record([b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"])
        good[role] = dataclasses.replace(refused, role=role, protocol="HTTP/1.0")
    good["HTTP/1.1 reused"] = dataclasses.replace(
        good["HTTP/1.1 reused"], status=None, ended="not_offered", error="the connection is not kept open"
    )
    verdict = judged(good)
    assert verdict.result == "PASS"
    assert "; HTTP/1.0 is refused with 426 Upgrade Required; " in verdict.sentence
    assert "the connection is not kept open" in verdict.sentence
    assert verdict.numbers["HTTP/1.0 with gzip"] == verdict.numbers["HTTP/1.1 reused"] == "not offered"


def test_nothing_offered_is_inconclusive(record):
    seen = record([b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n"])
    assert judge_protocols([dataclasses.replace(seen, role="HTTP/1.1")]).result == "INCONCLUSIVE"


# Without production times the plain runs are the baseline of the others


def events(role, at_a_time, number=20, pause=0.3, **changes):
    groups = [range(first, min(first + at_a_time, number)) for first in range(0, number, at_a_time)]
    writes = [(0.01 + pause * group[-1], b"".join(b"data: %05d\n\n" % one for one in group)) for group in groups]
    return came(writes, role=role, protocol=role.split(" ")[0], **changes)


def variants(plain, compressed):
    roles = [role for role in ORDER if "HTTP/2" not in role]
    return [events(role, compressed if "gzip" in role else plain) for role in roles]


@pytest.mark.parametrize(
    ("plain", "compressed", "result", "words"),
    [
        (1, 1, "PASS", "whole and in time over HTTP/1.1,"),
        (1, 20, "FAIL", "HTTP/1.1 with gzip: timing: this path holds events back"),
        (1, 5, "FAIL", "HTTP/1.1 with gzip: timing: this path holds events back"),
        (5, 5, "INCONCLUSIVE", "HTTP/1.1: timing: about 5 whole events came at a time"),
    ],
)
def test_compressed_runs_are_compared_with_plain_ones(plain, compressed, result, words):
    verdict = judge_protocols(variants(plain, compressed))
    assert (verdict.result, words in verdict.sentence) == (result, True), verdict


def test_what_the_app_does_itself_is_no_fault_of_a_variant():
    numbers = judge_protocols(variants(5, 5)).numbers
    assert (numbers["HTTP/1.1"], numbers["HTTP/1.1 with gzip"]) == ("INCONCLUSIVE", "PASS")
