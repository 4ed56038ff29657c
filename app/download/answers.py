"""What the views for WSGI and those for ASGI have in common: all but who waits."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase, StreamingHttpResponse
from django_streamproof.middleware import slot
from django_streamproof.registry import Mark

from download.binary import binary_promise
from download.formats import FORMATS, SSE
from download.pacing import Steps
from download.params import (
    BadParameter,
    BinaryParams,
    CsvParams,
    CsvStreamParams,
    MeasureParams,
    Params,
    parse,
    parse_last_event_id,
)
from download.rows import measured_rows, promise

CSV = {"Content-Type": "text/csv", "Content-Disposition": "attachment; filename=big.csv"}
# Rows of the CSV in a single piece from which on it takes a slot, some 200 kB; and how many of these a worker may hold.
_LARGE = 10_000
_WHOLE = Mark(limit=4, seconds=None)
_TEXT = "text/plain; charset=utf-8"


def takes(kind: type[Params]) -> Callable[[Callable[[HttpRequest, Params], Any]], Callable[[HttpRequest], Any]]:
    """Give a view its parameters, and answer 400 and a sentence where one cannot be used."""

    def decorate(view: Callable[[HttpRequest, Params], Any]) -> Callable[[HttpRequest], Any]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def async_checked(request: HttpRequest) -> HttpResponseBase:
                try:
                    response: HttpResponseBase = await view(request, parse(kind, request.GET.lists()))
                    return response
                except BadParameter as error:
                    return _bad(error)

            return async_checked

        @wraps(view)
        def checked(request: HttpRequest) -> HttpResponseBase:
            try:
                response: HttpResponseBase = view(request, parse(kind, request.GET.lists()))
                return response
            except BadParameter as error:
                return _bad(error)

        return checked

    return decorate


def _bad(error: BadParameter) -> HttpResponse:
    return HttpResponseBadRequest(f"{error}\n", content_type=_TEXT, headers={"Cache-Control": "no-store"})


def no_more_rows() -> HttpResponse:
    """Tell a browser that its events are over; kept by a cache, that would stop every EventSource."""
    return HttpResponse(status=204, headers={"Cache-Control": "no-store"})


def slot_of(request: HttpRequest, params: CsvParams) -> AbstractContextManager[HttpResponse | None]:
    """Hold a slot where the CSV in one piece takes long or much memory; see `django_streamproof.middleware.slot`."""
    if params.rows > _LARGE:
        return slot(request, _WHOLE)
    return slot(request) if params.delay_ms else nullcontext()


def whole_csv(body: bytes) -> HttpResponse:
    """Return the CSV in a single piece."""
    response = HttpResponse(body, headers=CSV)
    # In bytes, so of the encoded body: a length in characters is too small as soon as one is not ASCII.
    response["Content-Length"] = len(body)
    return response


def stream(
    chunks: Iterator[bytes] | AsyncIterator[bytes],
    headers: dict[str, str],
    params: CsvStreamParams | MeasureParams | BinaryParams,
) -> StreamingHttpResponse:
    """Return chunks as they come."""
    # Not by default: an edge that streams only because of this header would pass for one that is set up to stream.
    asked = {"X-Accel-Buffering": params.accel_buffering} if params.accel_buffering else {}
    return StreamingHttpResponse(chunks, headers=headers | asked)


def measured(request: HttpRequest, params: MeasureParams) -> tuple[Steps, dict[str, str]] | None:
    """Return the rows that were asked for, and a header that promises in advance what they will be.

    A browser whose server-sent events broke off comes again with Last-Event-ID and gets those that follow.

    Returns:
        None when there are none: 204 then keeps the browser from coming again and again.

    Raises:
        BadParameter: Last-Event-ID is no number of a row.
    """
    form = FORMATS[params.format]
    after = parse_last_event_id(request.headers.get("Last-Event-ID"), params.rows) if form is SSE else 0
    if after == params.rows:
        return None
    rows = measured_rows(
        rows=params.rows,
        size=params.size,
        delay_ms=params.delay_ms,
        fail_after=params.fail_after,
        heartbeat_ms=params.heartbeat_ms,
        after=after,
        form=form,
    )
    headers = {"Content-Type": form.content_type, "Cache-Control": "no-store"}
    promised = promise(rows=params.rows, size=params.size, heartbeat_ms=params.heartbeat_ms, after=after, form=form)
    if promised:
        headers["X-Stream-Promise"] = promised
    return rows, headers


def binary_headers(params: BinaryParams) -> dict[str, str]:
    """Return the header of the binary stream, which promises in advance what it will be."""
    return {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-store",
        "X-Stream-Promise": binary_promise(params.size),
    }
