"""What the user expects of a stream, beside what the app promises of it."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["backpressure", "absorb"]


@dataclass(frozen=True)
class Expected:
    """What the user expects; None where nothing is.

    A new expectation is a field here, an option in `cli.options`, and a rule of the judge that reads it.

    Attributes:
        bytes: of the body.
        sha256: digest of the body, 64 lower-case hex digits.
        events: how many there should be.
        last: what the last line that is not empty must contain.
        backpressure: what happens to a stream while its client stalls.
        read_timeout: seconds without a byte that the stream must survive.
        max_first_event: seconds from the request to the first event, at most.
        max_gap_p99: seconds from an event to the next, at most, for 99 % of them.
    """

    bytes: int | None = None
    sha256: str | None = None
    events: int | None = None
    last: str | None = None
    backpressure: Outcome | None = None
    read_timeout: float | None = None
    max_first_event: float | None = None
    max_gap_p99: float | None = None
