"""The same CSV at once and as a stream, a stream made for measuring in three formats, and bytes of any number."""

import io
from collections.abc import Callable, Iterator
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase, StreamingHttpResponse

from download.batching import batched
from download.binary import binary_chunks, binary_promise
from download.formats import FORMATS, SSE
from download.pacing import sleeping
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
from download.rows import csv_rows, measured_rows, promise

_CSV = {"Content-Type": "text/csv", "Content-Disposition": "attachment; filename=big.csv"}
_TEXT = "text/plain; charset=utf-8"


def _takes(
    kind: type[Params],
) -> Callable[[Callable[[HttpRequest, Params], HttpResponseBase]], Callable[[HttpRequest], HttpResponseBase]]:
    """Give a view its parameters, and answer 400 and a sentence where one cannot be used."""

    def decorate(view: Callable[[HttpRequest, Params], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
        @wraps(view)
        def checked(request: HttpRequest) -> HttpResponseBase:
            try:
                return view(request, parse(kind, request.GET.lists()))
            except BadParameter as error:
                return HttpResponseBadRequest(f"{error}\n", content_type=_TEXT)

        return checked

    return decorate


@_takes(CsvParams)
def download_csv(request: HttpRequest, params: CsvParams) -> HttpResponse:
    """Return the CSV in a single piece."""
    body = io.BytesIO()
    body.writelines(sleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms)))
    response = HttpResponse(body.getvalue(), headers=_CSV)
    # In bytes, so of the encoded body: a length in characters is too small as soon as one is not ASCII.
    response["Content-Length"] = body.tell()
    return response


@_takes(CsvStreamParams)
def download_csv_streaming(request: HttpRequest, params: CsvStreamParams) -> StreamingHttpResponse:
    """Return the CSV row by row, each as soon as it is there, or in batches.

    Without a Content-Length gunicorn chooses chunked framing, and each yield becomes a chunk (RFC 9112 section 7.1).
    """
    rows = sleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    if params.chunk == "batch":
        # Only a pause could make a row wait for longer than the batch's age.
        rows = batched(rows, thread=params.delay_ms > 0)
    return _stream(rows, _CSV, params.accel_buffering)


@_takes(MeasureParams)
def measure(request: HttpRequest, params: MeasureParams) -> HttpResponseBase:
    """Return rows that carry the time of their production, and promise in the header what they will be.

    A browser whose server-sent events broke off comes again with Last-Event-ID and gets those that follow; if there are
    none, it gets 204, which keeps it from coming again and again.
    """
    form = FORMATS[params.format]
    after = parse_last_event_id(request.headers.get("Last-Event-ID"), params.rows) if form is SSE else 0
    if after == params.rows:
        return HttpResponse(status=204)
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
    return _stream(sleeping(rows), headers, params.accel_buffering)


@_takes(BinaryParams)
def binary(request: HttpRequest, params: BinaryParams) -> StreamingHttpResponse:
    """Return that many bytes in chunks of one size, and promise in the header what they will be."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-store",
        "X-Stream-Promise": binary_promise(params.size),
    }
    chunks = binary_chunks(size=params.size, chunk_bytes=params.chunk_bytes)
    return _stream(chunks, headers, params.accel_buffering)


def _stream(chunks: Iterator[bytes], headers: dict[str, str], accel_buffering: str | None) -> StreamingHttpResponse:
    # Not by default: an edge that streams only because of this header would pass for one that is set up to stream.
    asked = {"X-Accel-Buffering": accel_buffering} if accel_buffering else {}
    return StreamingHttpResponse(chunks, headers=headers | asked)
