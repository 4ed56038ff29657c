"""What the environment says of streams and their logs, read once and checked: a project needs no settings for it.

    FORWARDED_ALLOW_IPS: addresses and networks of the edge, separated by commas, or * for any; gunicorn reads it too.
        Only from there X-Forwarded-For and X-Forwarded-Proto are believed. By default 127.0.0.1,::1.
    LOG_FORMAT: json or text, json by default.
    STREAM_SECONDS: how long a stream may last, 1 to 86400; 960 by default.

django_streamproof.gunicorn also reads WORKER_CLASS and STREAMS_PER_WORKER.
A value that cannot be used stops the start with ImproperlyConfigured, which says what is wrong.
"""

import ipaddress
import os
import re

from django.core.exceptions import ImproperlyConfigured


def choice(name: str, *options: str) -> str:
    """Return one of the options, the first by default.

    Raises:
        ImproperlyConfigured: the variable is something else.
    """
    value = os.environ.get(name, options[0])
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}, but must be {', '.join(options[:-1])} or {options[-1]}.")
    return value


def _networks(name: str, default: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    value = os.environ.get(name, default)
    if value == "*":
        return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    try:
        return [ipaddress.ip_network(network.strip()) for network in value.split(",")]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name} is {value!r}, but must be addresses and networks separated by commas, or *: {error}."
        ) from error


def _number(name: str, default: int, lowest: int, highest: int) -> int:
    value = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
        raise ImproperlyConfigured(f"{name} is {value!r}, but must be a whole number from {lowest} to {highest}.")
    return int(value)


LOG_FORMAT = choice("LOG_FORMAT", "json", "text")
# 15 minutes, which the demo's measuring stream may last, and one for what comes on top of its pauses.
STREAM_SECONDS = _number("STREAM_SECONDS", default=960, lowest=1, highest=86_400)
TRUSTED_EDGES = _networks("FORWARDED_ALLOW_IPS", default="127.0.0.1,::1")
