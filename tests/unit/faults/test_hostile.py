"""Which numbers of the slow and hostile clients are as they must be: each of them is judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster.run import ROOT
from faults.hostile import unexpected


def measured() -> dict[str, int]:
    """Return the numbers that were published."""
    report = Path(ROOT / "docs/results/faults.md").read_text()
    section = report.partition("## Slow and hostile clients")[2].partition("##")[0]
    return {name: int(number) for name, number in re.findall(r"^\| (.+) \| (\d+) \|$", section, re.M)}


def test_what_was_published_is_as_expected() -> None:
    assert len(measured()) == 18
    assert unexpected(measured()) == []


@pytest.mark.parametrize(
    ("name", "number", "bounds"),
    [
        ("left in the middle", 999, "1000"),
        ("left, but were refused before", 101, "from 0 to 100"),
        ("streams whose client had gone, in the app's log", 999, "from 1000 to inf"),
        ("silent, closed by the edge", 499, "500"),
        ("silent, seconds until half of them were closed", 50, "from 55 to 75"),
        ("silent, seconds until half of them were closed", 80, "from 55 to 75"),
        ("slow, with a stream", 468, "469"),
        ("slow, refused with 503 and Retry-After", 0, "from 1 to 499"),
        ("slow, without an answer", 1, "0"),
        ("slow, seconds until half of them were given up", 0, "from 55 to 90"),
        ("slow, seconds until half of them were given up", 120, "from 55 to 90"),
        ("rows of the healthy client", 179, "180"),
        ("rows that it was promised", 20, "180"),
        ("lost", 1, "0"),
        ("longest wait of the healthy client for a row, ms", 16_000, "from 0 to 15000"),
        ("another client meanwhile refused", 2, "from 0 to 1"),
        ("seconds until another client got a stream after they went", 120, "from 0 to 10"),
        ("times that a pod was seen not ready", 1, "0"),
        ("containers restarted", 1, "0"),
        ("most memory of a pod, MiB", 500, "from 1 to 256"),
    ],
)
def test_each_number_is_judged(name: str, number: int, bounds: str) -> None:
    assert f"{name}: {number}, but must be {bounds}" in unexpected(measured() | {name: number})


def test_a_number_that_nothing_is_known_of_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="another"):
        unexpected(measured() | {"another": 1})
    with pytest.raises(KeyError, match="lost"):
        unexpected({name: number for name, number in measured().items() if name != "lost"})
