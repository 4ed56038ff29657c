import hashlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from download import answers, rows, views
from download.pacing import sleeping
from download.rows import SourceBroke, measured_rows
from hypothesis import given
from hypothesis import strategies as st
from streamproof.promise import parse_promise

from tests.endpoints import ALL


def test_defaults(client: Client) -> None:
    response = client.get("/measure?delay_ms=0")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Cache-Control"] == "no-store"
    assert "Content-Length" not in response
    assert re.fullmatch("rows=20, bytes=1280, sha256=[0-9a-f]{64}, times=zeroed", response["X-Stream-Promise"])
    assert len(response.getvalue()) == 1280


def test_row_carries_its_number_and_the_time_at_which_it_was_yielded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_042)
    assert list(measured_rows(rows=2, size=36, delay_ms=0)) == [
        b"00000001 1700000000.000000042 BCDEF\n",
        b"00000002 1700000000.000000042 CDEFG\n",
    ]


def test_pause_is_between_rows_and_not_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[float | str] = []
    monkeypatch.setattr(time, "sleep", happened.append)
    for _ in sleeping(measured_rows(rows=3, size=32, delay_ms=250)):
        happened.append("row")
    assert happened == ["row", 0.25, "row", 0.25, "row"]


@given(count=st.integers(1, 50), size=st.one_of(st.integers(32, 200), st.integers(32, 65_536)))
def test_body_is_as_promised(count: int, size: int) -> None:
    promise = parse_promise([("X-Stream-Promise", rows.promise(rows=count, size=size))])
    lines = list(measured_rows(rows=count, size=size, delay_ms=0))
    assert promise is not None
    assert promise.rows == len(lines) == count
    assert {len(line) for line in lines} == {size}
    body = b"".join(lines)
    assert promise.bytes == len(body)
    assert promise.times_zeroed
    assert promise.sha256 == hashlib.sha256(re.sub(rb"(?m)^(\d{8}) \d{10}\.\d{9} ", _zeroed, body)).hexdigest()
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rb"%08d \d{10}\.\d{9} [!-~]+\n" % number, line)


def _zeroed(match: re.Match[bytes]) -> bytes:
    return match[1] + b" 0000000000.000000000 "


@given(st.data())
def test_fail_after_raises_after_that_many_rows(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 30))
    fail_after = data.draw(st.integers(0, count - 1))
    seen = []
    with pytest.raises(SourceBroke, match=f"after {fail_after} of {count} rows"):
        seen.extend(measured_rows(rows=count, size=32, delay_ms=0, fail_after=fail_after))
    stream = measured_rows(rows=count, size=32, delay_ms=0, fail_after=fail_after)
    for number in range(1, fail_after + 1):
        assert next(stream).startswith(b"%08d " % number)
    if fail_after == 0:
        assert next(stream) == b"", "without a write gunicorn sends no header"
    with pytest.raises(SourceBroke):
        next(stream)


def test_a_stream_that_breaks_off_has_promised_all_rows(client: Client) -> None:
    complete = client.get("/measure?rows=5&delay_ms=0")
    broken = client.get("/measure?rows=5&delay_ms=0&fail_after=2")
    assert broken["X-Stream-Promise"] == complete["X-Stream-Promise"]
    with pytest.raises(SourceBroke):
        broken.getvalue()


@pytest.mark.parametrize(
    "path",
    [
        "/download_csv_streaming",
        "/download_csv_streaming?chunk=batch",
        "/download_csv_streaming?chunk=batch&delay_ms=1",
        "/measure",
        "/measure?format=sse",
        "/measure?format=ndjson",
        "/binary",
    ],
)
def test_head_gives_the_same_header_and_starts_no_generator(
    wsgi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    started = []

    def generator(*_: object, **__: object) -> Iterator[bytes]:
        started.append(path)
        yield b"row\n"

    for name in ("csv_rows", "csv_records", "binary_chunks"):
        monkeypatch.setattr(views, name, generator)
    monkeypatch.setattr(answers, "measured_rows", generator)
    head = wsgi("HEAD", path)
    assert (head.status, head.chunks, started) == (200, [], [])
    get = wsgi("GET", path)
    assert get.headers == head.headers
    assert started == [path]


@pytest.mark.parametrize("path", ["/download_csv", "/measure?rows=0", "/livez"])
def test_head_of_a_plain_response_has_no_body_but_its_length(wsgi: Callable[..., Any], path: str) -> None:
    head = wsgi("HEAD", path)
    get = wsgi("GET", path)
    assert b"".join(head.chunks) == b""
    assert b"".join(get.chunks) != b""
    assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ALL)
def test_only_get_and_head_are_allowed(client: Client, path: str, method: str) -> None:
    response = client.generic(method, path)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/index.html", "/measure/", "/download_csv/", "/admin", "/livez/", "/livez\x00"])
def test_other_paths_are_not_found(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
