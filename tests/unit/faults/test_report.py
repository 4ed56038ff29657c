"""What is as expected, which events share a load, and what the report says and draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from faults import report
from faults.__main__ import sessions
from faults.events import EVENTS
from faults.session import Result, Shape


def result(expected: str = "none", event: str = "rollout-restart", **more: Any) -> Result:
    values: dict[str, Any] = {
        "event": event,
        "title": "a restart",
        "expected": expected,
        "worker_class": "gthread",
        "lanes": 4,
        "began": 0.0,
        "at": 5.0,
        "ended": 20.0,
        "open": 4,
        "outcomes": {"completed": 9},
        "how": {},
        "longest": 12.0,
        "drawn": [(0, 0.0, 9.0, "completed"), (1, 1.0, 5.5, "truncated"), (2, 3.0, 20.0, "open")],
    }
    return Result(**(values | more))


@pytest.mark.parametrize(
    ("expected", "outcomes", "right"),
    [
        ("none", {"completed": 9}, True),
        ("none", {"completed": 9, "truncated": 1}, False),
        ("none", {"completed": 9, "refused": 1}, False),
        ("noticed", {"completed": 9, "truncated": 1, "refused": 5}, True),
        ("noticed", {"completed": 9}, False),
        ("noticed", {"completed": 9, "truncated": 1, "wrong": 1}, False),
        ("control", {"completed": 9}, False),
        ("control", {"completed": 9, "truncated": 1}, True),
        ("control", {"completed": 9, "refused": 1}, True),
        ("noticed", {"completed": 9, "refused": 1}, False),
        ("apart", {"completed": 9, "refused": 1}, True),
        ("apart", {"completed": 9, "wrong": 1}, False),
    ],
)
def test_what_is_as_expected(expected: str, outcomes: dict[str, int], right: bool) -> None:
    assert result(expected, outcomes=outcomes).as_expected is right


def test_a_stream_taken_for_complete_is_never_as_expected() -> None:
    assert not result("noticed", outcomes={"truncated": 50}, taken=1).as_expected


def test_nothing_was_survived_where_nothing_was_open() -> None:
    assert not result("none", open=0).as_expected


def test_each_control_has_a_load_of_its_own_and_no_event_is_left_out() -> None:
    together = sessions(EVENTS)
    assert [event for events in together for event in events] == list(EVENTS)
    for events in together:
        assert len({event.query for event in events}) == 1
        assert len(events) == 1 or "control" not in {event.expected for event in events}


def test_lengths_are_the_same_in_each_run_and_one_in_25_is_very_long() -> None:
    first, second = Shape().lengths(), Shape().lengths()
    lengths = [next(first) for _ in range(1000)]
    assert lengths == [next(second) for _ in range(1000)]
    assert lengths.count(150) == 40
    assert {length for length in lengths if length != 150} == set(range(10, 61))


def test_the_report_has_a_row_for_each_event_and_says_how_streams_were_lost(tmp_path: Path) -> None:
    lost = result("noticed", "pod-kill", outcomes={"truncated": 3}, how={"truncated: no terminating chunk": 3})
    for each in (result(), lost):
        (tmp_path / f"{each.event}.json").write_text(json.dumps(each.as_json()))
    (tmp_path / "sse.json").write_text('{"kills": 20, "lost": 0}')
    report.write(tmp_path)
    written = (tmp_path / "faults.md").read_text()
    assert "| a restart | gthread | 4 | 9 | 9 | 0 | 0 | 0 |  | 12 s |" in written
    assert "| a restart | gthread | 4 | 3 | 0 | 3 | 0 | 0 |  | 12 s |" in written
    assert "3 truncated: no terminating chunk" in written
    assert "| kills | 20 |" in written
    assert {path.name for path in tmp_path.glob("*.svg")} == {"survived.svg", "cut.svg"}


def test_the_picture_draws_each_stream_in_its_colour_and_marks_the_event() -> None:
    svg = ElementTree.fromstring(report.picture([result().as_json()]))  # noqa: S314 - made here
    paths = {path.get("stroke"): path.get("d") for path in svg.findall(".//{*}path")}
    assert len(paths) == 3
    assert len(list(svg.findall(".//{*}circle"))) == 1  # the end that was none
    (line,) = svg.findall(".//{*}line")
    assert line.get("x1") == f"{70 + 900 * 5 / 20:.1f}"
