"""Verdict about completeness: did all of the body arrive, once and in order?"""

import re

from streamproof.events import event_format
from streamproof.observation import Observation
from streamproof.promise import Promise, parse_promise
from streamproof.verdict import Number, Result, Verdict, count, secs

# How much of a line a sentence quotes.
_SHOWN = 100


def judge_completeness(observation: Observation) -> Verdict:
    """Did all of the body arrive, once and in order? By count and digest, never by framing alone.

    Framing alone calls a broken stream complete where a hop gets a body that only the close of its connection ends, as
    over HTTP/1.0: it turns that close into a valid terminating chunk.
    """
    try:
        promise = parse_promise(observation.headers) or Promise()
        unreadable = None
    except ValueError as error:
        promise = Promise()
        unreadable = f"the promise of the response cannot be read: {error}"
    checks = _Checks(observation, promise)
    numbers = checks.numbers | {"ended": observation.ended}

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("completeness", result, sentence, numbers)

    progress = checks.progress()
    if observation.ended in ("truncated", "protocol_error"):
        return verdict("FAIL", f"truncated: {progress} arrived, then: {observation.error}")
    if observation.coding_error is not None:
        return verdict("FAIL", f"{progress} arrived, then {observation.coding_error}")
    if checks.any and observation.encoded is not None:
        return verdict(
            "INCONCLUSIVE",
            f"the body came encoded ({observation.encoded}), so it cannot be compared with what was sent",
        )
    if other := _other_type(observation):
        return verdict("FAIL", other)
    if wrong := checks.wrong(observation.running):
        return verdict("FAIL", wrong)
    if observation.running:
        return verdict(*_so_far(observation, progress, checks.of_the_end))
    if unreadable:
        return verdict("INCONCLUSIVE", unreadable)
    if checks.any:
        if digest_confirmed(observation):
            return verdict("PASS", f"{progress} arrived, and the digest is right")
        if observation.expected.last is not None:
            return verdict("PASS", f"{progress} arrived, and the last line is as expected")
        return verdict("PASS", f"{progress} arrived; there is no digest to compare")
    if observation.ended == "closed":
        return verdict(
            "INCONCLUSIVE", f"{progress}, but nothing marks the end and nothing says how many there should be"
        )
    if observation.framing == "content-length":
        return verdict("PASS", f"{progress}, as many as Content-Length says; there is no digest to compare")
    return verdict(
        "PASS",
        f"{progress} and a marked end; nothing to compare with: --expect-last, --expect-events, --expect-bytes",
    )


def _other_type(observation: Observation) -> str | None:
    """Say that the response is of a type that was not asked for (RFC 9110 section 12.5.1), such as a login page."""
    kind = (observation.header("content-type") or "").split(";")[0].strip().lower()
    if observation.accept is None or not kind:
        return None
    wanted = [one.strip().lower() for one in observation.accept.split(",")]
    for one in wanted:
        media, *parameters = (part.strip() for part in one.split(";"))
        if re.fullmatch(r"q=0(\.0*)?", "".join(parameters[-1:])):
            continue
        if media in ("*/*", "*", kind) or (media.endswith("/*") and kind.startswith(media[:-1])):
            return None
    return f"the response is {kind}, and Accept asks for {observation.accept}: a login or error page comes like this"


def _so_far(observation: Observation, progress: str, of_the_end: bool) -> tuple[Result, str]:
    """Judge a stream that had not ended when it was stopped."""
    events = event_format(observation.header("content-type")) == "server-sent events"
    asked = observation.stop_events is not None or observation.stop_seconds is not None
    nothing = not observation.byte_count or (events and not observation.event_count)
    if asked and nothing and observation.heartbeat_count:
        return "INCONCLUSIVE", f"no event came, but {count(observation.heartbeat_count, 'heartbeat')}"
    if asked and nothing:
        return "FAIL", f"nothing complete came within {secs(observation.duration)}: {progress}"
    if of_the_end and observation.ended == "stopped":
        return "INCONCLUSIVE", f"{progress}, stopped as asked before the end, which is what is expected to be compared"
    if observation.ended == "stopped":
        return "PASS", f"{progress} so far, stopped as asked {limit(observation)}"
    sentence = f"still running {limit(observation)}, {progress} so far"
    if events and not of_the_end and not nothing and not asked:
        return "PASS", f"{sentence}; --events N or --for SECONDS stop a stream that never ends"
    return "INCONCLUSIVE", sentence


def contradicted(observation: Observation) -> bool:
    """Tell whether a digest or a count is not what it should be."""
    try:
        promise = parse_promise(observation.headers) or Promise()
    except ValueError:
        promise = Promise()
    return _Checks(observation, promise).wrong(observation.running) is not None


