"""Verdict about idleness: how long may the stream be without a byte before something cuts it?"""

from itertools import pairwise

from streamproof.completeness import judge_completeness
from streamproof.judge import why_none
from streamproof.observation import Observation
from streamproof.verdict import Number, Result, Verdict, count, ms, secs, to_ms

# A cut that follows a byte sooner than this, in seconds, is no read timeout's: these are counted in seconds.
_SHORTEST_TIMEOUT = 0.5
# By how much, in seconds, the gaps before and after a byte may differ and be taken for the same.
_TIMER_NOISE = 0.1
_GATEWAY_TIMEOUT = 504


def judge_idle(observation: Observation) -> Verdict:
    """How long was the longest gap without a byte, and was the stream cut after one?

    Where the user expects it to survive nothing, the answer is what it survived.

    Args:
        observation: of a stream that pauses, with or without a heartbeat in the pauses.
    """
    read_timeout = observation.expected.read_timeout
    gaps = _gaps(observation)
    last = observation.ended_at - (observation.reads[-1].at if observation.reads else observation.request_sent_at)
    over = not observation.running
    survived = max(gaps if over else [*gaps, last], default=0.0)
    beats = observation.heartbeat_count
    numbers: dict[str, Number] = {
        "longest_gap_ms": to_ms(survived),
        "longest_pause_ms": to_ms(observation.longest_pause),
        "heartbeats": beats,
    }

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("idle", result, sentence, numbers)

    if observation.status == _GATEWAY_TIMEOUT:
        numbers["cut_after_ms"] = to_ms(survived)
        return verdict("FAIL", f"a gateway gave up after {secs(survived)} without a byte from the app: it answered 504")
    if not observation.answered and not (observation.ended == "truncated" and last >= _SHORTEST_TIMEOUT):
        result, sentence, status = why_none(observation)
        numbers |= status
        return verdict(result, sentence)
    if observation.read_count > len(observation.reads):
        return verdict("INCONCLUSIVE", f"only the first {len(observation.reads)} reads were kept, gaps may be missing")

    if observation.ended == "protocol_error" or _cut(observation):
        # What a read timeout cuts after is longer than anything that it let pass.
        if observation.ended == "protocol_error" or last < max(_SHORTEST_TIMEOUT, survived + _TIMER_NOISE):
            before = gaps[-1] if gaps else 0.0
            why = "before, so it does not look cut for being idle"
            if last < _SHORTEST_TIMEOUT <= before:
                # What it had held back is all that a hop which buffers has to give when its read timeout is over.
                why = "right before: a hop that buffers and gives up does this, and so does an app that fails"
            return verdict(
                "INCONCLUSIVE",
                f"the stream broke off {ms(last)} after a byte, and had survived {secs(survived)} without one {why}",
            )
        numbers["cut_after_ms"] = to_ms(last)
        must = "" if read_timeout is None else f"; it must survive {read_timeout:g} s"
        sent = f", {count(beats, 'heartbeat')} before" if beats else ""
        return verdict("FAIL", f"cut after {secs(last)} without a byte, as a read timeout does{sent}{must}")

    longest = f"the longest gap without a byte was {secs(survived)}"
    with_beats = f", with {count(beats, 'heartbeat')} in the pauses" if beats else ""
    if read_timeout is None:
        return verdict("PASS", f"nothing was cut: {longest}{with_beats}; --read-timeout says what it must survive")
    if survived >= read_timeout:
        return verdict("PASS", f"survived {secs(survived)} without a byte, of {read_timeout:g} s that it must")
    if beats and observation.longest_pause >= read_timeout:
        return verdict(
            "PASS",
            f"survived a pause of {secs(observation.longest_pause)} thanks to {count(beats, 'heartbeat')}: {longest}",
        )
    return verdict("INCONCLUSIVE", f"the stream never paused for {read_timeout:g} s: {longest}{with_beats}")


def _gaps(observation: Observation) -> list[float]:
    """Return how long the client waited for each read, less what it spent on other things."""
    if not observation.reads:
        return []
    first = observation.reads[0].at - observation.request_sent_at
    return [first, *(min(later.at - earlier.at, later.waited) for earlier, later in pairwise(observation.reads))]


def _cut(observation: Observation) -> bool:
    """Tell whether the stream was cut, even if a hop has made the cut look like an end."""
    if observation.ended == "truncated":
        return True
    numbers = judge_completeness(observation).numbers
    pairs = [(numbers.get(name), numbers.get(f"{name}_expected")) for name in ("bytes", "rows")]
    over = observation.ended in ("terminated", "closed")
    return over and any(isinstance(got, int) and isinstance(due, int) and got < due for got, due in pairs)
