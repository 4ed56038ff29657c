"""docs/operations.md names the metrics, log fields and outcomes that there are, all of them and no others."""

import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from django_streamproof import metrics
from django_streamproof.logs import Formatter
from django_streamproof.registry import Registry
from django_streamproof.stream import Outcome, Stream
from prometheus_client import REGISTRY, generate_latest

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
OUTCOMES = set(get_args(Outcome))


def _exposed() -> str:
    """What a scrape of the pod returns once every outcome has been seen."""
    for outcome in OUTCOMES:
        metrics.ENDED.labels(outcome)
        metrics.DURATION.labels(outcome)
    return generate_latest(REGISTRY).decode()


def _first_cells(heading: str) -> list[str]:
    """The first cell of each row of the tables under a heading of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [row.split(" | ")[0].removeprefix("| ") for row in re.findall(r"^\| `.*", section, re.MULTILINE)]


def test_the_table_of_metrics_is_that_of_the_app() -> None:
    rows = re.findall(r"^\| `(streams_\w+)` \| (\w+)(?:, `(\w+)`)? \|", PAGE, re.MULTILINE)
    exposed = _exposed()
    types = set(re.findall(r"^# TYPE (streams_\w+) (\w+)", exposed, re.MULTILINE))
    types = {(name, kind) for name, kind in types if not name.endswith("_created")}
    assert {(name, kind) for name, kind, label in rows} == types
    for name, _, label in rows:
        sample = re.search(rf"^{name}(?:_count)?(?:{{(\w+)=[^}}]*}})? ", exposed, re.MULTILINE)
        assert sample and (sample[1] or "") == label


def test_what_the_alerts_ask_for_is_there() -> None:
    exposed = _exposed()
    for name in re.findall(r"\bstreams_\w+", PAGE):
        assert re.search(rf"^(# TYPE )?{name}[ {{]", exposed, re.MULTILINE), name
    for values in re.findall(r'outcome[=!~]+"([^"]+)"', PAGE):
        assert set(values.split("|")) <= OUTCOMES
    for bound in re.findall(r'\ble="([^"]+)"', PAGE):
        assert f'le="{bound}"' in exposed


def test_every_outcome_and_log_field_is_explained(wsgi: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        wsgi("GET", "/measure?rows=one")
        wsgi("GET", "/measure?rows=1")
        with pytest.raises(Exception, match="fail"):
            wsgi("GET", "/measure?rows=2&delay_ms=0&fail_after=1")
        stopping = Stream(Registry(), "GET / 200", {}, time.monotonic(), lambda: None)
        stopping.begin(60)
        stopping.stop("its time was up")
    lines = [json.loads(Formatter().format(record)) for record in caplog.records]
    fields = {field for line in lines for field in line}
    cells = _first_cells("Logs")
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == fields | OUTCOMES
