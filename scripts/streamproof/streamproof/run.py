"""A run: what was asked about a URL and everything that was observed for it; saved, loaded and judged as one."""

import dataclasses
import json
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from streamproof.backpressure import judge_backpressure
from streamproof.baseline import Pair, judge_baseline
from streamproof.concurrency import judge_concurrency
from streamproof.idle import judge_idle
from streamproof.judge import judge
from streamproof.observation import Observation, Role
from streamproof.pace import judge_pace
from streamproof.protocols import judge_protocols
from streamproof.verdict import Verdict

# It changes only where an older file would be read wrongly: a new field with a default does not change it, and what a
# file lacks has that default. A file of an older format is brought up to date by `_upgraded`.
FORMAT = "streamproof run 3"
_FORMAT_2 = "streamproof run 2"
# What is read of a file: a device has no end.
_MAX_FILE = 1 << 30

Question = Literal["framing", "completeness", "timing", "backpressure", "protocols", "idle", "concurrency", "pace"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
DEFAULT_QUESTIONS: tuple[Question, ...] = ("framing", "completeness", "timing")


@dataclass(frozen=True)
class Run:
    """What was asked, and what was observed for it.

    Attributes:
        questions: what was asked, in the order of the answers.
        observations: at least one; each says by its role which question it is for.
    """

    questions: list[Question]
    observations: list[Observation]

    def observed(self, role: Role) -> list[Observation]:
        """Return the observations of a role."""
        return [one for one in self.observations if one.role == role]

    def verdicts(self) -> list[Verdict]:
        """Answer what was asked. Pure: a run that was saved and loaded gets the same verdicts again."""
        return [_ANSWERS[question](self) for question in self.questions]

    def save(self, path: Path) -> None:
        """Write the run to a file as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        path.write_text(self.dumps() + "\n", encoding="utf-8")

    def dumps(self) -> str:
        """Write the run as one line of JSON."""
        return json.dumps({"format": FORMAT} | _encode(self), separators=(",", ":"))

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a run that `save` has written.

        Raises:
            OSError: the file cannot be read.
            ValueError: it does not hold a run; the message says what is wrong.
        """
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise ValueError(f"not a run: it holds more than {_MAX_FILE >> 20} MiB")
        return cls.loads(content)

    @classmethod
    def loads(cls, text: str | bytes) -> "Run":
        """Read a run that `dumps` has written.

        Raises:
            ValueError: it is no run; the message says what is wrong.
        """
        try:
            values = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from error
        if not isinstance(values, dict) or values.get("format") not in (FORMAT, _FORMAT_2):
            raise ValueError(f"not a run that can be judged again: its format is not {FORMAT!r}; observe it anew")
        run: Run = _decode(cls, _upgraded(values) if values["format"] == _FORMAT_2 else values, "")
        roles = [role for question in run.questions for role in ROLES[question]]
        if missing := [role for role in roles if not run.observed(role)]:
            raise ValueError(f"not a whole run: it holds no observation for {missing[0]!r}")
        if not run.observations or not run.questions:
            raise ValueError("not a whole run: it is empty")
        return run


# Which observations a question cannot be answered without. Only one connection can be told not to have come about.
ROLES: dict[Question, Sequence[Role]] = {
    "framing": ("stream",),
    "completeness": ("stream",),
    "timing": ("stream",),
    "backpressure": ("stalled",),
    "protocols": ("HTTP/1.0", "HTTP/1.0 with gzip", "HTTP/1.1", "HTTP/1.1 with gzip", "HTTP/1.1 reused"),
    "idle": ("stream",),
    "concurrency": ("concurrent", "short alone"),
    "pace": ("stream",),
}


def _of_stream(run: Run, question: Question) -> Verdict:
    """Return the worst of what is to be said of each time that the stream was asked for."""
    verdicts = [judge(one, (question,))[0] for one in run.observed("stream")]
    for result in ("FAIL", "INCONCLUSIVE"):
        if bad := [one for one in verdicts if one.result == result]:
            often = f"{len(bad)} of {len(verdicts)} times: " if len(verdicts) > 1 else ""
            return dataclasses.replace(bad[0], sentence=f"{often}{bad[0].sentence}")
    return verdicts[0]


def _timing(run: Run) -> Verdict:
    """Judge timing by the best evidence that there is: production times, else a baseline, else arrivals alone."""
    verdict = _of_stream(run, "timing")
    streams = run.observed("stream")
    pairs = list(map(Pair, run.observed("baseline"), streams))
    unclear = verdict.result == "INCONCLUSIVE" or verdict.numbers.get("evidence") == "arrivals"
    # What is no response to judge is none against a baseline either.
    if pairs and unclear and all(one.status is not None and 200 <= one.status < 300 for one in streams):
        return judge_baseline(pairs)
    return verdict


_ANSWERS: dict[Question, Callable[[Run], Verdict]] = {
    "framing": lambda run: _of_stream(run, "framing"),
    "completeness": lambda run: _of_stream(run, "completeness"),
    "timing": _timing,
    "backpressure": lambda run: judge_backpressure(run.observed("stalled")[0]),
    "protocols": lambda run: judge_protocols(run.observations),
    "idle": lambda run: judge_idle(run.observed("stream")[0]),
    "concurrency": lambda run: judge_concurrency(
        run.observed("concurrent"), run.observed("short"), run.observed("short alone")[0]
    ),
    "pace": lambda run: judge_pace(run.observed("stream")),
}


def _upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """Bring a run of format 2 up to date: there, what the user expects was spread over the run and its observations."""
    observations = values.get("observations")
    if not isinstance(observations, list) or not all(isinstance(one, dict) for one in observations):
        raise ValueError("not a run: observations has a wrong value")
    ours = {"backpressure": values.get("expect"), "read_timeout": values.get("read_timeout")}
    return values | {
        "observations": [
            one | {"expected": ours | {name: one.get(f"expected_{name}") for name in ("bytes", "sha256")}}
            for one in observations
        ]
    }


def _encode(record: Any) -> dict[str, Any]:
    """Write a dataclass, with those in it; its lists hold nothing else that JSON does not know."""
    values = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            values[name] = _encode(value)
    if isinstance(record, Run):
        values["observations"] = [_encode(one) for one in record.observations]
    return values


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Check a value out of JSON against a type and convert it (objects to dataclasses, arrays to lists and tuples)."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        fields = dataclasses.fields(kind)
        needed = {one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING}
        if missing := needed - value.keys():
            raise ValueError(f"not a whole run: it lacks {', '.join(sorted(missing))}")
        hints = get_type_hints(kind)
        names = [one.name for one in fields if one.name in value]
        return kind(**{name: _decode(hints[name], value[name], name) for name in names})  # type: ignore[operator]
    if get_origin(kind) in (types.UnionType, Union):
        (kind,) = (option for option in get_args(kind) if option is not types.NoneType)
        return None if value is None else _decode(kind, value, where)
    if get_origin(kind) is list and isinstance(value, list):
        (item,) = get_args(kind)
        return [_decode(item, one, where) for one in value]
    if get_origin(kind) is tuple and isinstance(value, list) and len(value) == len(get_args(kind)):
        return tuple(_decode(*pair, where) for pair in zip(get_args(kind), value, strict=True))
    if hasattr(kind, "_fields") and isinstance(value, list):
        hints = get_type_hints(kind)
        if len(hints) - len(kind._field_defaults) <= len(value) <= len(hints):
            return kind(*(_decode(*pair, where) for pair in zip(hints.values(), value, strict=False)))
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and type(value) is int and value >= 0:
        return value
    # Bounded, so that arithmetic on times from a file cannot overflow; NaN is not below the bound either.
    if kind is float and type(value) in (int, float) and abs(value) < 1e15:
        return float(value)
    raise ValueError(f"not a run: {where} has a wrong value")
