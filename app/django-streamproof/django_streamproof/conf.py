"""The Django setting STREAMPROOF, and what the environment overrides. Each key may be left out; these are the defaults:

    STREAMPROOF = {
        "LOG_FORMAT": "json",
        "METRICS_PORT": 9000,
        "STREAM_SECONDS": 960,
        "STREAMS_PER_WORKER": None,
        "TRUSTED_EDGES": ["127.0.0.1", "::1"],
    }

    LOG_FORMAT: "json" or "text". Environment: LOG_FORMAT.
    METRICS_PORT: where /metrics is answered, and nothing else, 1 to 65535. Environment: METRICS_PORT.
    STREAM_SECONDS: how long a stream may last, 1 to 86400. Environment: STREAM_SECONDS.
    STREAMS_PER_WORKER: how many streams a worker may have open, 1 to 100000. With gthread less than its threads, by
        default all but four of them, and at least half; with asgi 500 by default. Environment: STREAMS_PER_WORKER.
    TRUSTED_EDGES: addresses and networks of the edge, or "*" for any. Only from there X-Forwarded-For,
        X-Forwarded-Proto and X-Request-ID are believed. Environment: FORWARDED_ALLOW_IPS, separated by commas.

A value that cannot be used stops the start with one sentence; `manage.py check` lists all of them.
"""

import difflib
import functools
import ipaddress
import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_STREAMS = 100_000

# In the order in which they must come, before Django's own: the first sees whatever answers, the second counts what is
# sent and gives out slots before a transaction begins, the last answers before Host is checked or https asked for.
MIDDLEWARE = (
    "django_streamproof.requests.logged",
    "django_streamproof.middleware.bounded",
    "django_streamproof.middleware.head_without_body",
    "django_streamproof.health.probes",
)

DEFAULTS: dict[str, Any] = {
    "LOG_FORMAT": "json",
    "METRICS_PORT": 9000,
    # 15 minutes, which the demo's measuring stream may last, and one for what comes on top of its pauses.
    "STREAM_SECONDS": 960,
    "STREAMS_PER_WORKER": None,
    "TRUSTED_EDGES": ["127.0.0.1", "::1"],
}
_VARIABLES = {key: key for key in DEFAULTS} | {"TRUSTED_EDGES": "FORWARDED_ALLOW_IPS"}


@dataclass(frozen=True)
class Conf:
    """What is in force."""

    log_format: str
    metrics_port: int
    stream_seconds: int
    streams_per_worker: int | None
    trusted_edges: tuple[Network, ...]


@functools.cache
def conf() -> Conf:
    """Return what is in force, for as long as the setting stays the same.

    Raises:
        ImproperlyConfigured: a value cannot be used; the message is one sentence.
    """
    values, wrong = read(getattr(settings, "STREAMPROOF", {}))
    if wrong:
        raise ImproperlyConfigured(wrong[0])
    return Conf(**{key.lower(): value for key, value in values.items()})


def _forget(*, setting: str, **_: object) -> None:
    if setting == "STREAMPROOF":
        conf.cache_clear()


# By override_settings, in tests.
setting_changed.connect(_forget)


def read(setting: object) -> tuple[dict[str, Any], list[str]]:
    """Return the values in force, and a sentence for each that cannot be used."""
    given: dict[str, tuple[str, Any]] = {key: (key, value) for key, value in DEFAULTS.items()}
    wrong = []
    if not isinstance(setting, dict):
        wrong.append(f"STREAMPROOF is {setting!r}, but must be a dict.")
        setting = {}
    for key, value in setting.items():
        if key in DEFAULTS:
            given[key] = (f'STREAMPROOF["{key}"]', value)
            continue
        near = difflib.get_close_matches(str(key).upper(), DEFAULTS, 1)
        meant = f"did you mean {near[0]!r}?" if near else f"its keys are {', '.join(DEFAULTS)}."
        wrong.append(f"STREAMPROOF has an unknown key {key!r}: {meant}")
    for key, variable in _VARIABLES.items():
        if variable in os.environ:
            given[key] = (variable, _from_text(key, os.environ[variable]))
    values = {}
    for key, (name, value) in given.items():
        try:
            values[key] = _CHECKS[key](value)
        except ValueError as error:
            shown = os.environ.get(name, value)
            wrong.append(f"{name} is {shown!r}, but must be {error}.")
    return values, wrong


def clashes(middleware: Sequence[str]) -> list[str]:
    """Return a sentence for each of two middlewares that are in the wrong order."""
    ours = [each for each in middleware if each in MIDDLEWARE]
    wrong = [
        f"MIDDLEWARE has {second} before {first}: it must come after it."
        for second, first in itertools.pairwise(ours)
        if MIDDLEWARE.index(second) >= MIDDLEWARE.index(first)
    ]
    for number, each in enumerate(middleware):
        behind = [one for one in middleware[number:] if one in MIDDLEWARE]
        if behind and each.startswith("django."):
            wrong.append(f"MIDDLEWARE has {each} before {behind[0]}: those of django_streamproof must come first.")
    return wrong


def _from_text(key: str, text: str) -> Any:
    if key == "TRUSTED_EDGES":
        return text if text == "*" else text.split(",")
    if key == "LOG_FORMAT":
        return text
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text


def _log_format(value: Any) -> str:
    if value not in ("json", "text"):
        raise ValueError("json or text")
    return str(value)


def _whole(highest: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not 1 <= value <= highest:
            raise ValueError(f"a whole number from 1 to {highest}")
        return value

    return check


def _streams(value: Any) -> int | None:
    return None if value is None else _whole(MOST_STREAMS)(value)


def _edges(value: Any) -> tuple[Network, ...]:
    if value == "*":
        return (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    try:
        if not isinstance(value, list | tuple):
            raise ValueError("it is no list")
        return tuple(ipaddress.ip_network(network.strip()) for network in value)
    except (AttributeError, ValueError) as error:
        raise ValueError(f"addresses and networks, or *: {error}") from error


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "LOG_FORMAT": _log_format,
    "METRICS_PORT": _whole(65535),
    "STREAM_SECONDS": _whole(86_400),
    "STREAMS_PER_WORKER": _streams,
    "TRUSTED_EDGES": _edges,
}