class _Checks:
    """What arrived against what was promised or expected."""

    def __init__(self, observation: Observation, promise: Promise) -> None:
        self._observation = observation
        self._rows = promise.rows
        # Both the app and the user may have said something; where these differ, one of them is not met.
        self._bytes = [size for size in (promise.bytes, observation.expected.bytes) if size is not None]
        expected = observation.expected
        self.of_the_end = expected.events is not None or expected.last is not None
        self.any = bool(self._rows is not None or self._bytes or _digests(observation) or self.of_the_end)
        self.numbers: dict[str, Number] = {"bytes": observation.byte_count, "rows": observation.row_count}
        if self._rows is not None:
            self.numbers["rows_expected"] = self._rows
        if self._bytes:
            self.numbers["bytes_expected"] = max(self._bytes)

    def progress(self) -> str:
        """What arrived of what, such as "6 of 12 rows (384 of 768 bytes)"."""
        seen = self._observation
        size = f"{seen.byte_count} of {max(self._bytes)} bytes" if self._bytes else count(seen.byte_count, "byte")
        if self._rows is not None:
            return f"{seen.row_count} of {count(self._rows, 'row')} ({size})"
        noun, number = seen.units
        if seen.expected.events is not None:
            return f"{number} of {count(seen.expected.events, noun)} ({size})"
        return f"{count(number, noun)} ({size})" if noun == "event" else size

    def wrong(self, running: bool) -> str | None:
        """Say what cannot be right, or None. While the response is still running, too little is not wrong yet."""
        seen = self._observation
        progress = self.progress()
        if seen.misnumbered is not None:
            position, number = seen.misnumbered
            if number > position:
                kind = "rows are missing or out of order"
            elif number == position - 1:
                kind = "a row is duplicated"
            else:
                kind = "rows are out of order"
            return f"{kind}: row {number} stands where row {position} was due; {progress} arrived"
        _, number = seen.units
        events = seen.expected.events
        if events is not None and (number > events or (number < events and not running)):
            return f"{progress} arrived{'' if number > events else self._ended_properly()}"
        fewer = (self._rows is not None and seen.row_count < self._rows) or any(
            seen.byte_count < size for size in self._bytes
        )
        more = (self._rows is not None and seen.row_count > self._rows) or any(
            seen.byte_count > size for size in self._bytes
        )
        if more:
            return f"more than there should be: {progress} arrived"
        if running:
            return None
        if fewer:
            return f"truncated: {progress} arrived{self._ended_properly()}"
        if any(expected != digest for expected, digest in _digests(seen)):
            return f"the digest is wrong: {progress} arrived, but they are not the bytes that were sent"
        if seen.expected.last is not None and seen.expected.last not in seen.last_line:
            last = seen.last_line if len(seen.last_line) <= _SHOWN else f"{seen.last_line[:_SHOWN]}…"
            what = f"the last line is {last!r}" if last else "there is no line"
            return f"{what}, not {seen.expected.last!r}: {progress} arrived{self._ended_properly()}"
        return None

    def _ended_properly(self) -> str:
        if self._observation.ended == "closed":
            return ", and nothing marks the end: to a client that goes by framing, this looks complete"
        if self._observation.framing == "content-length":
            return ", and yet that is what Content-Length says, so framing alone would have called it complete"
        end = "END_STREAM" if self._observation.framing == "h2" else "a valid terminating chunk"
        return (
            f", and yet the response ended with {end}, so framing alone would have called it complete: a hop does this "
            "where only the app's close ends the body, as over HTTP/1.0, and so does an app that hides its error"
        )


def _digests(observation: Observation) -> list[tuple[str, str]]:
    """Pairs of the digest that the body should have and the one that it has."""
    pairs = []
    if observation.expected.sha256 is not None:
        pairs.append((observation.expected.sha256, observation.sha256))
    try:
        promise = parse_promise(observation.headers)
    except ValueError:
        promise = None
    if promise is not None and promise.sha256 is not None:
        pairs.append((promise.sha256, observation.sha256_zeroed or observation.sha256))
    return pairs


def digest_confirmed(observation: Observation) -> bool:
    """Tell whether there is a digest that the body should have, and it has it."""
    pairs = _digests(observation)
    return bool(pairs) and all(expected == digest for expected, digest in pairs)


def limit(observation: Observation) -> str:
    """Say at which limit a response was still running."""
    if observation.ended == "stopped":
        events = observation.stop_events
        if events is not None and observation.units[1] >= events:
            return f"after {count(*observation.units[::-1])}"
        return f"after {secs(observation.duration)}"
    if observation.ended == "timeout":
        return f"when the time limit of {observation.timeout:g} s was reached"
    return f"when the size limit of {observation.max_bytes} bytes was reached"
