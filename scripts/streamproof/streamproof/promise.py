"""The header in which an app promises what its stream will contain.

    X-Stream-Promise: rows=20, bytes=1280, sha256=<64 hex digits>, times=zeroed

`rows` counts lines ending in "\\n", `bytes` and `sha256` are of the body. With `times=zeroed` each row is

    NNNNNNNN SSSSSSSSSS.NNNNNNNNN filler

(row number from 1, Unix time at which the app produced the row), and the digest was taken with every time replaced by
`0000000000.000000000`. Every key is optional, unknown keys are ignored.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = "x-stream-promise"


@dataclass(frozen=True)
class Promise:
    """What the app says that the stream will be; None where it says nothing.

    Attributes:
        rows: number of lines that end in "\\n".
        bytes: number of body bytes.
        sha256: digest of the body, 64 lower-case hex digits.
        times_zeroed: each row carries its production time, and the digest was taken with these zeroed.
    """

    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    times_zeroed: bool = False


def parse_promise(headers: Iterable[tuple[str, str]]) -> Promise | None:
    """Read the promise from a response's headers.

    Args:
        headers: pairs of name and value.

    Returns:
        The promise, or None if the response carries none.

    Raises:
        ValueError: the header cannot be understood; the message says why.
    """
    values = [value for name, value in headers if name.lower() == HEADER]
    if not values:
        return None
    found: dict[str, str] = {}
    # A field that occurs twice means the same as one with both values, joined by a comma (RFC 9110 section 5.3).
    for item in ",".join(values).split(","):
        if not item.strip():  # empty elements of a list are ignored (RFC 9110 section 5.6.1)
            continue
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"{item.strip()!r} is not a key, '=' and a value")
        if found.setdefault(key, value) != value:
            raise ValueError(f"{key} is given twice, as {found[key]!r} and as {value!r}")
    sha256 = found.get("sha256")
    if sha256 is not None and not is_sha256(sha256):
        raise ValueError(f"sha256={sha256!r} is not 64 hex digits")
    if found.get("times", "zeroed") != "zeroed":
        raise ValueError(f"times={found['times']!r} is not known, only times=zeroed is")
    return Promise(
        rows=_number("rows", found.get("rows")),
        bytes=_number("bytes", found.get("bytes")),
        sha256=sha256.lower() if sha256 else None,
        times_zeroed="times" in found,
    )


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 digest in hex."""
    return re.fullmatch("[0-9a-fA-F]{64}", text) is not None


def _number(key: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", value):
        raise ValueError(f"{key}={value!r} is not a number")
    return int(value)
