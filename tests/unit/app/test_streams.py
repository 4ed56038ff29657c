"""The account of a stream, its slots and its end, without a network."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django_streamproof import middleware, registry, stream
from django_streamproof.batching import batched
from django_streamproof.middleware import bounded
from django_streamproof.registry import Place, Registry, StreamStopped, pause
from django_streamproof.workers import _Connection, bound
from prometheus_client import REGISTRY

Served = tuple[HttpResponseBase, Iterator[bytes]]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    own = Registry()
    monkeypatch.setattr(middleware, "registry", own)
    return own


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The fields of the log lines so far."""
    with caplog.at_level(logging.INFO, "streams"):
        yield lambda: [record.__dict__["fields"] | {"said": record.getMessage()} for record in caplog.records]


def _serve(source: Any, method: str = "GET", **environ: object) -> Served:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(source)

    response = bounded(view)(RequestFactory().generic(method, "/unmarked", **environ))
    return response, iter(response)


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_completed_stream_is_accounted_for(lines: Callable[[], list[dict[str, Any]]]) -> None:
    before = [_value("streams_ended_total", outcome="completed"), _value("streams_sent_bytes_total")]
    others = _value("streams_open")
    response, chunks = _serve(iter([b"", b"four", "fünf"]))
    assert _value("streams_open") == others + 1
    assert list(chunks) == [b"", b"four", "fünf".encode()]
    response.close()
    started, ended = lines()
    assert "outcome" not in started
    assert ended["said"].endswith("200 stream completed")
    assert (ended["outcome"], ended["bytes"], ended["chunks"]) == ("completed", 9, 2), "an empty chunk is not sent"
    assert 0 <= ended["ttfb_s"] <= ended["duration_s"] < 5
    assert _value("streams_open") == others
    after = [_value("streams_ended_total", outcome="completed"), _value("streams_sent_bytes_total")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 9]


def test_source_error_is_raised_and_not_returned_from(lines: Callable[[], list[dict[str, Any]]]) -> None:
    def source() -> Iterator[bytes]:
        yield b"row\n"
        raise ValueError("the database went away")

    response, chunks = _serve(source())
    assert next(chunks) == b"row\n"
    with pytest.raises(ValueError, match="the database went away") as caught:
        next(chunks)
    response.close()
    assert [line.get("outcome") for line in lines()] == [None, "source_error"]
    report = logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, "Error", (), (ValueError, caught.value, None))
    assert not stream.unlogged(report), "gunicorn's line for the same error is left out"
    report.exc_info = (ValueError, ValueError("another"), None)
    assert stream.unlogged(report)


@pytest.mark.parametrize("started", [True, False])
def test_client_that_goes_closes_the_source_and_frees_the_slot(
    own_registry: Registry, lines: Callable[[], list[dict[str, Any]]], started: bool
) -> None:
    closed = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"row\n"
        finally:
            closed.append(True)

    own_registry.limit = 1
    response, chunks = _serve(source())
    if started:
        next(chunks)
    response.close()
    response.close()
    assert closed == [True] * started
    assert [line.get("outcome") for line in lines()] == [None, "client_gone"]
    assert _serve(iter([]))[0].status_code == 200


def test_sync_worker_that_is_made_to_exit_stops_the_stream(lines: Callable[[], list[dict[str, Any]]]) -> None:
    response, chunks = _serve(iter([b"row\n"]))
    with pytest.raises(SystemExit):
        try:
            next(chunks)
            raise SystemExit(1)
        finally:
            response.close()
    assert lines()[-1]["outcome"] == "stopped"


def test_stream_past_the_bound_is_refused_and_never_started(own_registry: Registry) -> None:
    own_registry.limit = 2
    before = _value("streams_ended_total", outcome="refused")
    first, second = _serve(iter([b"a"])), _serve(iter([b"b"]))
    started: list[bool] = []
    closed: list[bool] = []

    class Source:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            started.append(True)
            return b"row\n"

        def close(self) -> None:
            closed.append(True)

    refused, _ = _serve(Source())
    assert refused.status_code == 503
    assert int(refused["Retry-After"]) > 0
    assert b"".join(refused).count(b"\n") == 1  # type: ignore[call-overload]
    assert (started, closed) == ([], [True])
    assert _value("streams_ended_total", outcome="refused") == before + 1
    assert _serve(iter([]), "HEAD")[0].status_code == 200, "no thread is held"
    for response, chunks in (first, second):
        assert len(list(chunks)) == 1
        response.close()
    assert _serve(iter([]))[0].status_code == 200


