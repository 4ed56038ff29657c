"""Verdict about protocols: does the stream survive in each version of HTTP, compressed, and on a used connection?"""

from collections.abc import Sequence

from streamproof.baseline import Pair, judge_baseline
from streamproof.judge import judge
from streamproof.observation import Observation, Role
from streamproof.verdict import Number, Result, Verdict

ORDER: tuple[Role, ...] = (
    "HTTP/1.1",
    "HTTP/1.1 reused",
    "HTTP/1.1 with gzip",
    "HTTP/1.1 with br",
    "HTTP/1.1 with zstd",
    "as a browser",
    "HTTP/1.0",
    "HTTP/1.0 with gzip",
    "HTTP/2",
    "HTTP/2 with gzip",
)
# The baseline of the others, where rows carry no production times.
_IDENTITY: tuple[Role, ...] = ("HTTP/1.1", "HTTP/1.1 reused")
# What a server answers that does not speak a version (RFC 9110 sections 15.5.22 and 15.6.6).
_REFUSALS = (426, 505)


def judge_protocols(observations: Sequence[Observation]) -> Verdict:
    """Judge framing, completeness and timing of each variant, and name the first that is worst.

    What the server does not offer is not wrong, and what was not asked for is said.
    """
    by_role = {one.role: one for one in observations}
    identity = [by_role[role] for role in _IDENTITY if role in by_role and by_role[role].answered]
    numbers: dict[str, Number] = {}
    found: dict[Role, tuple[Result, str]] = {}
    notes = []
    for role in ORDER:
        if role not in by_role:
            numbers[role] = "not asked"
            continue
        observation = by_role[role]
        if (refusal := _refusal(observation)) is not None:
            numbers[role] = "not offered"
            if refusal not in notes:  # the same with gzip
                notes.append(refusal)
            continue
        found[role] = _judge_variant(observation, [] if role in _IDENTITY else identity)
        numbers[role] = found[role][0]
    if numbers["HTTP/2"] == "not asked":
        notes.append("HTTP/2 was not asked for: it requires an https URL")
    offered = [one for role, one in by_role.items() if (" with " in role or role == "as a browser") and one.answered]
    if offered and not any(one.encoded_bytes is not None for one in offered):
        notes.append("nothing was compressed")

    passed = [role for role, (result, _) in found.items() if result == "PASS"]
    good = f"whole and in time over {', '.join(passed) or 'none'}"
    for worst in ("FAIL", "INCONCLUSIVE"):
        for role, (result, sentence) in found.items():
            if result == worst:
                return Verdict("protocols", worst, "; ".join([f"{role}: {sentence}", good, *notes]), numbers)
    if not found:
        return Verdict("protocols", "INCONCLUSIVE", "; ".join(["there is nothing to compare", *notes]), numbers)
    return Verdict("protocols", "PASS", "; ".join([good, *notes]), numbers)


def _judge_variant(observation: Observation, baselines: Sequence[Observation]) -> tuple[Result, str]:
    verdicts = {verdict.question: verdict for verdict in judge(observation)}
    if baselines and verdicts["timing"].numbers.get("evidence") == "arrivals":
        compared = judge_baseline([Pair(one, observation) for one in baselines])
        if compared.result != "INCONCLUSIVE":
            verdicts["timing"] = compared
    # HTTP/1.0 has no way to mark the end of what has no length, so if all has arrived, that is no fault of the stream.
    until_close = observation.protocol == "HTTP/1.0" and observation.ended == "closed"
    if until_close and verdicts["framing"].result == "INCONCLUSIVE":
        del verdicts["framing"]
    for result in ("FAIL", "INCONCLUSIVE"):
        for question, verdict in verdicts.items():
            if verdict.result == result and verdict.counts:
                coding = observation.header("content-encoding")
                under = f" (Content-Encoding: {coding})" if coding else ""
                return verdict.result, f"{question}{under}: {verdict.sentence}"
    return "PASS", ""


def _refusal(observation: Observation) -> str | None:
    if observation.ended == "not_offered":
        return observation.error
    if observation.status in _REFUSALS:
        return f"{observation.protocol} is refused with {observation.status} {observation.reason}".rstrip()
    return None
