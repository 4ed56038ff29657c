"""Verdicts about an observation. Pure: the same observation always gets the same verdicts.

Here framing and completeness; timing has a module of its own.
"""

from collections.abc import Callable, Iterable, Sequence

from streamproof.observation import Observation
from streamproof.promise import Promise, parse_promise
from streamproof.timing import judge_timing
from streamproof.verdict import Number, Result, Verdict, count


def judge(observation: Observation, questions: Sequence[str] = ("framing", "completeness", "timing")) -> list[Verdict]:
    """Answer questions about one response.

    A response that is not a 200 is not the stream that was asked for, so nothing is judged then; what is not HTTP at
    all fails as framing.
    """
    return [_judge_one(question, _RULES[question], observation) for question in questions]


def overall(verdicts: Iterable[Verdict]) -> Result:
    """Sum verdicts up: FAIL if one fails, else INCONCLUSIVE if one is, else PASS."""
    results = {verdict.result for verdict in verdicts}
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
            sentence += f" to {location}, which is not followed: ask for that URL instead"
        else:
            sentence += ", not the stream: only a 200 is judged"
        return sentence, {"status": observation.status}
    reason = "its header was not valid" if observation.ended == "protocol_error" else observation.error
    if observation.ended == "timeout":
        reason = f"nothing complete came within {observation.timeout:g} s"
    return f"there is no response to judge: {reason}", {}


def judge_framing(observation: Observation) -> Verdict:
    """Is the end of the body marked, by exactly one valid means (RFC 9112 sections 6 and 7, RFC 9113 section 8.1)?"""
    framing = observation.framing
    numbers: dict[str, Number] = {"framing": framing, "bytes": observation.byte_count, "ended": observation.ended}
    if framing == "chunked":
        numbers["chunks"] = observation.chunk_count
        what = f"chunked, {count(observation.chunk_count, 'chunk')}"
    elif framing == "h2":
        what = "HTTP/2 frames"
    elif framing == "content-length":
        what = f"Content-Length {observation.header('content-length')}, not chunked"
    else:
        what = "neither chunked nor Content-Length"

    def verdict(result: Result, sentence: str) -> Verdict:
        return Verdict("framing", result, sentence, numbers)

    if observation.header("transfer-encoding") is not None:
        if observation.header("content-length") is not None:
            # RFC 9112 section 6.2: a sender MUST NOT; section 6.3: it might be an attempt at response splitting.
            return verdict("FAIL", "both Transfer-Encoding and Content-Length are there, which HTTP forbids")
        if observation.http_version == "1.0":
            # RFC 9112 section 6.1: the framing of such a message is to be treated as faulty.
            return verdict("FAIL", "Transfer-Encoding in an HTTP/1.0 response, which HTTP/1.0 does not know")
        if observation.protocol == "HTTP/1.0":
            # RFC 9112 section 6.1: not unless the request says HTTP/1.1 or later.
            return verdict("FAIL", "Transfer-Encoding in the response to an HTTP/1.0 request, which forbids it")
    # A body that is byte for byte the promised one may well contain such a line.
    if observation.second_status_line is not None and not _digest_confirmed(observation):
        offset = observation.second_status_line
        numbers["second_status_line_at"] = offset
        return verdict(
            "FAIL", f"a second response begins inside the body, at byte {offset}: a status line stands there"
        )
    if observation.ended == "protocol_error":
        return verdict("FAIL", f"{what}, then something that is not HTTP: {observation.error}")
    if observation.ended == "truncated":
        if framing == "chunked":
            return verdict("FAIL", f"truncated: {what}, but no terminating chunk: {observation.error}")
        if framing == "h2":
            return verdict("FAIL", f"truncated: {what}, but no END_STREAM: {observation.error}")
        if framing == "content-length":
            return verdict("FAIL", f"truncated: {what}, but only {count(observation.byte_count, 'byte')} arrived")
        return verdict("FAIL", f"truncated: {observation.error}")
    if observation.ended in ("timeout", "too_large"):
        return verdict("INCONCLUSIVE", f"{what}, still running {_limit(observation)}")
    if observation.surplus:
        # RFC 9112 section 6.3: what follows the last response may be a sign of a wrong Content-Length.
        numbers["surplus_bytes"] = observation.surplus
        return verdict("FAIL", f"{what}, and more bytes came after the end of the response")
    if observation.ended == "closed":
        # RFC 9112 section 6.3: such an end cannot be told from a connection that broke.
        return verdict("INCONCLUSIVE", f"{what}: the close of the connection is the only end, nothing marks it")
    if framing == "chunked":
        return verdict("PASS", f"{what}, terminating chunk seen")
    if framing == "h2":
        return verdict("PASS", f"{what}, END_STREAM seen")
    return verdict("PASS", f"{what}; exactly that many bytes arrived")


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
        return verdict("INCONCLUSIVE", f"still running {_limit(observation)}, {progress} so far")
    if unreadable:
        return verdict("INCONCLUSIVE", unreadable)
    if checks.any:
        if _digest_confirmed(observation):
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
        self._bytes = [size for size in (promise.bytes, observation.expected_bytes) if size is not None]
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
    if observation.expected_sha256 is not None:
        pairs.append((observation.expected_sha256, observation.sha256))
    try:
        promise = parse_promise(observation.headers)
    except ValueError:
        promise = None
    if promise is not None and promise.sha256 is not None:
        pairs.append((promise.sha256, observation.sha256_zeroed or observation.sha256))
    return pairs


def _digest_confirmed(observation: Observation) -> bool:
    pairs = _digests(observation)
    return bool(pairs) and all(expected == digest for expected, digest in pairs)


def _limit(observation: Observation) -> str:
    if observation.ended == "timeout":
        return f"when the time limit of {observation.timeout:g} s was reached"
    return f"when the size limit of {observation.max_bytes} bytes was reached"


_RULES: dict[str, Callable[[Observation], Verdict]] = {
    "framing": judge_framing,
    "completeness": judge_completeness,
    "timing": judge_timing,
}
