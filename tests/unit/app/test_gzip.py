"""What GZipMiddleware does to a stream, and so why it is not in MIDDLEWARE."""

import asyncio
import gzip
from collections.abc import AsyncIterator

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory

ROWS = [b"%08d Hello,world\r\n" % number for number in range(50)]


def _compressed(source: object) -> HttpResponseBase:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(source)

    return GZipMiddleware(view)(RequestFactory(headers={"accept-encoding": "gzip"}).get("/"))


def test_synchronous_stream_is_held_back_until_its_end() -> None:
    produced: list[bytes] = []
    response = _compressed(row for row in ROWS if not produced.append(row))  # type: ignore[func-returns-value]
    chunks = [(chunk, len(produced)) for chunk in response]  # type: ignore[attr-defined]
    assert gzip.decompress(b"".join(chunk for chunk, _ in chunks)) == b"".join(ROWS)
    # The head of the gzip file at once, and everything else when there are no more rows.
    assert [rows for _, rows in chunks] == [0, 50]


def test_asynchronous_stream_is_a_gzip_file_for_each_chunk_and_grows() -> None:
    async def source() -> AsyncIterator[bytes]:
        for row in ROWS:
            yield row

    async def collected() -> list[bytes]:
        return [chunk async for chunk in _compressed(source())]  # type: ignore[attr-defined]

    chunks = asyncio.run(collected())
    assert [gzip.decompress(chunk) for chunk in chunks] == ROWS
    assert sum(map(len, chunks)) > sum(map(len, ROWS))


def test_it_is_left_out() -> None:
    assert not [name for name in settings.MIDDLEWARE if "gzip" in name.lower()]
