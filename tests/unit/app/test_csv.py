import asyncio
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.test import AsyncRequestFactory, Client
from django_streamproof.batching import SIZE, abatched
from download import async_views, views
from download.pacing import Pause, Steps, sleeping
from download.rows import csv_rows

BODY = b"One,Two,Three\r\n" + b"".join(b"Hello,world,%d\r\n" % number for number in range(1, 100))


@pytest.mark.parametrize("path", ["/download_csv", "/download_csv_streaming"])
def test_bytes_and_headers_are_those_of_streaming_django(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.getvalue() == BODY
    assert response["Content-Type"] == "text/csv"
    assert response["Content-Disposition"] == "attachment; filename=big.csv"


def test_plain_csv_says_its_length(client: Client) -> None:
    assert client.get("/download_csv")["Content-Length"] == str(len(BODY))


def test_length_counts_bytes_and_not_characters(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "csv_records", lambda rows: iter([["häßlich"]]))
    response = client.get("/download_csv")
    assert response["Content-Length"] == str(len(response.content)) == "11"


def test_streamed_csv_is_one_write_for_each_row(wsgi: Callable[..., Any]) -> None:
    answer = wsgi("GET", "/download_csv_streaming")
    assert answer.chunks == BODY.splitlines(keepends=True)
    assert "Content-Length" not in answer.headers


def test_streamed_csv_is_produced_only_when_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    produced = []

    def rows(**_: object) -> Steps:
        for number in range(3):
            produced.append(number)
            yield b"%d\r\n" % number

    monkeypatch.setattr(views, "csv_rows", rows)
    stream = iter(client.get("/download_csv_streaming").streaming_content)
    assert produced == []
    assert next(stream) == b"0\r\n"
    assert produced == [0]


@pytest.mark.parametrize("path", ["/download_csv", "/download_csv_streaming", "/download_csv_streaming?chunk=row"])
def test_as_many_rows_as_asked_for(client: Client, path: str) -> None:
    path += "&" if "?" in path else "?"
    body = client.get(path + "rows=1234").getvalue()
    assert body.startswith(BODY)
    assert body.endswith(b"\r\nHello,world,1234\r\n")
    assert body.count(b"\r\n") == 1235


def test_pause_is_before_each_row_but_the_header_line() -> None:
    assert [step if isinstance(step, Pause) else b"" for step in csv_rows(rows=2, delay_ms=250)] == [
        b"",
        Pause(0.25),
        b"",
        Pause(0.25),
        b"",
    ]


@pytest.mark.parametrize("path", ["/download_csv", "/download_csv_streaming", "/download_csv_streaming?chunk=batch"])
def test_delay_is_waited_for(client: Client, path: str) -> None:
    path += "&" if "?" in path else "?"
    started = time.monotonic()
    assert client.get(path + "rows=3&delay_ms=40").getvalue() == BODY[: BODY.index(b"Hello,world,4")]
    assert time.monotonic() - started > 0.1


@pytest.mark.parametrize("delay", ["", "&delay_ms=1"])
def test_batches_are_the_same_bytes_in_fewer_writes(wsgi: Callable[..., Any], delay: str) -> None:
    rows = wsgi("GET", f"/download_csv_streaming?rows=200{delay}").chunks
    batches = wsgi("GET", f"/download_csv_streaming?rows=200{delay}&chunk=batch").chunks
    assert b"".join(batches) == b"".join(rows)
    assert len(rows) == 201
    # In 200 ms a batch leaves every 50 ms, or as much later as the machine is busy.
    assert len(batches) <= (100 if delay else 1)


def test_batches_with_a_delay_wait_and_are_joined_under_asgi_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_views, "abatched", partial(abatched, age=3600))

    async def chunks() -> list[bytes]:
        request = AsyncRequestFactory().get("/download_csv_streaming?rows=3&delay_ms=40&chunk=batch")
        return [chunk async for chunk in (await async_views.download_csv_streaming(request)).streaming_content]

    started = time.monotonic()
    assert asyncio.run(chunks()) == [BODY[: BODY.index(b"Hello,world,4")]]
    assert time.monotonic() - started > 0.1


def test_batches_of_fast_rows_are_full(wsgi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(step=1e-9)
    monkeypatch.setattr("django_streamproof.batching.time.monotonic", lambda: next(ticks))
    batches = wsgi("GET", "/download_csv_streaming?rows=20000&chunk=batch").chunks
    assert len(batches) == 6
    assert all(SIZE <= len(batch) < SIZE * 5 / 4 for batch in batches[:-1])


def test_a_batch_leaves_while_the_rows_pause(client: Client) -> None:
    started = time.monotonic()
    response = client.get("/download_csv_streaming?rows=10&delay_ms=10000&chunk=batch")
    assert next(iter(response.streaming_content)) == b"One,Two,Three\r\n"
    assert time.monotonic() - started < 8
    response.close()


def test_closing_the_stream_closes_what_it_is_made_of() -> None:
    closed = []

    def steps() -> Steps:
        try:
            yield b"row"
            yield Pause(60)
        finally:
            closed.append(True)

    source = steps()
    stream: Any = sleeping(source)
    assert next(stream) == b"row"
    stream.close()
    assert closed == [True]
