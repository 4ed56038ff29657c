"""The same CSV at once and as a stream, a stream made for measuring in three formats, and bytes of any number.

For WSGI, where a thread serves each request and may wait. For ASGI there are the same in async_views.
"""

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django_streamproof import streaming
from django_streamproof.batching import batched, csv_batched

from download.answers import CSV, binary_headers, measured, no_more_rows, slot_of, stream, takes, whole_csv
from download.binary import binary_chunks
from download.pacing import sleeping
from download.params import BinaryParams, CsvParams, CsvStreamParams, MeasureParams
from download.rows import csv_records, csv_rows


@takes(CsvParams)
def download_csv(request: HttpRequest, params: CsvParams) -> HttpResponse:
    """Return the CSV in a single piece."""
    with slot_of(request, params) as refusal:
        if refusal:
            return refusal
        # Not a list of all rows: each of these objects is three times as large as its row.
        body = bytearray()
        for chunk in _rows(params):
            body += chunk
        return whole_csv(bytes(body))


def _rows(params: CsvParams | CsvStreamParams) -> Iterator[bytes]:
    if params.delay_ms:
        return sleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    return csv_batched(csv_records(params.rows))


@streaming()
@takes(CsvStreamParams)
def download_csv_streaming(request: HttpRequest, params: CsvStreamParams) -> StreamingHttpResponse:
    """Return the CSV row by row, each as soon as it is there, or in batches.

    Without a Content-Length gunicorn chooses chunked framing, and each yield becomes a chunk (RFC 9112 section 7.1).
    """
    if params.chunk == "batch" and not params.delay_ms:
        return stream(_rows(params), CSV, params)
    rows = sleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    if params.chunk == "batch":
        # Only in a thread of its own can a pause not make a row wait for longer than the batch's age.
        rows = batched(rows, thread=True)
    return stream(rows, CSV, params)


@streaming()
@takes(MeasureParams)
def measure(request: HttpRequest, params: MeasureParams) -> HttpResponse | StreamingHttpResponse:
    """Return rows that carry the time of their production."""
    answer = measured(request, params)
    if answer is None:
        return no_more_rows()
    rows, headers = answer
    return stream(sleeping(rows), headers, params)


@streaming()
@takes(BinaryParams)
def binary(request: HttpRequest, params: BinaryParams) -> StreamingHttpResponse:
    """Return that many bytes in chunks of one size."""
    chunks = binary_chunks(size=params.size, chunk_bytes=params.chunk_bytes)
    return stream(chunks, binary_headers(params), params)
