"""streamproof is right: of each real server it says what is known to be so."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.matrix import table
from tests.matrix.cases import CASES, Case
from tests.matrix.table import Results
from tests.matrix.timings import TIMINGS, Outcomes, wrong

# The first test waits for all cases, of all runs.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdicts_are_right(results: Results, case: Case) -> None:
    for verdicts in results[case.name]:
        for question, (result, words) in case.expected.items():
            verdict = verdicts[question]
            if verdict.result == "INCONCLUSIVE" != result:
                continue  # not wrong, and counted below
            assert verdict.result == result, verdict
            assert words in verdict.sentence, verdict


def test_verdicts_are_rarely_inconclusive_without_need(results: Results, runs: int) -> None:
    """Neither of all, nor of one question, nor of one case that was asked several times."""
    answers = [
        (case.name, verdicts[question])
        for case in CASES
        for verdicts in results[case.name]
        for question, (result, _) in case.expected.items()
        if result != "INCONCLUSIVE"
    ]
    open_ones = [answer for answer in answers if answer[1].result == "INCONCLUSIVE"]
    assert len(open_ones) < 0.05 * len(answers), open_ones
    asked = Counter(verdict.question for _, verdict in answers)
    open_of = Counter(verdict.question for _, verdict in open_ones)
    assert [one for one in asked if open_of[one] > max(1, asked[one] / 10)] == [], open_ones
    never_told = Counter((name, verdict.question) for name, verdict in open_ones)
    assert [one for one, number in never_told.items() if number == runs > 1] == []
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_truth_table_is_as_published(results: Results, runs: int) -> None:
    published = table.README.read_text(encoding="utf-8")
    measured = table.rendered(published, results)
    if runs > 1:
        table.README.write_text(measured, encoding="utf-8")
        assert measured == published, "streamproof's README now has the table as it was measured"
    for was, now in zip(published.splitlines(), measured.splitlines(), strict=True):
        for cell, cell_now in zip(was.split("|"), now.split("|"), strict=True):
            assert cell_now.strip() in (cell.strip(), table.UNTOLD), f"mend it, or publish it by make test-full: {now}"


def test_timing_without_a_promise_is_never_wrong(outcomes: Outcomes) -> None:
    assert [found for case, outcome in outcomes for found in wrong(case, outcome)] == []


def test_timing_without_a_promise_is_mostly_decided(outcomes: Outcomes, runs: int) -> None:
    alone = [verdict.result for _, outcome in outcomes for verdict in outcome.alone]
    assert alone.count("INCONCLUSIVE") <= len(alone) / 4
    compared = [outcome.baseline.result for case, outcome in outcomes if case.baseline != "INCONCLUSIVE"]
    assert compared.count("INCONCLUSIVE") <= 0.03 * len(compared)
    told = {case.name for case, outcome in outcomes if outcome.baseline.result != "INCONCLUSIVE"}
    assert [
        case.name for case in TIMINGS if runs > 1 and case.baseline != "INCONCLUSIVE" and case.name not in told
    ] == []
    assert len(compared) + len(alone) >= 150
    assert len({case.name for case in TIMINGS}) == len(TIMINGS)


def test_streams_are_late_as_they_are_meant_to_be(outcomes: Outcomes) -> None:
    """Or nothing that is said of them would be worth anything."""
    for case, outcome in outcomes:
        if case.baseline == "FAIL" and "fast" not in case.name:
            assert max(outcome.late) > 0.2, case.name
