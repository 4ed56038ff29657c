"""Middleware that is written once, for WSGI and for ASGI."""

from collections.abc import Callable, Generator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Handler = Callable[[HttpRequest], Generator[None, HttpResponseBase, HttpResponseBase]]


def around(handler: Handler) -> Callable[[Any], Any]:
    """Make a middleware of a generator that yields once, and is sent the response that the rest has made.

    What it returns is the response; if it returns without a yield, the rest is not asked. Django would call a
    synchronous middleware in a thread under ASGI, and that for each request. See
    https://docs.djangoproject.com/en/5.2/topics/http/middleware/#asynchronous-support

    Args:
        handler: must not wait for anything, as under ASGI all connections would.
    """

    @sync_and_async_middleware  # type: ignore[untyped-decorator]
    def middleware(get_response: Any) -> Any:
        if iscoroutinefunction(get_response):

            async def handle_async(request: HttpRequest) -> HttpResponseBase:
                steps = handler(request)
                return _before(steps) or _after(steps, await get_response(request))

            return handle_async

        def handle(request: HttpRequest) -> HttpResponseBase:
            steps = handler(request)
            return _before(steps) or _after(steps, get_response(request))

        return handle

    made: Callable[[Any], Any] = middleware
    return made


def _before(steps: Generator[None, HttpResponseBase, HttpResponseBase]) -> HttpResponseBase | None:
    try:
        next(steps)
    except StopIteration as answered:
        response: HttpResponseBase = answered.value
        return response
    return None


def _after(steps: Generator[None, HttpResponseBase, HttpResponseBase], response: HttpResponseBase) -> HttpResponseBase:
    try:
        steps.send(response)
    except StopIteration as done:
        changed: HttpResponseBase = done.value
        return changed
    raise RuntimeError("a middleware yields once")
