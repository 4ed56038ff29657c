"""Verdicts about an observation. Pure: the same observation always gets the same verdicts."""

from collections.abc import Callable, Iterable, Sequence

from streamproof.completeness import judge_completeness
from streamproof.framing import judge_framing
from streamproof.observation import Observation
from streamproof.timing import judge_timing
from streamproof.verdict import Number, Result, Verdict


def judge(observation: Observation, questions: Sequence[str] = ("framing", "completeness", "timing")) -> list[Verdict]:
    """Answer questions about one response.

    A response that is not a 200 is not the stream that was asked for, so nothing is judged then; what is not HTTP at
    all fails as framing.
    """
    return [_judge_one(question, _RULES[question], observation) for question in questions]


def overall(verdicts: Iterable[Verdict]) -> Result:
    """Sum verdicts up: FAIL if one fails, else INCONCLUSIVE if one is that counts, else PASS if any counts."""
    results = {verdict.result for verdict in verdicts if verdict.counts}
    if "FAIL" in results:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in results or not results else "PASS"


def _judge_one(question: str, rule: Callable[[Observation], Verdict], observation: Observation) -> Verdict:
    if observation.status == 200:
        return rule(observation)
    if observation.status is None and observation.ended == "protocol_error" and question == "framing":
        wanted = "HTTP/2" if observation.protocol == "HTTP/2" else "HTTP/1.1"
        return Verdict(question, "FAIL", f"what came back is not an {wanted} response: {observation.error}")
    return Verdict(question, "INCONCLUSIVE", *why_none(observation))


def why_none(observation: Observation) -> tuple[str, dict[str, Number]]:
    """Say why there is no stream to judge, with the numbers, where the response is not a 200."""
    if observation.status is not None:
        sentence = f"the response is {observation.status} {observation.reason}".rstrip()
        location = observation.header("location")
        if 300 <= observation.status < 400 and location is not None:
            sentence += f" to {location}, which {observation.unfollowed or 'is not followed: --location follows it'}"
        else:
            sentence += ", not the stream: only a 200 is judged"
        return sentence, {"status": observation.status}
    reason = "its header was not valid" if observation.ended == "protocol_error" else observation.error
    if observation.ended == "timeout":
        reason = f"nothing complete came within {observation.timeout:g} s"
    return f"there is no response to judge: {reason}", {}


_RULES: dict[str, Callable[[Observation], Verdict]] = {
    "framing": judge_framing,
    "completeness": judge_completeness,
    "timing": judge_timing,
}
