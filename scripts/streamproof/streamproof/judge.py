"""Verdicts about an observation. Pure: the same observation always gets the same verdicts."""

from collections.abc import Callable, Iterable, Sequence

from streamproof.completeness import judge_completeness
from streamproof.framing import judge_framing
from streamproof.observation import Observation
from streamproof.timing import judge_timing
from streamproof.verdict import Number, Result, Verdict, secs

_VERSION_REFUSED = 505
# By these a hop says that what is behind it gave no valid answer, or none soon (RFC 9110 sections 15.6.3 and 15.6.5).
_OF_A_HOP = (502, 504)


def judge(observation: Observation, questions: Sequence[str] = ("framing", "completeness", "timing")) -> list[Verdict]:
    """Answer questions about one response.

    A response that is not a 2xx with a body is not the stream that was asked for, so nothing is judged then; an error
    of the server, or no header within the limit, fails, and what is not HTTP at all fails as framing.
    """
    return [_judge_one(question, _RULES[question], observation) for question in questions]


def overall(verdicts: Iterable[Verdict]) -> Result:
    """Sum verdicts up: FAIL if one fails, else INCONCLUSIVE if one is that counts, else PASS if any counts."""
    results = {verdict.result for verdict in verdicts if verdict.counts}
    if "FAIL" in results:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in results or not results else "PASS"


def _judge_one(question: str, rule: Callable[[Observation], Verdict], observation: Observation) -> Verdict:
    if observation.answered:
        return rule(observation)
    if observation.status is None and observation.ended == "protocol_error" and question == "framing":
        wanted = "HTTP/2" if observation.protocol == "HTTP/2" else "HTTP/1.1"
        return Verdict(question, "FAIL", f"what came back is not an {wanted} response: {observation.error}")
    return Verdict(question, *why_none(observation))


def why_none(observation: Observation) -> tuple[Result, str, dict[str, Number]]:
    """Say why there is no stream to judge, with the numbers, and whether that is a failure."""
    if observation.status is not None:
        sentence = f"the response is {observation.status} {observation.reason}".rstrip()
        location = observation.header("location")
        if 300 <= observation.status < 400 and location is not None:
            sentence += f" to {location}, which {observation.unfollowed or 'is not followed: --location follows it'}"
        elif observation.status in _OF_A_HOP:
            sentence += ", not the stream: a hop got no good answer from what is behind it, so ask the pod itself"
        else:
            sentence += ", not the stream: only a 2xx with a body is judged"
        # A version of HTTP that is refused is no error (RFC 9110 section 15.6.6).
        failed = observation.status >= 500 and observation.status != _VERSION_REFUSED
        return "FAIL" if failed else "INCONCLUSIVE", sentence, {"status": observation.status}
    reason = "its header was not valid" if observation.ended == "protocol_error" else observation.error
    if observation.ended in ("timeout", "stopped"):
        return "FAIL", f"no response header came within {secs(observation.duration)}", {}
    return "INCONCLUSIVE", f"there is no response to judge: {reason}", {}


_RULES: dict[str, Callable[[Observation], Verdict]] = {
    "framing": judge_framing,
    "completeness": judge_completeness,
    "timing": judge_timing,
}
