"""Streams without a promise: what is asked of which server, and what the truth was, by times that no rule reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import NamedTuple

from streamproof.ask import Asking, ask
from streamproof.baseline import undecided
from streamproof.observation import Observation
from streamproof.run import Run
from streamproof.verdict import Result, Verdict

# Where an event carries the time of its production.
TIMES = r'"t": (?P<time>[0-9.]+)'
PACES = ("regular", "llm", "poisson", "fast")
_GZIP = ("Accept-Encoding", "gzip")
_STREAMS_ON = ("app", "nginx off 1.1", "nginx off 1.0", "nginx on 1.1", "envoy", "caddy")
_HOLDS = "nginx on 1.0"


@dataclass(frozen=True)
class Timing:
    """One stream, asked of a server and, as the baseline, of the app.

    Attributes:
        name: unique; in its first part, before a comma, the row of the table in which it is counted.
        server: which one is asked.
        query: of /events.
        alone, baseline: the verdicts that are expected.
        headers: to be sent.
        timeout: after which the stream is stopped, in seconds.
    """

    name: str
    server: str
    query: str
    alone: Result
    baseline: Result
    headers: Sequence[tuple[str, str]] = ()
    timeout: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of one run of a case.

    Attributes:
        alone: the verdicts by arrivals alone, one for each time that it was asked for.
        baseline: the one verdict against the baseline.
        late: the share of events that were late, for each time that the server was asked, and the app.
        late_at_app: the same of the baseline.
    """

    alone: list[Verdict]
    baseline: Verdict
    late: list[float] = field(default_factory=list)
    late_at_app: list[float] = field(default_factory=list)


class Wrong(NamedTuple):
    """A verdict that the truth contradicts."""

    case: str
    verdict: Verdict
    late: Sequence[float]


Outcomes = Sequence[tuple[Timing, Outcome]]


def ask_both(asking: Asking) -> Run:
    """Ask as the verifier does, which would find its evidence in the times: a third time where two decide nothing."""
    run = ask(asking)
    if undecided(outcome(run).baseline):
        run.observations.extend(ask(replace(asking, repeat=1)).observations)
    return run


def outcome(run: Run) -> Outcome:
    """Judge a run without its times, and take from these what the truth is."""
    streams, baselines = run.observed("stream"), run.observed("baseline")
    blind = [_blind(one) for one in run.observations]
    of_streams = [one for one in blind if one.role == "stream"]
    alone = [Run(["timing"], [one]).verdicts()[0] for one in of_streams]
    (against,) = Run(["timing"], blind).verdicts()
    return Outcome(alone, against, [late(one) for one in streams], [late(one) for one in baselines])


def _blind(observation: Observation) -> Observation:
    return replace(observation, times=None, rows=[row._replace(produced=None) for row in observation.rows])


def late(observation: Observation) -> float:
    """Return the share of events that came noticeably late: when the next one was produced, or a second late."""
    timed = [(row.produced, row.arrived) for row in observation.rows if row.produced is not None]
    if len(timed) < 2:
        return 0.0
    # What is produced together is due together: when the next of another time is.
    made = [produced for produced, _ in timed]
    following = [next((later for later in made if later >= one + 0.02), None) for one in made]
    pauses = [later - one for one, later in zip(made, following, strict=True) if later is not None]
    usual = mean(pauses) if pauses else 0.0
    pauses += [usual] * (len(made) - len(pauses))
    lags = [arrived - produced for produced, arrived in timed]
    return mean(lag >= 0.1 and (lag >= pause or lag >= 1) for lag, pause in zip(lags, pauses, strict=True))


def wrong(case: Timing, found: Outcome) -> Iterator[Wrong]:
    """Yield what is wrong: PASS where more than a fifth was late, FAIL where nothing was."""
    # What these do alone cannot be seen, so it counts as right where the sentence says that it would not show.
    hidden = case.server == "hop" and "would not show" in found.baseline.sentence
    for verdict, share in zip(found.alone, found.late, strict=True):
        unseen = case.server == "hop" and "would not show" in verdict.sentence
        if (verdict.result == "PASS" and share > 0.2 and not unseen) or (verdict.result == "FAIL" and share == 0):
            yield Wrong(case.name, verdict, [share])
    here, there = mean(found.late), mean(found.late_at_app)
    result = found.baseline.result
    if (result == "PASS" and here > 0.2 and there <= 0.2 and not hidden) or (
        result == "FAIL" and (here == 0 or (there > 0.2 and case.baseline != "FAIL"))
    ):
        yield Wrong(case.name, found.baseline, [here, there])