def test_a_refused_stream_does_not_tell_that_its_request_is_finished(own_registry: Registry) -> None:
    told: list[object] = []

    def finished(sender: object, **_: object) -> None:
        told.append(sender)

    own_registry.limit = 0
    request_finished.connect(finished)
    try:
        assert _serve(iter([b"row\n"]))[0].status_code == 503
    finally:
        request_finished.disconnect(finished)
    assert told == []


@override_settings(STREAMPROOF={"STREAM_SECONDS": 1})
def test_time_limit_breaks_off(own_registry: Registry, lines: Callable[[], list[dict[str, Any]]]) -> None:
    own_registry.limit = 1
    response, chunks = _serve(iter(lambda: b"row\n", b""))
    next(chunks)
    give_up = time.monotonic() + 20
    while lines()[-1].get("outcome") != "stopped":
        assert time.monotonic() < give_up, "logged at its time, though nobody asked for a chunk"
        time.sleep(0.05)
    assert lines()[-1]["reason"] == "its time was up"
    after, _ = _serve(iter([]))
    assert after.status_code == 200, "a server that lost the stream never comes back to close it"
    after.close()
    with pytest.raises(StreamStopped):
        next(chunks)
    response.close()
    assert [line.get("outcome") for line in lines()] == [None, "stopped", None, "client_gone"]


def test_time_limit_leaves_a_source_its_slot_until_it_returns(own_registry: Registry) -> None:
    goes_on = threading.Event()

    def source() -> Iterator[bytes]:
        own_registry.stop_within(0)
        goes_on.wait(10)
        yield b"row\n"

    own_registry.limit = 1
    before = _value("streams_ended_total", outcome="stopped")
    _, chunks = _serve(source())
    thread = threading.Thread(target=lambda: next(chunks))
    thread.start()
    _until(lambda: _value("streams_ended_total", outcome="stopped") == before + 1)
    assert _serve(iter([]))[0].status_code == 503, "its thread is not free yet"
    goes_on.set()
    thread.join(10)
    after, _ = _serve(iter([]))
    assert after.status_code == 200
    after.close()


