"""Measuring at a hop, here or by a process that runs elsewhere and whose output comes back as lines of JSON."""

import base64
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
        method, headers, body, insecure, stop_events: as in `Request`; the body in base64.
    """

    url: str
    large: str | None
    address: tuple[str, int] | None
    timeout: float
    cacert: str | None = None
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    body: str | None = None
    insecure: bool = False
    stop_events: int | None = None

    def request(self) -> Request:
        """Return the request for the stream.

        Raises:
            ValueError: it cannot be made; the message says why.
        """
        return Request(
            self.url,
            method=self.method,
            headers=self.headers,
            body=None if self.body is None else base64.b64decode(self.body),
            protocol="HTTP/1.1",
            route=Route() if self.address is None else Route([ConnectTo("", None, *self.address)]),
            timeout=self.timeout,
            cacert=self.cacert,
            insecure=self.insecure,
            stop_events=self.stop_events,
        )


@dataclass(frozen=True)
class Answer:
    """What came of a task: a run for the stream, and one for backpressure; or the reason why there is none."""

    stream: Run | None = None
    large: Run | None = None
    reason: str = ""


def measure(task: Task, baseline: Task | None = None, on_read: Callable[[Recorder], None] | None = None) -> Answer:
    """Ask for the stream, each time together with the baseline, and for the large one.

    Args:
        task: what to ask.
        baseline: the same nearer to the app, against which timing is judged; None for none.
        on_read: as for `observe`.

    Raises:
        ValueError: the URL cannot be used; the message says why.
    """
    request = task.request()
    try:
        stream = ask(Asking(request, on_read=on_read, baseline=None if baseline is None else baseline.request()))
    except NothingObserved as error:
        return Answer(reason=str(error))
    if stream.observed("stream")[0].ended == "no_connection":  # and only the baseline answered
        return Answer(reason=stream.observed("stream")[0].error or "")
    if baseline is not None and any(row.produced is not None for row in stream.observed("stream")[0].rows):
        # Times in the stream tell more than any baseline, and one request is enough for them.
        pair = [stream.observed(role)[0] for role in ("baseline", "stream")]
        stream = Run(stream.questions, pair)
    if task.large is None:
        return Answer(stream)
    try:
        large = replace(request, url=task.large, method="GET", body=None, stop_events=None)
        return Answer(stream, ask(Asking(large, questions=["backpressure"], on_read=on_read)))
    except NothingObserved:
        return Answer(stream)


def as_argument(tasks: Sequence[Task]) -> str:
    """Write tasks for `answers`."""
    return json.dumps([vars(task) for task in tasks])


def answers(argument: str) -> Iterator[str]:
    """Do what `as_argument` has written, one task after the other, and yield for each a line for `parse_answer`.

    The first is the baseline of the others, if it can be reached.

    Raises:
        ValueError: it is not what `as_argument` writes.
    """
    try:
        tasks = [Task(**_checked(values)) for values in json.loads(argument)]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"not a list of tasks: {error}") from error
    baseline = None
    for task in tasks:
        answer = measure(task, baseline)
        if task is tasks[0] and answer.stream is not None:
            baseline = task
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
    headers = [(str(name), str(value)) for name, value in values.get("headers", ())]
    return values | {"address": None if address is None else (str(address[0]), int(address[1])), "headers": headers}
