"""How ratios are judged, what the client takes for an answer, and what the report says and draws."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import client, crowds, curves, measures, report
from bench.measures import Check, Curves, Figures, Table
from bench.places import _processes
from bench.ratio import Ratio, interval

NINE = [9.0, 10, 11, 10, 9, 11, 10, 10, 10]


def ratio(values: list[float], bound: float | None = None, at_most: bool = False) -> Ratio:
    return Ratio("this", "that", "MiB/s", values, [10.0] * len(values), bound, at_most)


@pytest.mark.parametrize(
    ("values", "bound", "at_most", "holds"),
    [
        (NINE, None, False, None),
        (NINE, 0.9, False, True),
        # The median is 1, but it may as well be less.
        (NINE, 0.95, False, False),
        (NINE, 1.1, True, True),
        (NINE, 1.05, True, False),
        ([10.0] * 9, 1.0, False, True),
        ([10.0] * 9, 1.001, False, False),
    ],
)
def test_a_bound_holds_at_the_worse_end_of_the_interval(
    values: list[float], bound: float | None, at_most: bool, holds: bool | None
) -> None:
    assert ratio(values, bound, at_most).holds is holds


def test_ratios_are_of_pairs() -> None:
    """A machine that gets slower from round to round changes both."""
    slower = Ratio("this", "that", "s", [2.0, 4, 8], [1.0, 2, 4])
    assert (slower.middle, slower.interval) == (2, (2, 2))


def test_the_interval_of_nine_rounds_is_from_the_second_to_the_eighth() -> None:
    assert interval([5.0, 3, 9, 1, 7, 2, 8, 4, 6]) == (2, 8)


def test_one_disturbed_round_changes_nothing() -> None:
    assert ratio([1.0, *[10.0] * 8]).interval == (1, 1)


def test_what_misses_its_bound_is_named() -> None:
    figures = Figures([ratio(NINE, 2), ratio(NINE, 0.5)], [Check("limit", "1", "2", False), Check("b", "", "", True)])
    assert figures.missed == ["this against that", "limit"]


def test_each_round_begins_with_another() -> None:
    turns = list(measures.in_rounds("", 3, "ab"))
    assert "".join(turns) == "abbaab"


def test_processes_are_read_whatever_their_name() -> None:
    stat = "17 (a) b (c)) S 5 " + " ".join(["0"] * 9) + " 150 50 0 0 20 0 1 0 100 4096 3 0 0\n"
    process = _processes(stat)[17]
    assert (process.name, process.parent, process.used.cpu, process.used.kernel) == ("a) b (c)", 5, 2.0, 0.5)
    assert process.used.memory == 3 * 4096


Serve = Callable[[bytes], dict[str, object]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Have a server that answers with these bytes, and return where."""
    with create_server(("127.0.0.1", 0)) as server:

        def run(answer: bytes) -> dict[str, object]:
            def once() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

            threading.Thread(target=once, daemon=True).start()
            return {"address": "127.0.0.1", "port": server.getsockname()[1], "host": "test", "path": "/"}

        yield run