@override_settings(STREAMPROOF={"STREAM_SECONDS": 1})
def test_an_error_in_a_stop_does_not_end_the_thread_that_stops_streams(
    own_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_registry.limit = 1
    monkeypatch.setattr(middleware, "_hang_up", lambda request: 1 // 0)
    for _ in range(3):
        assert _serve(iter([b"row\n"]))[0].status_code == 200
        _until(lambda: len(own_registry._held) == 0)


def test_a_thread_that_cannot_be_started_costs_no_slot_and_is_tried_again(
    own_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_registry.limit = 1
    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", lambda thread: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            _serve(iter([b"row\n"]))
    response, _ = _serve(iter([b"row\n"]))
    own_registry.stop_within(0)
    _until(lambda: len(own_registry._held) == 0)
    response.close()


def _until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_source_that_ends_after_its_stream_was_broken_off_does_not_complete_it(own_registry: Registry) -> None:
    def source() -> Iterator[bytes]:
        yield b"row\n"
        own_registry.stop_within(0)
        assert registry.current.get().wait(20)

    response, chunks = _serve(source())
    next(chunks)
    with pytest.raises(StreamStopped):
        next(chunks)
    response.close()


def test_stopping_leaves_streams_their_time_and_ends_pauses(
    own_registry: Registry, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    def source() -> Iterator[bytes]:
        yield b"row\n"
        pause(30)
        yield b"never\n"

    response, chunks = _serve(source())
    short, rest = _serve(iter([b"row\n"]))
    next(chunks)
    assert not own_registry.stopping
    started = time.monotonic()
    own_registry.stop_within(1)
    own_registry.stop_within(60)
    assert own_registry.stopping
    assert list(rest) == [b"row\n"]
    with pytest.raises(StreamStopped):
        next(chunks)
    assert 0.5 < time.monotonic() - started < 20
    response.close()
    short.close()
    assert [line["outcome"] for line in lines() if "outcome" in line] == ["completed", "stopped"]


def test_limit_ends_a_pause_of_a_source_in_a_thread_of_its_own(own_registry: Registry) -> None:
    ended = threading.Event()

    def source() -> Iterator[bytes]:
        yield b"row\n"
        try:
            pause(60)
        finally:
            ended.set()

    response, chunks = _serve(batched(source(), age=0, thread=True))
    assert next(chunks) == b"row\n"
    own_registry.stop_within(0.1)
    with pytest.raises(StreamStopped):
        next(chunks)
    assert ended.wait(20)
    response.close()


def test_limit_ends_a_stream_whose_source_hangs_in_a_thread_of_its_own(own_registry: Registry) -> None:
    goes_on = threading.Event()

    def source() -> Iterator[bytes]:
        yield b"row\n"
        goes_on.wait(60)

    own_registry.limit = 1
    response, chunks = _serve(batched(source(), age=0, thread=True))
    assert next(chunks) == b"row\n"
    own_registry.stop_within(0.1)
    with pytest.raises(StreamStopped):
        next(chunks)
    response.close()
    assert not goes_on.is_set()
    goes_on.set()


def test_stop_wakes_the_thread_that_is_sending(own_registry: Registry) -> None:
    hung_up = threading.Event()

    class Connection:
        def shutdown(self, how: int) -> None:
            hung_up.set()
            raise OSError("the client was faster")

    response, _ = _serve(iter([b"row\n"]), **{"gunicorn.socket": Connection()})
    own_registry.stop_within(0)
    assert hung_up.wait(20)
    response.close()


def test_what_is_sent_in_one_piece_is_over_before_its_client_is_hung_up_on(own_registry: Registry) -> None:
    over: list[bool] = []
    place = Place(own_registry, interrupt=lambda: over.append(place.over))
    assert own_registry.take(place)
    assert not place.over
    place.stop("its time was up")
    assert over == [True]
    assert not own_registry.release(place), "its slot came back"


def test_pause_outside_of_a_stream_is_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(registry.time, "sleep", slept.append)
    pause(7)
    assert slept == [7]


@pytest.mark.parametrize(("threads", "streams"), [(2, 1), (3, 1), (4, 2), (8, 4), (9, 5), (16, 12), (100, 96)])
def test_bound_leaves_threads_for_the_probes(threads: int, streams: int) -> None:
    assert bound(threads, None) == streams < threads
    assert bound(threads, threads - 1) == threads - 1


@pytest.mark.parametrize("asked", [16, 17, 100_000])
def test_bound_that_starves_the_probes_stops_the_start(asked: int) -> None:
    with pytest.raises(RuntimeError, match=r"^STREAMS_PER_WORKER is .* from 1 to 15, less than gunicorn's threads"):
        bound(16, asked)
    with pytest.raises(RuntimeError, match=r"^threads is 1, but must be at least 2"):
        bound(1, None)


@pytest.mark.parametrize("lost", [False, True])
def test_nothing_is_written_to_a_connection_that_is_lost(lost: bool) -> None:
    written: list[object] = []

    class Transport:
        def is_closing(self) -> bool:
            return lost

        def writelines(self, parts: object) -> None:
            written.append(parts)

    connection = _Connection.__new__(_Connection)
    connection.transport = Transport()
    connection._response_buffer = None
    connection._send_body(b"x" * (64 << 10), chunked=True)
    assert bool(written) is not lost


def test_an_asynchronous_source_is_closed_in_its_loop_when_the_client_has_gone() -> None:
    async def serve() -> None:
        closed = asyncio.Event()

        async def rows() -> AsyncIterator[bytes]:
            try:
                yield b"row"
                yield b"a row that nobody takes"
            finally:
                closed.set()

        async def view(request: HttpRequest) -> StreamingHttpResponse:
            return StreamingHttpResponse(rows())

        response = await bounded(view)(AsyncRequestFactory().get("/unmarked"))
        chunks = aiter(response)
        assert await anext(chunks) == b"row"
        await asyncio.to_thread(response.close)  # as Django does
        await asyncio.wait_for(closed.wait(), 30)

    asyncio.run(serve())
