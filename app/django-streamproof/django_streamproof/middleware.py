"""Puts every streaming response under the rules of this package, so that views need not know of them."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator

from asgiref.sync import SyncToAsync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve

from django_streamproof import metrics
from django_streamproof.around import around
from django_streamproof.conf import conf
from django_streamproof.registry import Mark, Place, begun, registry
from django_streamproof.stream import AsyncBody, Body, SentFile, Stream, unlogged

logger = logging.getLogger("streams")

# The unmarked views of which it was logged.
_told: set[str] = set()
_RETRY_SECONDS = 5
# Bytes of a file that may be sent without a slot: most of it fits into what sockets hold, and pages have many such.
_SMALL_FILE = 1 << 20
# Bytes that are read from a file at a time, where sendfile isn't there; Django's 4 KiB are for small machines.
_BLOCK = 64 << 10

# Whatever server this runs in; where it is not gunicorn, nobody writes to that logger.
logging.getLogger("gunicorn.error").addFilter(unlogged)


class WrongIterator(TypeError):
    """A view streams an iterator that this server cannot take one by one; the message says which one it needs."""


@around
def bounded(request: HttpRequest) -> Generator[None, HttpResponseBase, HttpResponseBase]:
    """Give each stream a slot, a time limit and an account, or refuse it with 503 when all slots are taken.

    A thread serves one stream for as long as it lasts. With every thread in one, the probes would wait, and the kubelet
    would kill a pod full of healthy streams. A view that is marked by `django_streamproof.streaming` has its slot
    before it runs. Another has run by then, but its generator has not been started.

    Outside of what changes the body, to count what is sent, and inside of `django_streamproof.requests.logged`.

    Raises:
        WrongIterator: under ASGI a synchronous iterator, or under WSGI an asynchronous one. Django would collect all of
            it before the first byte. See
            https://docs.djangoproject.com/en/5.2/ref/request-response/#django.http.StreamingHttpResponse
    """
    view, mark = _resolved(request)
    places: list[Place] = []
    request.places = places
    if mark is not None and not _take(request, mark):
        metrics.ENDED.labels("refused").inc()
        return _refusal(request)
    try:
        response = yield
        return _bounded(request, response, view, mark)
    finally:
        # What was not handed on to the response.
        for place in places:
            place.lose()


def _bounded(request: HttpRequest, response: HttpResponseBase, view: str, mark: Mark | None) -> HttpResponseBase:
    asynchronous = isinstance(request, ASGIRequest)
    seconds = (mark and mark.seconds) or conf().stream_seconds
    if not response.streaming:
        _keep_places(request, response, seconds)
        return response
    # The body of these answers is empty: no thread is held.
    if request.method == "HEAD" or response.status_code in (204, 304):
        if asynchronous and not response.is_async:
            response.streaming_content = _nothing()
        return response
    file, length = None, None
    if isinstance(response, FileResponse):
        file = response.file_to_stream
        length = int(response["Content-Length"]) if "Content-Length" in response else None
        response.block_size = max(response.block_size, _BLOCK)
        if asynchronous and not response.is_async:
            response.streaming_content = _in_threads(response.streaming_content)
        if file is not None and length is not None and length < _SMALL_FILE:
            return response
    if response.is_async != asynchronous:
        needed = "an asynchronous iterator under ASGI" if asynchronous else "a synchronous iterator under WSGI"
        raise WrongIterator(f"{request.path} must stream {needed}: Django collects the other before the first byte")
    fields = {"method": request.method, "path": request.path, "status": response.status_code}
    fields |= getattr(request, "log_fields", {})
    stream = Stream(
        registry,
        f"{fields['method']} {fields['path']} {response.status_code}",
        fields,
        getattr(request, "started", time.monotonic()),
        lambda: _hang_up(request),
        mark,
    )
    if not stream.begin(seconds, instead_of=request.places[0] if request.places else None):
        _drop(response)
        if view not in _told:
            _told.add(view)
            logger.warning("%s has run before its stream was refused: mark it by @streaming()", view)
        return _refusal(request)
    request.streamed = True
    try:
        if not asynchronous:
            _close_connections()
        source = response.streaming_content
        body = AsyncBody(stream, source, _leave_thread) if asynchronous else Body(stream, source)
        response.streaming_content = body
        if file is not None and isinstance(body, Body):
            response.file_to_stream = SentFile(stream, body, file, length)
    except BaseException:
        stream.lose()
        raise
    return response


def _close_connections() -> None:
    """Close this thread's database connections, which a view or a login has opened, before a stream takes its time.

    Its source opens one if it queries. A transaction that goes on around the stream keeps its own.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def _leave_thread() -> None:
    """Close the connections and end the thread that Django keeps for what is synchronous in a request under ASGI.

    It would keep both until the stream is over. If something synchronous comes, there will be a new one. Nothing is
    done where an application has chosen the thread itself, as others may be in it.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None or getattr(context, "_executor", None) is not None:
        return
    if context in SyncToAsync.context_to_thread_executor:
        await sync_to_async(_close_connections)()
        SyncToAsync.context_to_thread_executor.pop(context).shutdown(wait=False)


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a file's chunks; each is read in a thread, as a disk may be slow."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


@contextlib.contextmanager
def slot(request: HttpRequest, mark: Mark | None = None) -> Iterator[HttpResponse | None]:
    """Hold a slot until the response of a view is sent that waits before it answers, or holds much in memory.

    Args:
        request: that which the view was given.
        mark: bounds how many there may be, besides the worker's slots.

    Yields:
        None, or the refusal to return when all slots are taken.
    """
    place = _take(request, mark)
    try:
        yield None if place else _refusal(request)
    finally:
        if place and not hasattr(request, "places"):
            place.lose()


def _take(request: HttpRequest, mark: Mark | None) -> Place | None:
    place = Place(registry, mark)
    if not registry.take(place):
        return None
    getattr(request, "places", []).append(place)
    if (of_request := begun.get()) is not None:
        of_request.append(place)
    return place


def _keep_places(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """Keep the slots until a response in one piece is sent, for as long as a stream might take."""
    deadline = getattr(request, "started", time.monotonic()) + seconds
    for place in request.places:
        sending = Place(registry, place.mark, deadline, lambda: _hang_up(request))
        registry.take(sending, instead_of=place)
        if (of_request := begun.get()) is not None:
            of_request.append(sending)
        response._resource_closers.append(sending.lose)


def _resolved(request: HttpRequest) -> tuple[str, Mark | None]:
    """Return the name of the view that will be called and its mark."""
    try:
        match = resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return request.path_info, None
    # Ninja has one view for all methods of a path, which calls one of its operations, and the mark is on that.
    if getattr(match.func, "__module__", "") == "ninja.operation":
        for cell in match.func.__closure__ or ():
            for operation in getattr(cell.cell_contents, "operations", ()):
                if request.method in operation.methods:
                    view = operation.view_func
                    return f"{view.__module__}.{view.__qualname__}", getattr(view, "streams_mark", None)
    return match._func_path, getattr(match.func, "streams_mark", None)


def _drop(response: HttpResponseBase) -> None:
    """Close what a response holds.

    Not by its `close`, which would send `request_finished` while the request goes on.
    """
    for close in response._resource_closers:
        with contextlib.suppress(Exception):
            close()


def _refusal(request: HttpRequest) -> HttpResponse:
    if hasattr(request, "log_fields"):
        request.log_fields["outcome"] = "refused"
    return HttpResponse(
        f"All streams that this worker may have open are taken: try again in {_RETRY_SECONDS} s.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(_RETRY_SECONDS), "Cache-Control": "no-store"},
    )


def _hang_up(request: HttpRequest) -> None:
    """Wake what is sending to a client that doesn't read, and let no further byte out.

    gunicorn hands the socket over in the WSGI environ, and django_streamproof.workers.EventLoop a function in the ASGI
    scope. Elsewhere, as in runserver, the stream ends with its next chunk.
    """
    if isinstance(request, ASGIRequest):
        hang_up = request.scope.get("extensions", {}).get("django_streamproof.hang_up")
        if hang_up:
            hang_up()
        return
    connection: socket.socket | None = request.META.get("gunicorn.socket")
    if connection is not None:
        # The client may have been faster.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@around
def head_without_body(request: HttpRequest) -> Generator[None, HttpResponseBase, HttpResponseBase]:
    """Answer HEAD with the header alone, without starting the generator of a stream (RFC 9110 section 9.3.2).

    Django leaves that to the server, and gunicorn would run the generator to its end and drop every row.
    """
    response = yield
    if request.method == "HEAD":
        if response.streaming:
            response.streaming_content = _nothing() if isinstance(request, ASGIRequest) else ()
        else:
            response.content = b""
    return response


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
