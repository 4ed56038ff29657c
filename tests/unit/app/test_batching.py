"""Rows joined into chunks: the same rules for a source in this thread, in a thread of its own, and for an async one.

A test that takes `run` is about all three. At the end: records that are written as CSV and joined in one.
"""

import asyncio
import csv
import gc
import io
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing
from contextvars import ContextVar
from typing import Any

import pytest
from django_streamproof.batching import AGE, SIZE, abatched, batched, csv_batched
from hypothesis import given, settings
from hypothesis import strategies as st

# An age that no test reaches, on however busy a machine.
NEVER = 3600.0


class Broke(Exception):
    pass


async def _async(rows: Iterable[bytes]) -> AsyncIterator[bytes]:
    for row in rows:
        yield row


def _here(rows: Iterable[bytes], into: list[bytes], size: int, age: float) -> None:
    for chunk in batched(rows, size, age):
        into.append(chunk)


def _thread(rows: Iterable[bytes], into: list[bytes], size: int, age: float) -> None:
    for chunk in batched(rows, size, age, thread=True):
        into.append(chunk)


def _loop(rows: Iterable[bytes], into: list[bytes], size: int, age: float) -> None:
    async def collect() -> None:
        async for chunk in abatched(_async(rows), size, age):
            into.append(chunk)

    asyncio.run(collect())


each_way = pytest.mark.parametrize("run", [_here, _thread, _loop])
Run = Callable[[Iterable[bytes], list[bytes], int, float], None]


@each_way
@settings(max_examples=60)
@given(
    rows=st.lists(st.binary(max_size=40), max_size=60), size=st.integers(1, 50), age=st.sampled_from([0, AGE, NEVER])
)
def test_bytes_in_are_bytes_out_in_chunks_within_the_bound(run: Run, rows: list[bytes], size: int, age: float) -> None:
    chunks: list[bytes] = []
    run(rows, chunks, size, age)
    assert b"".join(chunks) == b"".join(rows)
    assert all(0 < len(chunk) <= size for chunk in chunks)


@each_way
@settings(max_examples=60)
@given(rows=st.lists(st.binary(min_size=1, max_size=20), max_size=60), size=st.integers(20, 60))
def test_chunks_are_full_and_hold_whole_rows(run: Run, rows: list[bytes], size: int) -> None:
    chunks: list[bytes] = []
    run(rows, chunks, size, NEVER)
    ends = {sum(map(len, rows[: n + 1])) for n in range(len(rows))}
    assert {sum(map(len, chunks[: n + 1])) for n in range(len(chunks))} <= ends
    for one, following in itertools.pairwise(chunks):
        assert len(one) + len(following) > size


@each_way
def test_a_row_larger_than_the_bound_is_split(run: Run) -> None:
    chunks: list[bytes] = []
    run([b"a", b"b" * 10, b"c", b"d"], chunks, 4, NEVER)
    assert chunks == [b"a", b"bbbb", b"bbbb", b"bbcd"]


@each_way
@settings(max_examples=40)
@given(rows=st.lists(st.binary(max_size=40), max_size=30), size=st.integers(1, 50))
def test_source_error_is_raised_after_what_came_before_it(run: Run, rows: list[bytes], size: int) -> None:
    def source() -> Iterator[bytes]:
        yield from rows
        raise Broke

    chunks: list[bytes] = []
    with pytest.raises(Broke):
        run(source(), chunks, size, NEVER)
    assert b"".join(chunks) == b"".join(rows)


@each_way
def test_age_holds_for_a_source_that_is_slow_with_each_row(run: Run) -> None:
    def source() -> Iterator[bytes]:
        for _ in range(10):
            time.sleep(0.03)
            yield b"row"

    chunks: list[bytes] = []
    run(source(), chunks, SIZE, 0.05)
    assert len(chunks) >= 3


def test_age_holds_while_the_source_blocks_in_its_own_thread() -> None:
    arrived = threading.Event()

    def source() -> Iterator[bytes]:
        yield b"one,"
        yield b"two"
        # Several times the age.
        assert arrived.wait(8), "no chunk left while the source was blocked"
        yield b"three"

    chunks = batched(source(), age=1, thread=True)
    assert next(chunks) == b"one,two", "they wait for each other as long as the age lasts"
    arrived.set()
    assert list(chunks) == [b"three"]


