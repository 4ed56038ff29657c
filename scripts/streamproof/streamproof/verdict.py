"""What a verdict is: a result, one sentence, and the numbers behind it."""

from dataclasses import dataclass, field
from typing import Literal

Result = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Number = int | float | str | None

# What is shown of one text, in characters, whoever it is from.
MAX_SHOWN = 2000


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about one observation.

    Attributes:
        question: "framing", "completeness" and so on, as in `run.Question`.
        result: PASS, FAIL, or INCONCLUSIVE where what was observed does not allow an answer.
        sentence: the answer in words, for somebody who has not read this code.
        numbers: what the answer rests on; a name that ends in `_ms` is in milliseconds.
        counts: whether it is part of the overall verdict, as long as any is.
    """

    question: str
    result: Result
    sentence: str
    numbers: dict[str, Number] = field(default_factory=dict)
    counts: bool = True


def ms(seconds: float) -> str:
    """Format seconds as milliseconds for a sentence: one decimal below 10 ms, none above."""
    value = seconds * 1000
    return f"{value:.1f} ms" if abs(value) < 10 else f"{value:.0f} ms"


def secs(seconds: float) -> str:
    """Format seconds for a sentence about things that take seconds: one decimal."""
    return f"{seconds:.1f} s"


def to_ms(seconds: float) -> float:
    """Convert seconds to milliseconds, rounded to a microsecond, for a verdict's numbers."""
    return round(seconds * 1000, 3)


def count(number: int, noun: str) -> str:
    """Put a number before its noun: "1 row", "12 rows", "3 deliveries"."""
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def bounded(text: str, most: int = MAX_SHOWN) -> str:
    """Cut the middle out of a text that a server, a tenant or the API may have made too long to be shown."""
    return text if len(text) <= most else f"{text[: most * 3 // 4]}…{text[-most // 4 :]}"


def printable(text: str) -> str:
    """Escape what somebody may have put into a text to steer a terminal, or to hide what stands there; and bound it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in bounded(text))