def confusion(outcomes: Outcomes) -> Iterator[str]:
    """Yield what was expected against what came, alone and with a baseline, and each verdict that was not expected."""
    kinds = ("PASS", "FAIL", "INCONCLUSIVE")
    answers = {
        "alone": [(case.alone, one, case, found.late) for case, found in outcomes for one in found.alone],
        "with a baseline": [(case.baseline, found.baseline, case, found.late) for case, found in outcomes],
    }
    for title, given in answers.items():
        pairs = Counter((expected, verdict.result) for expected, verdict, *_ in given)
        yield f"{title:14}" + "".join(f"{kind:>14}" for kind in kinds)
        for expected in kinds:
            yield f"{expected:14}" + "".join(f"{pairs[expected, kind]:14}" for kind in kinds)
    for title, given in answers.items():
        for expected, verdict, case, shares in given:
            if verdict.result != expected:
                shown = ", ".join(f"{share:.0%}" for share in shares)
                yield f"{case.name} {title}: {verdict.result}, not {expected} ({shown} late): {verdict.sentence}"
    for case, found in outcomes:
        for one in wrong(case, found):
            yield f"WRONG {one.case}: {one.verdict.result}, {one.late}: {one.verdict.sentence}"


def _each(
    row: str, servers: Sequence[str], paces: Sequence[str], query: str, *right: Result, **others: object
) -> Iterator[Timing]:
    alone, baseline = right
    for server in servers:
        for pace in paces:
            name = f"{row}, {pace}, {server}"
            yield Timing(name, server, f"pace={pace}{query}", alone, baseline, **others)  # type: ignore[arg-type]


def _timings() -> Iterator[Timing]:
    slow = ("regular", "llm", "poisson")
    for row, query, paces, forms in (
        ("good", "", PACES, _STREAMS_ON),
        ("good as NDJSON", "&form=ndjson", ("regular", "llm"), ("app", "caddy")),
        ("think 2 s", "&think=2", PACES, ("app", "envoy")),
    ):
        yield from _each(row, forms, paces, query, "PASS", "PASS")
        yield from _each(f"{row}, held", [_HOLDS], paces, query, "FAIL", "FAIL")
    # What is held, and cut by buffers.
    yield from _each("4 KiB buffer", [_HOLDS], slow, "&size=1000&events=24", "FAIL", "FAIL")
    yield from _each("16 KiB buffer", ["nginx 16 KiB"], slow, "&size=1000&events=64", "FAIL", "FAIL")
    yield from _each("10 KB events", ["nginx on 1.1"], ("regular", "poisson"), "&size=10000&events=10", "FAIL", "FAIL")
    yield from _each("limit_rate 1k", ["nginx 1k"], slow, "&size=1500&events=6", "FAIL", "FAIL")
    # Compressed.
    yield from _each("gzip, held", ["nginx gzip on"], PACES, "", "FAIL", "FAIL", headers=[_GZIP])
    yield from _each("gzip, flushed by nginx", ["nginx gzip off"], PACES, "", "PASS", "PASS", headers=[_GZIP])
    gzip = ("app", "nginx off 1.1", "envoy", "caddy")
    yield from _each(
        "gzip, flushed by the app", gzip, ("regular", "fast"), "&gzip=flush", "PASS", "PASS", headers=[_GZIP]
    )
    never = ("app", "nginx off 1.1")
    yield from _each(
        "gzip, never flushed", never, ("regular", "poisson"), "&gzip=never", "FAIL", "PASS", headers=[_GZIP]
    )
    # What the app does itself.
    for number in (2, 5):
        row, query = f"{number} at a time", f"&group={number}&events=20"
        yield from _each(row, ("app", "nginx off 1.1", "envoy"), ("regular", "poisson"), query, "INCONCLUSIVE", "PASS")
        yield from _each(f"{row}, held", [_HOLDS], ("regular", "poisson"), query, "FAIL", "FAIL")
    collecting = ("app", "nginx off 1.1", _HOLDS)
    yield from _each("collected for 1.75 s", collecting, ["regular"], "&events=8&collect=1", "FAIL", "PASS")
    # Hops that no real one here can be told to be.
    yield from _each("0.6 s later", ["hop"], slow, "&hop=delay", "PASS", "PASS")
    yield from _each("once a second", ["hop"], PACES, "&hop=timer", "INCONCLUSIVE", "FAIL")
    # The next event comes so soon there that nothing is noticeably late.
    for paces, result in ((("regular", "poisson"), "FAIL"), (("llm", "fast"), "PASS")):
        yield from _each("one behind", ["hop"], paces, "&hop=behind", "PASS", result)  # type: ignore[arg-type]
    # Without an end.
    endless = ("app", "nginx off 1.1", "envoy")
    for pace in ("regular", "poisson"):
        yield from _each("endless", endless, [pace], "&events=endless", "PASS", "PASS", timeout=3.2)
    yield from _each("shared", endless, ["shared"], "", "PASS", "PASS", timeout=4.2)
    yield from _each("shared, 0.6 s later", ["hop"], ["shared"], "&hop=delay", "PASS", "FAIL", timeout=4.2)
    yield from _each("shared, held", [_HOLDS], ["shared"], "&size=600", "FAIL", "FAIL", timeout=8.2)
    # Too little.
    for row, query in (("one event", "&events=1"), ("at once", "&events=6")):
        yield from _each(row, ("app", _HOLDS), ["fast"], query, "INCONCLUSIVE", "INCONCLUSIVE")


TIMINGS = list(_timings())