def test_age_holds_while_an_async_source_waits_and_no_row_is_lost() -> None:
    async def check() -> None:
        arrived = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            yield b"one,"
            # More than the age, several times: what waits for the row must go on waiting for the same one.
            async with asyncio.timeout(8):
                yield b"two"
                await arrived.wait()
                yield b"three"

        chunks = abatched(source(), age=1)
        assert await anext(chunks) == b"one,two", "they wait for each other as long as the age lasts"
        arrived.set()
        assert [chunk async for chunk in chunks] == [b"three"]

    asyncio.run(check())


def test_in_the_same_thread_the_age_ends_when_the_next_row_comes() -> None:
    """The limit that the docstring states."""

    def source() -> Iterator[bytes]:
        yield b"one,"
        time.sleep(0.3)
        yield b"two"
        yield b"three"

    assert list(batched(source(), age=0.05)) == [b"one,two", b"three"]


@pytest.mark.parametrize("thread", [False, True])
def test_closing_closes_the_source_and_ends_its_thread(thread: bool) -> None:
    closed_in: list[threading.Thread] = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"row"
        finally:
            closed_in.append(threading.current_thread())

    with closing(batched(source(), size=30, age=NEVER, thread=thread)) as chunks:
        assert next(chunks) == b"row" * 10
    _wait_for(lambda: closed_in)
    assert (closed_in[0] is threading.current_thread()) is not thread
    if thread:
        closed_in[0].join(20)
        assert not closed_in[0].is_alive()


@pytest.mark.parametrize("thread", [False, True])
def test_a_source_to_which_somebody_else_holds_on_is_closed_too(thread: bool) -> None:
    closed = threading.Event()

    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"row"
        finally:
            closed.set()

    source = rows()
    with closing(batched(source, size=3, thread=thread)) as chunks:
        next(chunks)
    assert closed.wait(20)


def test_a_source_that_blocks_is_closed_as_soon_as_it_yields_and_nobody_waits_for_it() -> None:
    goes_on, closed = threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        try:
            yield b"one"
            goes_on.wait(60)
            yield b"two"
        finally:
            closed.set()

    chunks: Any = batched(source(), age=0.01, thread=True)
    assert next(chunks) == b"one"
    started = time.monotonic()
    chunks.close()
    assert time.monotonic() - started < 20
    assert not closed.is_set()
    goes_on.set()
    assert closed.wait(20)


def test_what_is_dropped_without_being_closed_leaves_no_thread_behind() -> None:
    chunks = batched(iter(lambda: b"row", b""), size=3, thread=True)
    assert next(chunks) == b"row"
    del chunks
    gc.collect()
    _wait_for(lambda: not [one for one in threading.enumerate() if one.name == "batched"])


def test_nothing_is_started_before_the_first_chunk_is_asked_for() -> None:
    def source() -> Iterator[bytes]:
        raise AssertionError("started")
        yield b""

    for thread in (False, True):
        chunks: Any = batched(source(), thread=thread)
        chunks.close()


def test_closing_closes_an_async_source_wherever_it_is() -> None:
    async def check(asked: int) -> None:
        closed = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                yield b"two"
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                closed.set()

        async with aclosing(abatched(source(), size=3, age=0.01)) as chunks:
            for _ in range(asked):
                await anext(chunks)
        assert closed.is_set()
        assert len(asyncio.all_tasks()) == 1

    for asked in (1, 2):
        asyncio.run(check(asked))


def test_cancelling_the_consumer_closes_the_async_source() -> None:
    async def check() -> None:
        closed, waiting = asyncio.Event(), asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            try:
                waiting.set()
                await asyncio.sleep(60)
                yield b"never"
            finally:
                closed.set()

        async def consume() -> None:
            async with aclosing(abatched(source())) as chunks:
                async for _ in chunks:
                    pass

        task = asyncio.create_task(consume())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed.is_set()

    asyncio.run(check())


def test_a_slow_client_makes_the_source_wait() -> None:
    produced = []

    def source() -> Iterator[bytes]:
        for number in range(10_000):
            produced.append(number)
            yield b"12345"

    with closing(batched(source(), size=50, age=NEVER, thread=True)) as chunks:
        next(chunks)
        time.sleep(0.3)
        # One chunk is with us, one is ready, and a row waits to be taken.
        assert len(produced) <= 10 + 10 + 1
        assert next(chunks) == b"12345" * 10


def test_a_slow_client_makes_an_async_source_wait() -> None:
    produced = []

    async def source() -> AsyncIterator[bytes]:
        for number in range(10_000):
            produced.append(number)
            yield b"12345"

    async def consume() -> None:
        async with aclosing(abatched(source(), size=50, age=NEVER)) as chunks:
            for _ in range(5):
                before = len(produced)
                assert await anext(chunks) == b"12345" * 10
                await asyncio.sleep(0.1)
                assert len(produced) - before <= 10 + 10 + 1

    asyncio.run(consume())


