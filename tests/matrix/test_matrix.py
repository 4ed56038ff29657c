"""streamproof is right: of each real server it says what is known to be so."""

from __future__ import annotations

import pytest

from tests.matrix import table
from tests.matrix.cases import CASES, Case
from tests.matrix.table import Results

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


def test_verdicts_are_rarely_inconclusive_without_need(results: Results) -> None:
    answers = [
        (case.name, result, verdicts[question])
        for case in CASES
        for verdicts in results[case.name]
        for question, (result, _) in case.expected.items()
    ]
    open_ones = [answer for answer in answers if answer[2].result == "INCONCLUSIVE" != answer[1]]
    assert len(open_ones) < 0.05 * len(answers), open_ones
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
