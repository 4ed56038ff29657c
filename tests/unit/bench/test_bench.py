"""How ratios are judged, what the client takes for an answer, and what the report says and draws."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server
from xml.etree import ElementTree

import pytest
from bench import client, measures, report
from bench.measures import Check, Figures, Table
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
    turns = list(measures._rounds("", 3, "ab"))
    assert "".join(turns) == "abbaab"


def test_processes_are_read_whatever_their_name() -> None:
    stat = "17 (a) b (c)) S 5 " + " ".join(["0"] * 9) + " 150 50 0 0 20 0 1 0 100 4096 3 0 0\n"
    process = _processes(stat)[17]
    assert (process.name, process.parent, process.used.cpu) == ("a) b (c)", 5, 2.0)
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


def test_lags_are_those_of_the_rows(serve: Serve) -> None:
    row = b"00000001 1700000000.000000000 filler\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(row), row) for _ in range(3))
    lags = client.lag(serve(HEADER + body + b"0\r\n\r\n"))["lags"]
    assert len(lags) == 3
    assert all(lag > 3600 for lag in lags)


def test_the_report_has_all_figures_and_its_pictures_are_pictures(tmp_path: Path) -> None:
    first = {"a stream": [(1024, 0.001), (1 << 30, 0.001)], "HttpResponse": [(1024, 0.001), (1 << 26, 0.2)]}
    figures = Figures(
        [ratio(NINE, 2), ratio(NINE)],
        [Check("limit", "1", "2", True)],
        [Table("Costs", ("a", "b"), [["1", "2"]])],
        first,
    )
    report.write(tmp_path, figures, {"cores": "2"})
    written = (tmp_path / "bench.md").read_text()
    assert "| this | that | 1.00 | 0.90 to 1.10 | at least 2 | **no** |" in written
    assert "medians of 9 interleaved rounds" in written
    for part in ("| limit | 1 | 2 | yes |", "## Costs", "| cores | 2 |"):
        assert part in written
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["ratios"][0]["values"] == NINE
    for name in ("bench-ratios", "bench-first-byte"):
        svg = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())  # noqa: S314 - made here
        assert len(svg.findall(".//{*}circle")) == (2 if name == "bench-ratios" else 4)
        assert f"]({name}.svg)" in written
