"""Apps of a few lines for servers and frameworks by other people.

`python -m uvicorn others:events`, `python -m waitress others:rows`
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route


async def _events(request: Request) -> EventSourceResponse:
    """Four events with a pause; it is the framework that sends a comment each second meanwhile."""

    async def produce() -> AsyncIterator[dict[str, str]]:
        for number in range(4):
            if number:
                await asyncio.sleep(float(request.query_params["pause"]))
            yield {"data": str(number)}

    return EventSourceResponse(produce(), ping=1)


events = Starlette(routes=[Route("/", _events)])


def rows(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
    """Six rows with the time of their production."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Stream-Promise", "rows=6, times=zeroed")])
    for number in range(1, 7):
        if number > 1:
            time.sleep(0.4)
        yield b"%08d %010d.%09d -\n" % (number, *divmod(time.time_ns(), 10**9))
