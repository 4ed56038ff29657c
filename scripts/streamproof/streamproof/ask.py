"""From questions to observations: which requests it takes to answer what was asked, and how they are made."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urljoin

from streamproof.baseline import Pair, one_at_a_time, undecided
from streamproof.expected import Expected
from streamproof.observation import Observation, Protocol, Role
from streamproof.observe import NothingObserved, NotOffered, observe, observe_reuse
from streamproof.record import Recorder
from streamproof.request import Request
from streamproof.run import DEFAULT_QUESTIONS, ROLES, Question, Run

T = TypeVar("T")

DEFAULT_STALL = 3.0
DEFAULT_STREAMS = 10
# gunicorn's keep-alive is 2 s by default: a request then meets a connection that is being closed.
DEFAULT_PAUSE = 2.0
DEFAULT_SHORT = "/"
# What a browser accepts of an https URL.
_BROWSERS = "gzip, deflate, br, zstd"
# From the end of one short request to the next, in seconds.
_SHORT_PAUSE = 0.2
# What is read of the answer to a short request, in bytes.
_SHORT_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Asking:
    """What to ask, and how.

    Attributes:
        request: what to ask for.
        questions: which to answer.
        expected: of the stream.
        stall: for backpressure, seconds for which the client does not read.
        streams: for concurrency, how many at once.
        rounds, pause: how often, and how many seconds apart.
        short: for concurrency, the path at the same origin that is asked for meanwhile; any answer below 500 counts.
        on_read: as for `observe`; of several streams at once, it is called for each.
        baseline: the request to another address against which timing is judged.
        repeat: how often to ask for the stream; None for once, with a baseline twice and once more where that decides
            nothing, but for a POST.
    """

    request: Request
    questions: Sequence[Question] = DEFAULT_QUESTIONS
    expected: Expected = field(default_factory=Expected)
    stall: float = DEFAULT_STALL
    streams: int = DEFAULT_STREAMS
    short: str = DEFAULT_SHORT
    on_read: Callable[[Recorder], None] | None = None
    baseline: Request | None = None
    repeat: int | None = None
    rounds: int = 1
    pause: float = DEFAULT_PAUSE


def ask(asking: Asking) -> Run:
    """Make the requests that the questions take, one after the other but for those that are to be concurrent.

    Raises:
        ValueError: the URL, a header, or what else was given cannot be used; the message says why.
        NothingObserved: not one connection came about.
    """
    roles = {role for question in asking.questions for role in ROLES[question]}
    timeout = asking.request.timeout
    if asking.stall >= timeout and "stalled" in roles:
        raise ValueError(f"a stall of {asking.stall:g} s does not fit into the time limit of {timeout:g} s")
    pause = asking.expected.read_timeout or 0.0
    if pause >= timeout and "idle" in asking.questions:
        raise ValueError(f"a pause of {pause:g} s does not fit into the time limit of {timeout:g} s")
    if not asking.short.startswith("/") or asking.short.startswith("//"):
        raise ValueError(f"{asking.short!r} is not a path, which begins with one slash")
    if asking.baseline is not None:
        _ = asking.baseline.target  # a URL that cannot be used is refused before anything is asked
    steps: dict[Role, Callable[[], Sequence[Observation]]] = {
        "stream": lambda: _ask_streams(asking),
        "stalled": lambda: [_observe(asking, "stalled", asking.stall)],
        "HTTP/1.1": lambda: _ask_protocols(asking),
        "concurrent": lambda: _ask_concurrently(asking),
    }
    observations: list[Observation] = []
    for role, step in steps.items():
        if role in roles:
            observations += step()
            if all(one.ended in ("no_connection", "not_offered") for one in observations):
                nothing = NothingObserved(observations[-1].error)
                nothing.observations = observations
                raise nothing
    return Run(list(asking.questions), observations)


def _ask_streams(asking: Asking) -> list[Observation]:
    """Ask for the stream as often as wanted, each time together with the baseline, and each of these first in turn."""
    # Anything else may cost money, or change something.
    safe = asking.request.method in ("GET", "OPTIONS")
    repeat = asking.repeat or (2 if asking.baseline is not None and safe else 1)
    if asking.baseline is None:
        return [_observe(asking, "stream") for _ in range(repeat)]
    baseline = replace(asking, request=asking.baseline)
    steps: list[Callable[[], Observation]] = [
        lambda: _observe(baseline, "baseline"),
        lambda: _observe(asking, "stream"),
    ]

    def at_once(turn: int) -> list[Observation]:
        begun = [_in_thread(step) for step in (steps if turn % 2 == 0 else steps[::-1])]
        return [one.result() for one in begun]

    def in_turn(turn: int) -> list[Observation]:
        return [step() for step in (steps if turn % 2 == 0 else steps[::-1])]

    ask_both = at_once
    found = [ask_both(turn) for turn in range(repeat)]
    if safe and any(one_at_a_time(Pair(*pair)) for pair in found):
        ask_both = in_turn
        found = [ask_both(turn) for turn in range(repeat)]
    run = Run(["timing"], [one for pair in found for one in pair])
    if safe and asking.repeat is None and undecided(run.verdicts()[0]):
        run.observations.extend(ask_both(repeat))
    return run.observations


def variants(request: Request) -> list[tuple[Role, Request]]:
    """Return what the question of protocols asks, besides the plain request and the same on its connection."""

    def variant(protocol: Protocol | None, coding: str = "") -> Request:
        asked = replace(request, protocol=protocol)
        return asked.with_header("Accept-Encoding", coding) if coding else asked

    found: list[tuple[Role, Request]] = [
        ("HTTP/1.1 with gzip", variant("HTTP/1.1", "gzip")),
        ("HTTP/1.1 with br", variant("HTTP/1.1", "br")),
        ("HTTP/1.1 with zstd", variant("HTTP/1.1", "zstd")),
        ("as a browser", variant(None, _BROWSERS)),
        ("HTTP/1.0", variant("HTTP/1.0")),
        ("HTTP/1.0 with gzip", variant("HTTP/1.0", "gzip")),
    ]
    if request.target.tls:
        found += [("HTTP/2", variant("HTTP/2")), ("HTTP/2 with gzip", variant("HTTP/2", "gzip"))]
    return found


def _ask_protocols(asking: Asking) -> list[Observation]:
    others = [_observe(replace(asking, request=request), role) for role, request in variants(asking.request)]
    return [*_observe_reuse(asking), *others]


def _ask_concurrently(asking: Asking) -> list[Observation]:
    url = urljoin(asking.request.url, asking.short)
    request = replace(asking.request, url=url, method="GET", body=None, max_bytes=_SHORT_MAX_BYTES)
    short = replace(asking, request=request, expected=Expected(), on_read=None)
    alone = _observe(short, "short alone")
    shorts: list[Observation] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.wait(_SHORT_PAUSE):
            shorts.append(_observe(short, "short"))

    asker = _in_thread(keep_asking)
    try:
        observations = [alone]
        for number in range(asking.rounds):
            if number:
                time.sleep(asking.pause)
            streams = [_in_thread(lambda: _observe(asking, "concurrent")) for _ in range(asking.streams)]
            observations += [stream.result() for stream in streams]
    finally:
        over.set()
    asker.result()
    return observations + shorts


def _in_thread(work: Callable[[], T]) -> "Future[T]":
    """Start work in a thread that does not keep the process from ending.

    Readers spend nearly all of their time waiting for a read to return, so threads do not disturb each other's times.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _observe(asking: Asking, role: Role, stall: float = 0.0) -> Observation:
    return _in_role(asking, role, lambda: observe(asking.request, stall=stall, on_read=asking.on_read))


def _observe_reuse(asking: Asking) -> tuple[Observation, Observation]:
    second: Observation | None = None

    def make() -> Observation:
        nonlocal second
        first, second = observe_reuse(asking.request, on_read=asking.on_read)
        return first

    def take_second() -> Observation:
        if second is None:
            raise NotOffered("the connection is not kept open after the stream")
        return second

    return _in_role(asking, "HTTP/1.1", make), _in_role(asking, "HTTP/1.1 reused", take_second)


def _in_role(asking: Asking, role: Role, make: Callable[[], Observation]) -> Observation:
    """Make an observation, or one that says why there is none."""
    request = asking.request
    started = time.time()
    try:
        observation = make()
    except NothingObserved as error:
        now = time.time()
        observation = Observation(
            url=request.url,
            protocol=request.protocol or "HTTP/1.1",
            timeout=request.timeout,
            max_bytes=request.max_bytes,
            started_at=started,
            request_sent_at=now,
            header_at=None,
            http_version=None,
            status=None,
            reason="",
            headers=[],
            byte_count=0,
            sha256="",
            ended="not_offered" if isinstance(error, NotOffered) else "no_connection",
            ended_at=now,
            error=str(error),
        )
    return replace(observation, role=role, expected=asking.expected)
