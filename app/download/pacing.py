"""When it is streamed: what is yielded says where to wait, and whoever drives it does the waiting.

So one generator serves threads and an event loop, and tests need not wait at all.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from django_streamproof import pause

# Seconds for which a stream that never waits may keep an event loop from all its other connections.
_TURN = 0.005


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


async def asleeping(steps: Iterable[bytes | Pause]) -> AsyncGenerator[bytes, None]:
    """Yield the bytes among the steps, and let the event loop go on meanwhile where one is a pause.

    And now and then where none is: an `await` of something that is ready gives nobody else a turn, nor does a write to
    a client that reads fast, so a stream that is made without waiting would hold up all others, and the probes.

    Args:
        steps: must not wait themselves.
    """
    turn = time.monotonic()
    for step in steps:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            turn = time.monotonic()
        else:
            yield step
            if time.monotonic() - turn > _TURN:
                await asyncio.sleep(0)
                turn = time.monotonic()
