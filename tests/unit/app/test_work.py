"""How much work a stream is, counted and not timed: so a slow machine passes, and a slow path does not.

Each bound lies a little above what the path takes now, and far below one write for each row.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import AsyncRequestFactory, RequestFactory
from django_streamproof.batching import batched, csv_batched
from download import async_views
from download.rows import csv_records
from gunicorn.config import Config
from gunicorn.http.wsgi import Response

MIB = 1 << 20
ROWS = 100_000
BATCH = f"/download_csv_streaming?rows={ROWS}&chunk=batch"
ROW = f"/download_csv_streaming?rows={ROWS}"
BINARY = f"/binary?size={4 * MIB}"

# 16 chunks of 64 KiB are a MiB. On top, for the whole response: its header, its last chunk and the end.
PER_MIB, ONCE = 16, 3


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a chunk would leave by its age."""
    monkeypatch.setattr(time, "monotonic", itertools.count(step=1e-9).__next__)


class Wire(socket.socket):
    """One that goes nowhere, and counts."""

    calls = size = 0

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.calls += 1
        self.size += len(data)


def sent(path: str) -> Wire:
    """Have gunicorn write a response as its workers do."""
    environ = RequestFactory(headers={"host": "localhost"}).get(path).environ
    with Wire() as wire:
        response = Response(Asked(), wire, Config())
        body = get_wsgi_application()(environ, response.start_response)
        for chunk in body:
            response.write(chunk)
        response.close()
        body.close()
        return wire


class Asked:
    """What gunicorn asks of a request when it answers."""

    method, version = "GET", (1, 1)

    def should_close(self) -> bool:
        return False


@pytest.mark.parametrize("path", [BATCH, BINARY])
def test_sends_for_each_mib(path: str) -> None:
    wire = sent(path)
    assert wire.size >= MIB
    assert wire.calls <= wire.size / MIB * PER_MIB + ONCE


def test_one_write_a_row_would_be_noticed() -> None:
    wire = sent(ROW)
    assert wire.calls > 100 * (wire.size / MIB * PER_MIB + ONCE)


def test_chunks_for_each_mib_under_asgi() -> None:
    async def count() -> tuple[int, int]:
        response = await async_views.download_csv_streaming(AsyncRequestFactory().get(BATCH))
        sizes = [len(chunk) async for chunk in response.streaming_content]
        return len(sizes), sum(sizes)

    chunks, size = asyncio.run(count())
    assert chunks <= size / MIB * PER_MIB + ONCE


def calls(chunks: Iterator[bytes]) -> float:
    """Return how often something is called for each row, whether it is written in Python or C."""
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        for _ in chunks:
            pass
    finally:
        sys.setprofile(None)
    return count / ROWS


def test_calls_for_each_row() -> None:
    # The source, which is a generator, and its share of what is done after 64 rows.
    assert calls(csv_batched(csv_records(ROWS))) <= 1.5


def test_calls_for_each_row_that_is_there_already() -> None:
    rows = iter([b"Hello,world,123456\r\n"] * ROWS)
    # add, two times len, monotonic, append.
    assert calls(batched(rows)) <= 5.1


@pytest.mark.parametrize("make", [lambda: csv_batched(csv_records(ROWS)), lambda: batched(iter([b"x" * 20] * ROWS))])
def test_memory_does_not_grow_with_the_rows(make: Callable[[], Iterator[bytes]]) -> None:
    chunks = make()
    tracemalloc.start()
    try:
        for _ in chunks:
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MIB