def test_a_chunk_that_leaves_by_age_does_not_take_another_with_it() -> None:
    """While the first is on its way to the client, full ones become ready."""

    async def consume() -> list[bytes]:
        left, goes_on = asyncio.Event(), asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            yield b"a"
            await left.wait()
            goes_on.set()
            for letter in (b"b", b"c", b"d"):
                yield letter * 4

        chunks = []
        async for chunk in abatched(source(), size=4, age=0.02):
            chunks.append(chunk)
            left.set()
            await goes_on.wait()
            # Turns enough for the source to make the next chunk ready.
            for _ in range(10):
                await asyncio.sleep(0)
        return chunks

    assert asyncio.run(consume()) == [b"a", b"bbbb", b"cccc", b"dddd"]


def test_source_in_its_own_thread_sees_the_context_of_the_request() -> None:
    request_id: ContextVar[str] = ContextVar("request_id")
    request_id.set("abc")

    def source() -> Iterator[bytes]:
        yield request_id.get().encode()

    assert list(batched(source(), thread=True)) == [b"abc"]


def test_an_end_by_anything_but_return_is_not_taken_for_a_complete_one() -> None:
    def source() -> Iterator[bytes]:
        yield b"row"
        raise SystemExit

    with pytest.raises(SystemExit):
        list(batched(source(), thread=True))


FIELDS = st.one_of(st.text(max_size=30), st.integers(), st.none())


@settings(max_examples=60)
@given(
    records=st.lists(st.lists(FIELDS, min_size=1, max_size=3), max_size=80),
    size=st.integers(1, 500),
    age=st.sampled_from([0, AGE, NEVER]),
)
def test_records_become_the_csv_that_one_writer_makes_in_chunks_of_whole_rows(
    records: list[list[object]], size: int, age: float
) -> None:
    rows = []
    for record in records:
        row = io.StringIO(newline="")
        csv.writer(row).writerow(record)
        rows.append(row.getvalue().encode("utf-8"))
    chunks = list(csv_batched(records, size, age))
    assert b"".join(chunks) == b"".join(rows)
    assert all(chunks)
    ends = set(itertools.accumulate(map(len, rows)))
    assert set(itertools.accumulate(map(len, chunks))) <= ends


def test_large_records_leave_one_by_one() -> None:
    taken = 0

    def source() -> Iterator[list[str]]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield ["x" * 100_000]

    for number, chunk in enumerate(csv_batched(source(), age=NEVER), 1):
        assert len(chunk) == 100_002
        assert taken == number


def test_age_holds_for_records_that_are_slow_after_fast_ones() -> None:
    def source() -> Iterator[list[int]]:
        yield from ([number] for number in range(1000))
        for number in range(1000, 1100):
            time.sleep(0.01)
            yield [number]

    arrivals = [(chunk, time.monotonic()) for chunk in csv_batched(source(), age=0.05)]
    # Those that were taken at once are late together, up to 64 times 10 ms; those after them are not.
    late = [at for chunk, at in arrivals if int(chunk.split()[-1]) > 1070]
    assert len(late) >= 3


def test_at_most_64_records_are_taken_before_size_and_age_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast they come: the source may be slow from any of them on."""
    taken = 0
    looks: list[int] = []

    def source() -> Iterator[list[int]]:
        nonlocal taken
        for taken in range(1, 5001):
            yield [taken]

    def look() -> float:
        looks.append(taken)
        return len(looks) * 1e-9

    monkeypatch.setattr("django_streamproof.batching.time.monotonic", look)
    assert len(list(csv_batched(source(), age=NEVER))) == 1
    assert max(later - earlier for earlier, later in itertools.pairwise(looks)) == 64


def test_records_whose_source_fails_leave_before_its_error() -> None:
    def source() -> Iterator[list[int]]:
        yield from ([number] for number in range(100))
        raise Broke

    chunks = []
    with pytest.raises(Broke):
        for chunk in csv_batched(source(), age=NEVER):
            chunks.append(chunk)
    assert b"".join(chunks).split() == [b"%d" % number for number in range(100)]


def test_closing_closes_the_source_of_the_records() -> None:
    closed = []

    def source() -> Iterator[list[str]]:
        try:
            while True:
                yield ["record"]
        finally:
            closed.append(True)

    records = source()
    with closing(csv_batched(records, size=30)) as chunks:
        next(chunks)
    assert closed


def _wait_for(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
