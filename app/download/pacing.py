"""When it is streamed: what is yielded says where to wait, and whoever drives it does the waiting.

So one generator serves threads and, with a driver that awaits, an event loop; and tests need not wait at all.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from streams import pause


@dataclass(frozen=True)
class Pause:
    """A wait before what comes next."""

    seconds: float


Steps = Generator[bytes | Pause, None, None]


def sleeping(steps: Steps) -> Iterator[bytes]:
    """Yield the bytes among the steps, and sleep where one is a pause, unless the stream is broken off meanwhile.

    Closing this closes the steps.
    """
    with closing(steps):
        for step in steps:
            if isinstance(step, Pause):
                pause(step.seconds)
            else:
                yield step
