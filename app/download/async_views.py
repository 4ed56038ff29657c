"""The views of `views`, for ASGI: one event loop serves all requests, so nothing in here waits but by `await`.

What computes for long, as a digest of many bytes in advance, does it in a thread.
"""

import asyncio
from contextlib import nullcontext

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from streams.batching import abatched, csv_batched
from streams.middleware import slot

from download.answers import CSV, binary_headers, measured, no_more_rows, stream, takes, whole_csv
from download.binary import binary_chunks
from download.pacing import asleeping
from download.params import BinaryParams, CsvParams, CsvStreamParams, MeasureParams
from download.rows import csv_records, csv_rows


@takes(CsvParams)
async def download_csv(request: HttpRequest, params: CsvParams) -> HttpResponse:
    """Return the CSV in a single piece."""
    with slot(request) if params.delay_ms else nullcontext() as refusal:
        rows = asleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
        return refusal or whole_csv(b"".join([row async for row in rows]))


@takes(CsvStreamParams)
async def download_csv_streaming(request: HttpRequest, params: CsvStreamParams) -> StreamingHttpResponse:
    """Return the CSV row by row, each as soon as it is there, or in batches."""
    if params.chunk == "batch" and not params.delay_ms:
        return stream(asleeping(csv_batched(csv_records(params.rows))), CSV, params)
    rows = asleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    if params.chunk == "batch":
        rows = abatched(rows)
    return stream(rows, CSV, params)


@takes(MeasureParams)
async def measure(request: HttpRequest, params: MeasureParams) -> HttpResponse | StreamingHttpResponse:
    """Return rows that carry the time of their production."""
    answer = await asyncio.to_thread(measured, request, params)
    if answer is None:
        return no_more_rows()
    rows, headers = answer
    return stream(asleeping(rows), headers, params)


@takes(BinaryParams)
async def binary(request: HttpRequest, params: BinaryParams) -> StreamingHttpResponse:
    """Return that many bytes in chunks of one size."""
    chunks = binary_chunks(size=params.size, chunk_bytes=params.chunk_bytes)
    return stream(asleeping(chunks), await asyncio.to_thread(binary_headers, params), params)
