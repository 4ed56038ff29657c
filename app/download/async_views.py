"""The views of `views`, for ASGI: one event loop serves all requests, so nothing in here waits but by `await`.

What computes for long, as a digest of many bytes in advance, does it in a thread.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django_streamproof import streaming
from django_streamproof.batching import abatched, csv_batched

from download.answers import CSV, binary_headers, measured, no_more_rows, slot_of, stream, takes, whole_csv
from download.binary import binary_chunks
from download.pacing import asleeping
from download.params import BinaryParams, CsvParams, CsvStreamParams, MeasureParams
from download.rows import csv_records, csv_rows

# One, as only one digest is made at a time; and none of those that files are read in.
_digests = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digests")


@takes(CsvParams)
async def download_csv(request: HttpRequest, params: CsvParams) -> HttpResponse:
    """Return the CSV in a single piece."""
    with slot_of(request, params) as refusal:
        if refusal:
            return refusal
        # Not a list of all rows: each of these objects is three times as large as its row.
        body = bytearray()
        async for chunk in _rows(params):
            body += chunk
        return whole_csv(bytes(body))


def _rows(params: CsvParams | CsvStreamParams) -> AsyncIterator[bytes]:
    if params.delay_ms:
        return asleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    return asleeping(csv_batched(csv_records(params.rows)))


@streaming()
@takes(CsvStreamParams)
async def download_csv_streaming(request: HttpRequest, params: CsvStreamParams) -> StreamingHttpResponse:
    """Return the CSV row by row, each as soon as it is there, or in batches."""
    if params.chunk == "batch" and not params.delay_ms:
        return stream(_rows(params), CSV, params)
    rows = asleeping(csv_rows(rows=params.rows, delay_ms=params.delay_ms))
    if params.chunk == "batch":
        rows = abatched(rows)
    return stream(rows, CSV, params)


@streaming()
@takes(MeasureParams)
async def measure(request: HttpRequest, params: MeasureParams) -> HttpResponse | StreamingHttpResponse:
    """Return rows that carry the time of their production."""
    answer = await asyncio.get_running_loop().run_in_executor(_digests, measured, request, params)
    if answer is None:
        return no_more_rows()
    rows, headers = answer
    return stream(asleeping(rows), headers, params)


@streaming()
@takes(BinaryParams)
async def binary(request: HttpRequest, params: BinaryParams) -> StreamingHttpResponse:
    """Return that many bytes in chunks of one size."""
    chunks = binary_chunks(size=params.size, chunk_bytes=params.chunk_bytes)
    headers = await asyncio.get_running_loop().run_in_executor(_digests, binary_headers, params)
    return stream(asleeping(chunks), headers, params)
