"""Measuring at a hop, here or by a process that runs elsewhere and whose output comes back as lines of JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamproof.ask import Asking, ask
from streamproof.observe import NothingObserved
from streamproof.record import Recorder
from streamproof.request import Request
from streamproof.route import ConnectTo, Route
from streamproof.run import Run


@dataclass(frozen=True)
class Task:
    """What is asked at one hop.

    Attributes:
        url: of the stream; the host in it is what the edge routes by.
        large: URL of a stream for backpressure, or None not to ask.
        address: host and port to connect to instead of the URL's.
        timeout: limit in seconds for each request.
        cacert: certificates of the authorities to trust, in PEM, instead of the system's.
    """

    url: str
    large: str | None
    address: tuple[str, int] | None
    timeout: float
    cacert: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a task: a run for the stream, and one for backpressure; or the reason why there is none."""

    stream: Run | None = None
    large: Run | None = None
    reason: str = ""


def measure(task: Task, on_read: Callable[[Recorder], None] | None = None) -> Answer:
    """Ask for the stream, and for the large one.

    Raises:
        ValueError: the URL cannot be used; the message says why.
    """
    route = Route() if task.address is None else Route([ConnectTo("", None, *task.address)])
    request = Request(task.url, protocol="HTTP/1.1", route=route, timeout=task.timeout, cacert=task.cacert)
    try:
        stream = ask(Asking(request, on_read=on_read))
    except NothingObserved as error:
        return Answer(reason=str(error))
    if task.large is None:
        return Answer(stream)
    try:
        large = Asking(replace(request, url=task.large), questions=["backpressure"], on_read=on_read)
        return Answer(stream, ask(large))
    except NothingObserved:
        return Answer(stream)


def as_argument(tasks: Sequence[Task]) -> str:
    """Write tasks for `answers`."""
    return json.dumps([vars(task) for task in tasks])


def answers(argument: str) -> Iterator[str]:
    """Do what `as_argument` has written, one task after the other, and yield for each a line for `parse_answer`.

    Raises:
        ValueError: it is not what `as_argument` writes.
    """
    try:
        tasks = [Task(**_checked(values)) for values in json.loads(argument)]
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a list of tasks: {error}") from error
    for task in tasks:
        answer = measure(task)
        yield json.dumps(
            {
                "stream": answer.stream and answer.stream.dumps(),
                "large": answer.large and answer.large.dumps(),
                "reason": answer.reason,
            }
        )


def parse_answer(line: str) -> Answer:
    """Read a line that `answers` has made.

    Raises:
        ValueError: it is no such line.
    """
    values = json.loads(line)
    if not isinstance(values, dict) or values.keys() != {"stream", "large", "reason"}:
        raise ValueError("not an answer of a probe")
    runs = {name: Run.loads(str(values[name])) for name in ("stream", "large") if values[name] is not None}
    return Answer(**runs, reason=str(values["reason"]))


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    address = values["address"]
    return values | {"address": None if address is None else (str(address[0]), int(address[1]))}
