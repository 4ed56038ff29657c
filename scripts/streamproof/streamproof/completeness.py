"""Verdict about completeness: did all of the body arrive, once and in order?"""

from streamproof.observation import Observation
from streamproof.promise import Promise, parse_promise
from streamproof.verdict import Number, Result, Verdict, count


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
    running = observation.ended in ("timeout", "too_large")
    if wrong := checks.wrong(running):
        return verdict("FAIL", wrong)
    if running:
        return verdict("INCONCLUSIVE", f"still running {limit(observation)}, {progress} so far")
    if unreadable:
        return verdict("INCONCLUSIVE", unreadable)
    if checks.any:
        if digest_confirmed(observation):
            return verdict("PASS", f"{progress} arrived, and the digest is right")
        return verdict("PASS", f"{progress} arrived; there is no digest to compare")
    if observation.second_status_line is not None:
        where = f"at byte {observation.second_status_line}"
        return verdict("FAIL", f"a second response begins inside the body {where}, so the first one broke off there")
    if observation.ended == "closed":
        return verdict(
            "INCONCLUSIVE", f"{progress}, but nothing marks the end and nothing says how many there should be"
        )
    if observation.framing == "content-length":
        return verdict("PASS", f"{progress}, as many as Content-Length says; there is no digest to compare")
    return verdict(
        "PASS",
        f"{progress} and a marked end. Nothing says how many there should be: where only the app's close ends the "
        "body, as over HTTP/1.0, a stream that breaks off looks like this too; --expect-bytes or --expect-sha256 rules "
        "it out",
    )


class _Checks:
    """What arrived against what was promised or expected."""

    def __init__(self, observation: Observation, promise: Promise) -> None:
        self._observation = observation
        self._rows = promise.rows
        # Both the app and the user may have said something; where these differ, one of them is not met.
        self._bytes = [size for size in (promise.bytes, observation.expected.bytes) if size is not None]
        self.any = bool(self._rows is not None or self._bytes or _digests(observation))
        self.numbers: dict[str, Number] = {"bytes": observation.byte_count, "rows": observation.row_count}
        if self._rows is not None:
            self.numbers["rows_expected"] = self._rows
        if self._bytes:
            self.numbers["bytes_expected"] = max(self._bytes)

    def progress(self) -> str:
        """What arrived of what, such as "6 of 12 rows (384 of 768 bytes)"."""
        seen = self._observation
        size = f"{seen.byte_count} of {max(self._bytes)} bytes" if self._bytes else count(seen.byte_count, "byte")
        return size if self._rows is None else f"{seen.row_count} of {count(self._rows, 'row')} ({size})"

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
    if observation.ended == "timeout":
        return f"when the time limit of {observation.timeout:g} s was reached"
    return f"when the size limit of {observation.max_bytes} bytes was reached"
