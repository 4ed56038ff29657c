"""Verdict about framing: is the end of the body marked, by exactly one valid means?"""

from streamproof.completeness import contradicted, limit
from streamproof.events import event_format
from streamproof.observation import Observation
from streamproof.verdict import Number, Result, Verdict, count


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

    if (coding := observation.header("transfer-encoding")) is not None:
        if coding.lower() == "identity":
            what += ", and Transfer-Encoding: identity, which HTTP no longer knows and some hops refuse"
        if observation.header("content-length") is not None:
            # RFC 9112 section 6.2: a sender MUST NOT; section 6.3: it might be an attempt at response splitting.
            return verdict("FAIL", "both Transfer-Encoding and Content-Length are there, which HTTP forbids")
        if observation.http_version == "1.0":
            # RFC 9112 section 6.1: the framing of such a message is to be treated as faulty.
            return verdict("FAIL", "Transfer-Encoding in an HTTP/1.0 response, which HTTP/1.0 does not know")
        if observation.protocol == "HTTP/1.0":
            # RFC 9112 section 6.1: not unless the request says HTTP/1.1 or later.
            return verdict("FAIL", "Transfer-Encoding in the response to an HTTP/1.0 request, which forbids it")
    # A body may well contain such a line: only if something else is wrong too does it begin a response.
    if observation.second_status_line is not None and (
        observation.ended in ("protocol_error", "truncated") or contradicted(observation)
    ):
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
    if observation.ended == "stopped":
        return verdict("PASS", f"{what}, valid so far, stopped as asked {limit(observation)}")
    if observation.running and event_format(observation.header("content-type")) == "server-sent events":
        return verdict("PASS", f"{what}, valid so far, still running {limit(observation)}")
    if observation.running:
        return verdict("INCONCLUSIVE", f"{what}, still running {limit(observation)}")
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
