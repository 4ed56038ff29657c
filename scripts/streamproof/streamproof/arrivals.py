"""Verdict about timing by arrivals alone, where nothing says when an event was produced. Pure.

What a hop does to a stream shows in its shape: in what came together after silence, and where that was cut. An app can
write in the same shape, so most of it proves nothing, and then the verdict is INCONCLUSIVE. A *delivery* is what came
with no more than a moment between reads, a *pause* is silence that people notice, a *batch* is a delivery after a pause
that ends several events.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal, NamedTuple

from streamproof.events import event_format
from streamproof.observation import Event, Observation, Read
from streamproof.verdict import Number, Result, Verdict, count, ms, secs

# Reads closer together than this, in seconds, are one delivery; or than so many times the TCP connect took.
MIN_DELIVERY_GAP, DELIVERY_CONNECTS = 0.005, 2
# Silence that people notice, in seconds; or so many times the TCP connect took, lest TCP's slow start look like a hop.
MIN_PAUSE, PAUSE_CONNECTS = 0.100, 4
# How many events make a batch. Language models send role and first token together, and finish and [DONE].
BATCH, BATCH_AT_ENDS = 2, 4
MAX_BATCHED = 0.20
# What a hop held back comes at the path's speed: ten segments in a round trip (RFC 6928 section 2). Slow lines may take
# a pause for these bytes, and reads are late by so many seconds.
WINDOW, JITTER = 14_000, 0.020
# A wait for the first byte, in seconds, that a path does not explain.
LONG_WAIT = 1.0
# What came whole within this many seconds of the request is too short to tell anything from it.
TOO_SHORT = 0.5

Kind = Literal["one by one", "flowing", "at once", "unflushed", "cut", "batches", "cut text", "short", "unknown"]


class Delivery(NamedTuple):
    """What came together.

    Attributes:
        at: when its first and its last read returned, in Unix seconds.
        silence: seconds before it; of the first one, since the request.
        size: bytes.
        events: how many ended in it.
        unfinished: bytes at its end of a line that it did not end.
    """

    at: tuple[float, float]
    silence: float
    size: int
    events: int
    unfinished: int


@dataclass(frozen=True)
class Arrivals:
    """The arrivals of one response, looked at as a whole."""

    observation: Observation

    @property
    def events(self) -> list[Event]:
        """What events there are, of those that were kept."""
        return self.observation.events

    @cached_property
    def pause(self) -> float:
        """How long silence must be to count as a pause, in seconds."""
        return max(MIN_PAUSE, PAUSE_CONNECTS * self.observation.connect_seconds)

    @cached_property
    def reads(self) -> list[Read]:
        """The reads that brought some of the body, as far as the events go that were kept."""
        seen = self.observation
        reads = [read for read in seen.reads if read.size]
        if seen.event_count > len(seen.events) and seen.events:
            reads = [read for read in reads if read.at <= seen.events[-1].arrived]
        return reads

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """What came together, in order."""
        gap = max(MIN_DELIVERY_GAP, DELIVERY_CONNECTS * self.observation.connect_seconds)
        groups: list[list[Read]] = []
        for read in self.reads:
            if groups and read.at - groups[-1][-1].at < gap:
                groups[-1].append(read)
            else:
                groups.append([read])
        found: list[Delivery] = []
        position = 0
        before = self.observation.request_sent_at
        for group in groups:
            first, last = group[0].at, group[-1].at
            ended = position
            while ended < len(self.events) and self.events[ended].arrived <= last:
                ended += 1
            size = sum(read.size for read in group)
            found.append(Delivery((first, last), first - before, size, ended - position, group[-1].unfinished))
            position, before = ended, last
        return found

    @cached_property
    def after_pauses(self) -> list[Delivery]:
        """The deliveries that came after a pause, the first one left out."""
        return [one for one in self.deliveries[1:] if one.silence >= self.pause]

    @cached_property
    def batched(self) -> float:
        """The share of events that came in batches."""
        last = len(self.deliveries) - 1
        inside = sum(
            one.events
            for index, one in enumerate(self.deliveries)
            if one.silence >= self.pause
            and one.events >= (BATCH_AT_ENDS if index in (0, last) else BATCH)
            and self._at_once(one)
        )
        return inside / len(self.events) if self.events else 0.0

    def _at_once(self, one: Delivery) -> bool:
        """Tell whether a delivery came as fast as the path allows: on a long way, reads far apart make one delivery."""
        return one.at[1] - one.at[0] <= JITTER + one.size / WINDOW * self.pause

    @cached_property
    def cuts(self) -> list[Delivery]:
        """The deliveries that end within an event whose end then came, after a pause, with bytes of a later one.

        This needs no clock: what is merely long is cut too, by TCP, but then its end comes alone.
        """
        return [
            one
            for one, following in zip(self.deliveries, self.deliveries[1:], strict=False)
            if one.unfinished
            and following.silence >= self.pause
            and (following.events >= 2 or (following.events == 1 and following.unfinished))
        ]

    @property
    def spread(self) -> float:
        """Seconds from the first read that brought some of the body to the last."""
        return self.reads[-1].at - self.reads[0].at if self.reads else 0.0

    @property
    def waited(self) -> float:
        """Seconds from the request to the first of the body."""
        return self.reads[0].at - self.observation.request_sent_at if self.reads else 0.0

    @property
    def at_a_time(self) -> float:
        """How many events came at a time: the median over deliveries after pauses that ended any."""
        return float(median([one.events for one in self.after_pauses if one.events] or [0]))

    @cached_property
    def kind(self) -> Kind:
        """In what shape it came."""
        structured = len(self.events) >= 2
        if not structured and not self._as_bytes:
            return "unknown"
        if structured and self._came_at_once:
            # A compressor that is not flushed has no marker of a flush in what it made (RFC 1951 section 3.2.4).
            if self.observation.sync_flushes == 0 and self.waited >= LONG_WAIT and len(self.events) >= 3:
                return "unflushed"
            return "at once" if self.waited >= LONG_WAIT and len(self.events) >= 3 else "short"
        if not structured:
            return self._kind_of_bytes
        if self._is_cut:
            return "cut" if self._form in ("server-sent events", "JSON lines") else "cut text"
        if self._flows and len(self.events) >= 5 and self.spread >= 0.5:
            return "flowing"
        flows = self._flows and len(self.deliveries) * 2 >= len(self.events)
        apart = len(self.deliveries) >= 3 and not self.cuts and (self.after_pauses or flows)
        if apart and self.batched <= MAX_BATCHED:
            return "one by one"
        lasted = self.events[-1].arrived - self.observation.request_sent_at
        if self.observation.sync_flushes == 0 and len(self.events) >= 3 and lasted >= LONG_WAIT:
            return "unflushed"
        return "batches" if self.batched > MAX_BATCHED else "unknown"

    @property
    def _form(self) -> str | None:
        return event_format(self.observation.header("content-type"))

    @property
    def _as_bytes(self) -> bool:
        """Whether events cannot be told apart; text of few lines may be written word by word."""
        return self._form in (None, "lines") or self.observation.encoded is not None

    @property
    def _came_at_once(self) -> bool:
        return self.events[-1].arrived - self.events[0].arrived < self.pause and self.spread < self.pause

    @property
    def _is_cut(self) -> bool:
        if len(self.cuts) * 2 < len(self.after_pauses) or not self.cuts:
            return False
        first = self.cuts[0].at[1]
        before = sum(event.arrived <= first for event in self.events)
        longest = max(one.silence for one in self.deliveries)
        return len(self.cuts) >= 2 or (before >= 3 and longest >= LONG_WAIT)

    @property
    def _flows(self) -> bool:
        """Whether it came without a pause, and not as what was held back: late, and as fast as the path allows."""
        if self.after_pauses or self.batched > MAX_BATCHED:
            return False
        if self.waited < max(LONG_WAIT, self.spread):
            return True
        return len(self.reads) >= len(self.events) / 2 and median(read.size for read in self.reads) < 4096

    @property
    def _kind_of_bytes(self) -> Kind:
        small = [one for one in self.after_pauses if one.size < 1024]
        if len(small) >= 5 and len(small) == len(self.after_pauses):
            return "one by one"
        return "flowing" if self._flows and self.spread >= LONG_WAIT else "unknown"


def judge_arrivals(arrivals: Arrivals) -> Verdict:
    """Judge one response by its arrivals alone."""
    seen = arrivals.observation
    numbers: dict[str, Number] = {
        "evidence": "arrivals",
        "events": seen.event_count,
        "deliveries": len(arrivals.deliveries),
        "pauses": len(arrivals.after_pauses),
        "events_in_batches": round(arrivals.batched, 3),
        "shape": arrivals.kind,
    }

    def verdict(result: Result, sentence: str) -> Verdict:
        undone = f"; then {seen.coding_error}" if seen.coding_error and arrivals.reads else ""
        return Verdict("timing", result, sentence + undone + ("" if result == "PASS" else cache_note(seen)), numbers)

    kind, events = arrivals.kind, len(arrivals.events)
    wait = ms(arrivals.waited)
    if not arrivals.reads:
        what = "could be decoded" if seen.coding_error else "arrived"
        why = f": {seen.coding_error}" if seen.coding_error else ""
        return verdict("INCONCLUSIVE", f"nothing of the body {what}, so there is nothing to tell from arrivals{why}")
    unseen = (
        f"by arrivals alone a delay common to all, of up to {wait}, a hop one event behind, or one that slows all "
        "evenly would not show"
    )
    if kind == "one by one":
        what = f"{count(events, 'event')} came one by one" if events >= 2 else "the body came bit by bit"
        return verdict("PASS", f"{what}, in {count(len(arrivals.deliveries), 'delivery')}; {unseen}")
    if kind == "flowing":
        what = count(events, "event") if events >= 2 else count(seen.byte_count, "byte")
        return verdict(
            "PASS", f"{what} over {secs(arrivals.spread)}, and never silent for {ms(arrivals.pause)}; {unseen}"
        )
    if kind == "unflushed":
        return verdict(
            "FAIL",
            f"{count(events, 'event')} arrived late and together because the compressor never flushed: no flush marker "
            f"is in its {seen.encoded_bytes} bytes; let it flush after each event, or do not compress this stream",
        )
    if kind == "at once":
        return verdict(
            "FAIL",
            f"{count(events, 'event')} came at once after {secs(arrivals.waited)}, so this did not arrive as a stream: "
            "the app collected it, or a hop did; ask the app itself, or give it as --baseline, to learn which",
        )
    if kind == "cut":
        return verdict("FAIL", f"the end of an event waited for the next one, after silence; {_cut_shape(arrivals)}")
    if seen.duration < TOO_SHORT and seen.ended in ("terminated", "closed"):
        return too_short(numbers)
    return verdict("INCONCLUSIVE", f"{_why_unknown(arrivals)}; {_WHAT_TELLS}")


def cache_note(observation: Observation) -> str:
    """Say that a cache may have answered, where a header shows it: what it kept comes at once, whoever is to blame."""
    shown = [f"{name}: {value}" for name in ("Age", "X-Cache") if (value := observation.header(name)) is not None]
    return f"; a cache may have answered ({', '.join(shown)})" if shown else ""


def too_short(numbers: dict[str, Number]) -> Verdict:
    """Make the verdict about what came whole so soon that nothing can be told; it does not count for the status."""
    return Verdict(
        "timing",
        "INCONCLUSIVE",
        f"too short to tell: all of it came within {ms(TOO_SHORT)}, so nothing can have been late by more",
        numbers,
        counts=False,
    )


_WHAT_TELLS = "--baseline with the app's own address tells, or production times (--times, X-Stream-Promise)"


def _why_unknown(arrivals: Arrivals) -> str:
    seen, events = arrivals.observation, len(arrivals.events)
    if seen.encoded is not None:
        return f"the body came encoded ({seen.encoded}), so its events cannot be told apart"
    if arrivals.kind == "batches":
        longest = max((one.silence for one in arrivals.after_pauses), default=arrivals.waited)
        many = f"about {arrivals.at_a_time or events:g} whole events came at a time"
        if arrivals.at_a_time == 1:
            many = f"{arrivals.batched:.0%} of {events} events came several at a time"
        return f"{many}, up to {secs(longest)} apart: either an app that sends so, or a hop with a timer"
    if arrivals.kind == "cut text":
        return f"lines of text were cut; {_cut_shape(arrivals)}, unless the app writes so"
    if arrivals.kind == "short":
        return f"{count(events, 'event')} within {ms(arrivals.pause)} are too few, or too early, to tell"
    if events < 2 and event_format(seen.header("content-type")) in ("server-sent events", "JSON lines", "parts"):
        return f"{count(events, 'event') if events else 'no event'} arrived, and arrivals tell nothing of less than two"
    if events < 2:
        kind = seen.header("content-type")
        return (
            f"a body of {f'type {kind}' if kind else 'no type'} has no events that could be told apart, and from its "
            f"bytes ({ms(arrivals.spread)} from first to last) it cannot be told whether something held them back"
        )
    return f"{count(events, 'event')} in {count(len(arrivals.deliveries), 'delivery')} are too few to tell"


def _cut_shape(arrivals: Arrivals) -> str:
    """Say in what pieces a stream came that was cut within events."""
    # The first delivery shared its buffer with the header, the last one is what was left.
    inner = arrivals.deliveries[1:-1] or arrivals.deliveries[:1]
    size = median(one.size for one in inner)
    kib = next((kib for kib in (1 << power for power in range(11)) if abs(size - kib * 1024) < kib * 128), None)
    guess = f": this looks like {'an' if kib == 8 else 'a'} {kib} KiB buffer" if kib else ""
    return f"it came in {count(len(arrivals.deliveries), 'delivery')} of about {size:.0f} bytes{guess}"