HEADER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered HTTP/1.1 503"),
        (HEADER + b"3\r\nrow\r\n", "no terminating chunk"),
        (HEADER + b"3\r\nrow\r\n0\r\n\r\n", "bytes came of 100"),
        (b"HTTP/1.1 200 OK\r\n", "ended before its body"),
    ],
)
def test_what_is_not_a_whole_answer_is_not_measured(serve: Serve, answer: bytes, reason: str) -> None:
    task = serve(answer) | {"do": "read", "size": 100}
    done = subprocess.run([sys.executable, client.__file__, json.dumps([task])], capture_output=True, text=True)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_whole_answer_is_read_to_its_end(serve: Serve) -> None:
    assert client.read(serve(HEADER + b"3\r\nrow\r\n0\r\n\r\n"))["seconds"] > 0


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[int, socket.socket], None]], dict[str, Any]]]:
    """Have servers that treat each connection by its number from 0, and return where each is."""
    with contextlib.ExitStack() as stack:

        def run(treat: Callable[[int, socket.socket], None]) -> dict[str, Any]:
            server = create_server(("127.0.0.1", 0), backlog=100)
            # Closing alone does not wake up who accepts.
            stack.callback(server.shutdown, socket.SHUT_RDWR)

            def once(number: int, connection: socket.socket) -> None:
                with connection, contextlib.suppress(OSError):
                    connection.recv(4096)
                    treat(number, connection)

            def accept() -> None:
                with server, contextlib.suppress(OSError):
                    for number in itertools.count():
                        threading.Thread(target=once, args=(number, server.accept()[0]), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            return {"address": "127.0.0.1", "port": server.getsockname()[1], "host": "test", "path": "/"}

        yield run


def _events(connection: socket.socket, seconds: float, late: float = 0) -> None:
    """Send events for so long, each produced some time before."""
    connection.sendall(HEADER)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        produced = int((time.time() - late) * 1e9)
        event = b"id: 1\ndata: 00000001 %010d.%09d filler\n\n" % divmod(produced, 10**9)
        connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        time.sleep(0.2)


def _ready(number: int, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _of(where: dict[str, Any], ready: dict[str, Any], *steps: int, hold: float = 1.2) -> list[dict[str, Any]]:
    """Return what is told at the end of each step."""
    task = where | {"ready": ready, "steps": steps, "rate": 50, "hold": hold, "timeout": 1}
    return [each for each in client.crowd(task) if "held" in each]


def test_streams_that_all_have_their_events_are_held(listen: Any) -> None:
    few, more = _of(listen(lambda _, stream: _events(stream, 30)), listen(_ready), 3, 8)
    assert few["held"] and more["held"]
    assert (few["streams"], more["streams"]) == (3, 8)
    assert 0 <= more["p50"] <= more["p99"] < 1
    assert more["ready"] < 1


def _refuse_the_sixth(number: int, stream: socket.socket) -> None:
    if number == 5:
        stream.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    else:
        _events(stream, 30)


@pytest.mark.parametrize(
    ("treat", "found"),
    [
        (_refuse_the_sixth, {"lost": {"503": 1}}),
        (lambda number, stream: _events(stream, 1 if number == 5 else 30), {"lost": {"cut": 1}}),
        (lambda number, stream: (_events(stream, 0.3 if number == 5 else 30), time.sleep(30)), {"silent": 1}),
        (lambda number, stream: _events(stream, 30, late=1.5), {"lost": {}}),
    ],
)
def test_streams_are_not_held_if_one_is_refused_or_cut_or_silent_or_late(
    listen: Any, treat: Callable[[int, socket.socket], None], found: dict[str, Any]
) -> None:
    (told,) = _of(listen(treat), listen(_ready), 8, 20, hold=3.5 if "silent" in found else 1.2)
    assert not told["held"]
    assert {key: told[key] for key in found} == found
    assert (told["p99"] > 1) is (found == {"lost": {}})


def test_streams_are_not_held_if_readiness_gives_no_answer(listen: Any) -> None:
    (told,) = _of(listen(lambda _, stream: _events(stream, 30)), listen(lambda *_: time.sleep(30)), 2, 4)
    assert not told["held"]
    assert told["ready"] == float("inf")


def test_parallel_answers_must_all_be_whole(listen: Any) -> None:
    whole = HEADER + b"3\r\nrow\r\n0\r\n\r\n"
    task = {"streams": 4, "size": 3}
    assert client.parallel(listen(lambda _, each: each.sendall(whole)) | task)["seconds"] > 0
    with pytest.raises(client.Unusable, match="of 4 answers 3 were whole"):
        client.parallel(listen(lambda number, each: each.sendall(whole[: -5 if number == 2 else None])) | task)
    with pytest.raises(client.Unusable, match=r"answered b'HTTP/1.1 503"):
        client.parallel(listen(lambda _, each: each.sendall(b"HTTP/1.1 503 Busy\r\n\r\n")) | task)


def test_the_knee_is_where_nine_tenths_of_the_most_are_reached() -> None:
    assert curves.knee([(64, 10.0), (256, 50), (1024, 91), (4096, 100), (16384, 80)]) == 1024
    assert curves.knee([(1, 100.0), (2, 60)]) == 1


def _step(streams: int, held: bool = True, **more: Any) -> crowds._Step:
    found = {"held": held, "lost": {}, "silent": 0, "ready": 0.1, "p99": 0.01} | more
    return crowds._Step(streams, found, {}, {})


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (_step(20), "no more were tried"),
        (_step(20, False, lost={"503": 3, "cut": 1}), "with 20, 3 answered 503 and 1 cut"),
        (_step(20, False, silent=4), "with 20, 4 had no event for 3 s"),
        (_step(20, False, ready=float("inf")), "with 20, /readyz took 3 s or more"),
        (_step(20, False, p99=1.234), "with 20, p99 of the lag was 1.2 s"),
    ],
)
def test_the_report_says_why_no_more_were_held(last: crowds._Step, words: str) -> None:
    steps = [_step(0), _step(10), last]
    assert crowds.ending(steps) == words
    assert crowds.most(steps).streams == (20 if last.found["held"] else 10)


def test_lags_are_those_of_the_rows(serve: Serve) -> None:
    row = b"00000001 1700000000.000000000 filler\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(row), row) for _ in range(3))
    lags = client.lag(serve(HEADER + body + b"0\r\n\r\n"))["lags"]
    assert len(lags) == 3
    assert all(lag > 3600 for lag in lags)


def test_the_report_has_all_figures_and_its_pictures_are_pictures(tmp_path: Path) -> None:
    lines = {"a stream": [(1024, 1), (1 << 30, 1)], "HttpResponse": [(1024, 1), (1 << 26, 200)]}
    figures = Figures(
        [ratio(NINE, 2), ratio(NINE)],
        [Check("limit", "1", "2", True)],
        [Table("Costs", ("a", "b"), [["1", "2"]])],
        [Curves("first-byte", "Time to the first byte", "bytes", "ms", lines)],
    )
    report.write(tmp_path, "bench", "Close", figures, {"cores": "2"})
    written = (tmp_path / "bench.md").read_text()
    assert "| this | that | 1.00 | 0.90 to 1.10 | 9 | at least 2 | **no** |" in written
    for part in ("| limit | 1 | 2 | yes |", "## Costs", "| cores | 2 |"):
        assert part in written
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["ratios"][0]["values"] == NINE
    for name in ("bench-ratios", "bench-first-byte"):
        svg = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())  # noqa: S314 - made here
        assert len(svg.findall(".//{*}circle")) == (2 if name == "bench-ratios" else 4)
        assert f"]({name}.svg)" in written
