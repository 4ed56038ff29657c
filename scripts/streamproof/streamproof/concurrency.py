"""Verdict about concurrency: are many streams in time at once, while a short request keeps being answered?"""

from collections.abc import Sequence

from streamproof.judge import judge
from streamproof.observation import Observation
from streamproof.timing import SURELY_LATE
from streamproof.verdict import Number, Result, Verdict, count, ms, to_ms

_TOO_MANY_REQUESTS = 429
# From the end of one round to the next, in seconds, at least.
MIN_ROUND_PAUSE = 0.5


def judge_concurrency(streams: Sequence[Observation], shorts: Sequence[Observation], alone: Observation) -> Verdict:
    """Judge each of the streams, whether they ran at the same time, and the short requests meanwhile.

    Args:
        streams: asked for at once.
        shorts: short requests, one after the other, while the streams ran.
        alone: the same short request before them.
    """
    refused = [one for one in streams if one.status == _TOO_MANY_REQUESTS or (one.status or 0) >= 500]
    unconnected = [one for one in streams if one.ended == "no_connection"]
    answered = [one for one in streams if one.answered]
    verdicts = [judge(one) for one in streams if one not in refused and one not in unconnected]
    lags = [lag for answers in verdicts for one in answers if isinstance(lag := one.numbers.get("lag_max_ms"), float)]
    rounds = _rounds(streams)
    at_once, of = min(((_at_once(one), len(one)) for one in rounds), key=lambda pair: pair[0] - pair[1], default=(0, 0))
    waited = max((one.header_at - one.request_sent_at for one in answered if one.header_at is not None), default=0.0)
    numbers: dict[str, Number] = {
        "streams": len(streams),
        "at_once": at_once,
        "refused": len(refused),
        "not_connected": len(unconnected),
        "response_after_max_ms": to_ms(waited),
        "lag_max_ms": max(lags, default=None),
    }
    short, slow_short = _judge_shorts(answered, shorts, alone, numbers)
    all_streams = f"{count(len(streams), 'stream')} at once"
    if len(rounds) > 1:
        all_streams = f"{count(len(streams), 'stream')} in {len(rounds)} rounds"
    worst = f"; worst lag {ms(max(lags) / 1000)}" if lags else ""

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("concurrency", result, f"{sentence}{worst}; {short}", numbers)

    def first(result: Result) -> Verdict | None:
        bad = [[one for one in answers if one.result == result and one.counts] for answers in verdicts]
        bad = [answers for answers in bad if answers]
        if not bad:
            return None
        what = f"{bad[0][0].question}: {bad[0][0].sentence}"
        how = "failed" if result == "FAIL" else "could not be judged"
        return verdict(result, f"{len(bad)} of {all_streams} {how}, the first for {what}")

    if refused:
        which = f"{refused[0].status} {refused[0].reason}".rstrip()
        return verdict("FAIL", f"{len(refused)} of {all_streams} were refused ({which}), {len(answered)} were served")
    if unconnected:
        return verdict("FAIL", f"{len(unconnected)} of {all_streams} got no connection: {unconnected[0].error}")
    if failed := first("FAIL"):
        return failed
    if 0 < at_once < of and waited >= SURELY_LATE:
        return verdict(
            "FAIL", f"only {at_once} of {all_streams} ran, others waited up to {ms(waited)} for their response"
        )
    if slow_short:
        return verdict("FAIL", f"{all_streams} kept a short request waiting")
    if unclear := first("INCONCLUSIVE"):
        return unclear
    if at_once < of:
        return verdict(
            "INCONCLUSIVE", f"of {all_streams} only {at_once} ran at the same time: ask for one that lasts some seconds"
        )
    return verdict("INCONCLUSIVE" if "short_max_ms" not in numbers else "PASS", f"{all_streams}, all in time and whole")


def _rounds(streams: Sequence[Observation]) -> list[list[Observation]]:
    """Group streams that were asked for at once: a round begins a while after the one before is over."""
    rounds: list[list[Observation]] = []
    for one in sorted(streams, key=lambda one: one.started_at):
        if rounds and one.started_at < max(other.ended_at for other in rounds[-1]) + MIN_ROUND_PAUSE:
            rounds[-1].append(one)
        else:
            rounds.append([one])
    return rounds


def _at_once(streams: Sequence[Observation]) -> int:
    """Return how many of the streams ran at the same time, at most."""
    steps = [step for one in streams for step in ((one.header_at or one.ended_at, 1), (one.ended_at, -1))]
    running = most = 0
    for _, step in sorted(steps, key=lambda step: (step[0], -step[1])):
        running += step
        most = max(most, running)
    return most


def _judge_shorts(
    streams: Sequence[Observation], shorts: Sequence[Observation], alone: Observation, numbers: dict[str, Number]
) -> tuple[str, bool]:
    """Say how the short requests fared, and whether that is a failure."""
    began = min((one.request_sent_at for one in streams), default=0.0)
    ended = max((one.ended_at for one in streams), default=0.0)
    meanwhile = [one for one in shorts if began <= one.started_at <= ended]
    unanswered = [one for one in meanwhile if one.status is None or one.status >= 500]
    before = alone.ended_at - alone.started_at
    numbers |= {"short_requests": len(meanwhile), "short_unanswered": len(unanswered), "short_alone_ms": to_ms(before)}
    if alone.status is None or alone.status >= 500:
        return f"{alone.url} was not answered even before the streams began: {_no_answer(alone)}", False
    if not meanwhile:
        return "no short request was made meanwhile: the streams ended too soon", False
    worst = max(one.ended_at - one.started_at for one in meanwhile)
    numbers["short_max_ms"] = to_ms(worst)
    if unanswered:
        what = f"{len(unanswered)} of {count(len(meanwhile), 'short request')} to {alone.url} failed"
        return f"{what} while streams ran: {_no_answer(unanswered[0])}", True
    took = f"{count(len(meanwhile), 'short request')} meanwhile took {ms(worst)} at most, alone {ms(before)}"
    return took, worst >= SURELY_LATE + 2 * before


def _no_answer(one: Observation) -> str:
    if one.status is not None:
        return f"{one.status} {one.reason}".rstrip()
    return f"nothing complete came within {one.timeout:g} s" if one.ended == "timeout" else str(one.error)
