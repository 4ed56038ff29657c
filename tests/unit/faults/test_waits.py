"""When a clock or an idle stream is as expected, and that a silent one is noticed."""

from __future__ import annotations

import asyncio

import pytest
from faults import report
from faults.clocks import Clock, as_json
from faults.idle import Silence, silence


@pytest.mark.parametrize(
    ("fired", "late", "right"),
    [(60.0, 0, True), (59.3, 0, True), (69.0, 0, True), (58.0, 0, False), (75.0, 0, False), (75.0, 8, True)],
)
def test_a_clock_fires_when_it_is_due(fired: float, late: float, right: bool) -> None:
    assert Clock("edge", "some_timeout", 60, fired, late).as_expected is right


@pytest.mark.parametrize(
    ("pause", "heartbeat", "whole", "lasted", "right"),
    [
        (5, 0, True, 5.0, True),
        (5, 0, False, 5.0, False),
        (65, 15, True, 65.0, True),
        (65, 15, False, 60.0, False),
        (65, 0, False, 60.0, True),
        (65, 0, True, 65.0, False),
        (65, 0, False, 30.0, False),
        (300, 0, False, 120.0, False),
        # A heartbeat that is slower than the clock saves nothing.
        (300, 90, False, 60.0, True),
    ],
)
def test_an_idle_stream_ends_whole_or_is_cut_when_it_is_due(
    pause: int, heartbeat: int, whole: bool, lasted: float, right: bool
) -> None:
    assert Silence(pause, heartbeat, 60, whole, lasted).as_expected is right


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"1\r\nid: 1\n\r\n1\r\nid: 2\n\r\n0\r\n\r\n", True),
        (b"1\r\nid: 1\n\r\n0\r\n\r\n", False),
        (b"1\r\nid: 1\n\r\n1\r\nid: 2\n\r\n", False),
    ],
    ids=["whole", "an event missing", "no terminating chunk"],
)
def test_what_is_not_whole_is_noticed(body: bytes, whole: bool) -> None:
    async def stream() -> Silence:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await silence(server.sockets[0].getsockname()[1], "a.test", 60, pause=0, heartbeat=0)

    assert asyncio.run(stream()).whole is whole


def test_the_report_has_a_row_for_each() -> None:
    lines = report.waits(as_json([Clock("edge", "some_timeout", 60, 60.04)])).splitlines()
    assert lines[0] == "| where | name | due | fired | late | as expected |"
    assert lines[2] == "| edge | some_timeout | 60 | 60.0 | 0.0 | True |"
