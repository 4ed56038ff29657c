"""Verdict about backpressure: when the client stops reading, does the app stop too, or does a hop take its stream in?

The client stalls on purpose, and the times at which rows were produced, which are read after the stall, tell what the
app did meanwhile. Between the app and the client there are always socket buffers, some MiB for each hop: an app goes
on until these are full. So only what is more than they hold shows that a hop absorbs, and only an app that has stopped
shows that none does.
"""

from itertools import accumulate, pairwise

from streamproof.expected import Outcome
from streamproof.judge import why_none
from streamproof.observation import Observation
from streamproof.timing import CLOCK_NOISE, clock_bounds, clock_offset
from streamproof.verdict import Number, Result, Verdict, secs, to_ms

# More than socket buffers hold between an app and a client with two hops in between. By default Linux lets the sender
# of a connection have 4 MiB and its receiver 6 (net.ipv4.tcp_wmem and tcp_rmem); the client's own are kept small.
SOCKET_BUFFERS = 24 << 20
# A stream that is sure to show one or the other, in MiB.
_ENOUGH_MIB = 48
# The part of the stall for which the app must have been still, and the shortest time, in seconds, that counts.
_STILL_PART = 0.25
_STILL_TIME = 0.25


def judge_backpressure(observation: Observation) -> Verdict:
    """Did the app stop while the client stalled, or did a hop absorb the stream, and how many bytes?

    Where the user expects neither, neither is wrong.

    Args:
        observation: of a client that stalled.
    """
    expect = observation.expected.backpressure
    numbers: dict[str, Number] = {}

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("backpressure", result, sentence, numbers)

    def unknown(reason: str) -> Verdict:
        return verdict("INCONCLUSIVE", f"{reason}; ask for a stream of at least {_ENOUGH_MIB} MiB without pauses")

    if not observation.answered:
        result, sentence, status = why_none(observation)
        numbers |= status
        return verdict(result, sentence)
    stall = observation.stall
    if stall is None:
        return unknown("the stream ended before the client could stall")
    length = stall.ended - stall.began
    numbers |= {"stall_ms": to_ms(length), "bytes": observation.byte_count}
    if observation.ended in ("truncated", "protocol_error"):
        return verdict("FAIL", f"the stream did not survive a stall of {secs(length)}: {observation.error}")
    rows = [(row.produced, row.arrived, row.size) for row in observation.rows if row.produced is not None]
    if len(rows) < 2:
        return verdict(
            "INCONCLUSIVE",
            "rows carry no production time, so what the app did during the stall cannot be told: it would have to send "
            "rows as in X-Stream-Promise: times=zeroed",
        )
    timed = [(made, came) for made, came, _ in rows]
    lower, upper = clock_bounds(observation, timed)
    if lower > upper + CLOCK_NOISE or any(later < earlier for (earlier, _), (later, _) in pairwise(timed)):
        return verdict("INCONCLUSIVE", "the production times cannot be right, so nothing can be told from them")
    offset = clock_offset(lower, upper)
    produced = [made - offset for made, _, _ in rows]
    sent = list(accumulate(size for _, _, size in rows))
    by_end = sum(made <= stall.ended for made in produced)
    during = sum(size for made, (_, _, size) in zip(produced, rows, strict=True) if stall.began < made <= stall.ended)
    held = max(0, (sent[by_end - 1] if by_end else 0) - stall.byte_count)
    numbers |= {"bytes_produced_during_stall": during, "bytes_held": held}
    if observation.byte_count:
        numbers["produced_during_stall_percent"] = round(100 * during / observation.byte_count, 1)

    if by_end < len(rows):
        last = max(produced[by_end - 1], stall.began) if by_end else stall.began
        still = stall.ended - last
        numbers["app_still_ms"] = to_ms(still)
        usual = max((later - earlier for earlier, later in pairwise(produced[:by_end])), default=0.0)
        if still >= max(length * _STILL_PART, _STILL_TIME) and still > 2 * usual:
            return _outcome(
                "backpressure",
                expect,
                f"backpressure reaches the app: it stopped {secs(last - stall.began)} into a stall of {secs(length)}, "
                f"{mib(held)} ahead of the client, which buffers on the way had taken in, and went on with the client",
                numbers,
            )
        if held < SOCKET_BUFFERS:
            return unknown(
                f"the app produced {mib(during)} during a stall of {secs(length)}, which may all be in socket buffers "
                f"({mib(SOCKET_BUFFERS)} at most)"
            )
        end = "and did not stop"
    elif observation.ended not in ("terminated", "closed") or observation.row_count > len(observation.rows):
        return unknown("what the app produced at the end of the stall was not read")
    elif held < SOCKET_BUFFERS:
        return unknown(
            f"all of the stream was produced before the stall of {secs(length)} was over, and the {mib(held)} that "
            f"the client had not read may all be in socket buffers ({mib(SOCKET_BUFFERS)} at most)"
        )
    else:
        end = "and came to its end"
    return _outcome(
        "absorb",
        expect,
        f"a hop absorbs the stream: the app went on through a stall of {secs(length)} {end}, {mib(held)} ahead of the "
        f"client, more than the {mib(SOCKET_BUFFERS)} that socket buffers may hold",
        numbers,
    )


def _outcome(outcome: Outcome, expect: Outcome | None, sentence: str, numbers: dict[str, Number]) -> Verdict:
    numbers |= {"outcome": outcome, "expected": expect}
    if expect not in (None, outcome):
        return Verdict("backpressure", "FAIL", f"{sentence}; expected was {expect}", numbers)
    return Verdict("backpressure", "PASS", sentence, numbers)


def mib(size: int) -> str:
    """Format bytes for a sentence: MiB with one decimal, or KiB."""
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size / 1024:.0f} KiB"
