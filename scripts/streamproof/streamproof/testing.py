"""For tests: one call that fails, with the report as its message, where a stream does not survive."""

from collections.abc import Sequence
from typing import Any

from streamproof.ask import Asking, ask
from streamproof.connect import NothingObserved
from streamproof.expected import Expected
from streamproof.judge import overall
from streamproof.report import as_text
from streamproof.request import Request
from streamproof.run import DEFAULT_QUESTIONS, Question, Run


def assert_streams(
    url: str,
    *,
    questions: Sequence[Question] = DEFAULT_QUESTIONS,
    expected: Expected | None = None,
    baseline: str | None = None,
    **request: Any,
) -> Run:
    """Ask for a URL, and fail unless everything that was asked passed.

    Args:
        url: http or https.
        questions: which to answer.
        expected: of the stream.
        baseline: URL at which the same stream is asked for, to compare with.
        **request: further attributes of `request.Request`: method, headers, body, timeout in seconds …

    Returns:
        What was observed, for assertions of one's own.

    Raises:
        AssertionError: something failed or could not be told, or no connection came about; the message is the report.
        ValueError: the URL, a header, or what else was given cannot be used.
    """
    __tracebackhide__ = True  # pytest shows the line that called
    asked = Request(url, **request)
    other = None if baseline is None else Request(baseline, **request)
    try:
        run = ask(Asking(asked, questions, expected or Expected(), baseline=other))
    except NothingObserved as error:
        raise AssertionError(str(error)) from None
    verdicts = run.verdicts()
    if overall(verdicts) != "PASS":
        streams = [(one.role, one) for one in run.observations if one.role in ("stream", "stalled")]
        raise AssertionError("\n" + as_text(streams or [(run.observations[0].role, run.observations[0])], verdicts))
    return run
