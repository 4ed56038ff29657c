"""The measuring stream as server-sent events and as NDJSON."""

import asyncio
import json
import re
import time
from typing import Any

import pytest
from django.test import AsyncRequestFactory, Client
from download import async_views, rows
from download.formats import FORMATS, NDJSON, SSE
from download.pacing import Pause
from download.rows import SourceBroke, measured_rows
from hypothesis import given
from hypothesis import strategies as st
from streamproof.promise import Promise, parse_promise

CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
}


def _events(body: bytes) -> list[tuple[str, str]]:
    """Read id and data of each event as a browser does (https://html.spec.whatwg.org/multipage/#event-stream-parsing)."""
    events, fields = [], {}
    for line in body.decode().split("\n")[:-1]:
        if not line:
            if "data" in fields:
                events.append((fields["id"], fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
    assert not fields, "a blank line ends each event"
    return events


@pytest.mark.parametrize(("form", "content_type"), CONTENT_TYPES.items())
def test_content_type_and_no_caching(client: Client, form: str, content_type: str) -> None:
    response = client.get(f"/measure?rows=1&format={form}")
    assert response["Content-Type"] == content_type
    assert response["Cache-Control"] == "no-store"
    assert "Content-Length" not in response
    response.close()


def test_rows_as_events_and_as_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_042)
    assert list(measured_rows(rows=2, size=36, delay_ms=0, form=SSE)) == [
        b"retry: 1000\n\n",
        b"id: 1\ndata: 00000001 1700000000.000000042 BCDEF\n\n",
        b"id: 2\ndata: 00000002 1700000000.000000042 CDEFG\n\n",
    ]
    assert list(measured_rows(rows=2, size=36, delay_ms=0, form=NDJSON)) == [
        b'{"row": 1, "time": "1700000000.000000042", "token": "BCDEF"}\n',
        b'{"row": 2, "time": "1700000000.000000042", "token": "CDEFG"}\n',
    ]


@given(count=st.integers(1, 40), size=st.integers(32, 400))
def test_all_formats_say_the_same(count: int, size: int) -> None:
    text, sse, ndjson = (
        b"".join(measured_rows(rows=count, size=size, delay_ms=0, form=form)) for form in FORMATS.values()
    )
    lines = [re.sub(r"\d{10}\.\d{9}", "", line) for line in text.decode().splitlines()]
    assert [(int(number), re.sub(r"\d{10}\.\d{9}", "", data)) for number, data in _events(sse)] == [
        (int(line[:8]), line) for line in lines
    ]
    objects = [json.loads(line) for line in ndjson.splitlines()]
    assert [f"{one['row']:08d}  {one['token']}" for one in objects] == lines
    assert all(re.fullmatch(r"\d{10}\.\d{9}", one["time"]) for one in objects)


@given(data=st.data(), count=st.integers(1, 40), size=st.integers(32, 400), form=st.sampled_from(["sse", "ndjson"]))
def test_what_is_promised_is_what_the_verifier_counts(data: st.DataObject, count: int, size: int, form: str) -> None:
    after = data.draw(st.integers(0, count - 1)) if form == "sse" else 0
    asked: dict[str, Any] = {"rows": count, "size": size, "after": after, "form": FORMATS[form]}
    body = b"".join(measured_rows(delay_ms=0, **asked))
    promise = parse_promise([("X-Stream-Promise", rows.promise(**asked) or "")])
    # An event is three lines, which are three rows to the verifier.
    assert promise == Promise(bytes=len(body), rows=None if form == "sse" else body.count(b"\n"))


def test_nothing_is_promised_where_heartbeats_may_come(client: Client) -> None:
    assert "X-Stream-Promise" in client.get("/measure?format=sse")
    assert "X-Stream-Promise" not in client.get("/measure?format=sse&heartbeat_ms=1000")


@pytest.mark.parametrize(
    ("delay_ms", "heartbeat_ms", "expected"),
    [
        (250, 100, [0.1, "heartbeat", 0.1, "heartbeat", 0.05]),
        (200, 100, [0.1, "heartbeat", 0.1]),
        (100, 100, [0.1]),
        (50, 100, [0.05]),
        (250, 0, [0.25]),
    ],
)
def test_heartbeats_fill_the_pause_and_do_not_prolong_it(
    delay_ms: int, heartbeat_ms: int, expected: list[object]
) -> None:
    steps = list(measured_rows(rows=2, size=32, delay_ms=delay_ms, heartbeat_ms=heartbeat_ms, form=SSE))
    seen = [step.seconds if isinstance(step, Pause) else step.decode().strip(": \n") for step in steps[2:-1]]
    assert seen == expected
    assert steps[2:-1].count(b": heartbeat\n\n") == expected.count("heartbeat")


def test_heartbeats_are_no_events(client: Client) -> None:
    body = client.get("/measure?rows=2&delay_ms=250&format=sse&heartbeat_ms=100").getvalue()
    assert body.count(b": heartbeat\n\n") == 2
    assert [number for number, _ in _events(body)] == ["1", "2"]


@pytest.mark.parametrize("last", range(5))
def test_stream_goes_on_after_the_last_event_that_was_seen(client: Client, last: int) -> None:
    response = client.get("/measure?rows=5&delay_ms=0&format=sse", headers={"Last-Event-ID": str(last)})
    body = response.getvalue()
    assert [int(number) for number, _ in _events(body)] == list(range(last + 1, 6))
    assert response["X-Stream-Promise"] == f"bytes={len(body)}"


def test_nothing_is_waited_for_before_the_first_row_of_a_stream_that_goes_on() -> None:
    steps = list(measured_rows(rows=4, size=32, delay_ms=250, after=2, form=SSE))
    assert [step for step in steps if isinstance(step, Pause)] == [Pause(0.25)]
    assert isinstance(steps[1], bytes)


def test_browser_that_has_seen_all_is_told_not_to_come_again(client: Client) -> None:
    asked: Any = {"path": "/measure?rows=5&delay_ms=0&format=sse", "headers": {"Last-Event-ID": "5"}}
    for response in (client.get(**asked), asyncio.run(async_views.measure(AsyncRequestFactory().get(**asked)))):
        assert (response.status_code, response.content) == (204, b"")
        assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("text", ["", "6", "-1", "+1", " 1 2", "1.0", "1, 2", "five", "٣", "\xe9", "0x1", "9" * 5000])
def test_last_event_id_that_was_never_given_is_refused(client: Client, text: str) -> None:
    response = client.get("/measure?rows=5&delay_ms=0&format=sse", headers={"Last-Event-ID": text})
    assert response.status_code == 400
    assert response.content.startswith(b"Last-Event-ID is ")
    assert response["Cache-Control"] == "no-store"
    assert response.content.count(b"\n") == 1


@given(st.text(max_size=20))
def test_no_last_event_id_is_answered_by_a_server_error(text: str) -> None:
    response = Client(headers={"host": "localhost"}).head(
        "/measure?format=sse", headers={"Last-Event-ID": text.encode("utf-8", "replace").decode("latin-1")}
    )
    assert response.status_code in (200, 204, 400)


@pytest.mark.parametrize("form", ["text", "ndjson"])
def test_last_event_id_means_nothing_elsewhere(client: Client, form: str) -> None:
    response = client.get(f"/measure?rows=5&delay_ms=0&format={form}", headers={"Last-Event-ID": "nonsense"})
    assert response.getvalue().count(b"\n") == 5


@pytest.mark.parametrize("fail_after", [0, 2])
@pytest.mark.parametrize("form", ["sse", "ndjson"])
def test_other_formats_break_off_too_and_not_before_their_header_was_sent(
    client: Client, form: str, fail_after: int
) -> None:
    response = client.get(f"/measure?rows=5&delay_ms=0&format={form}&fail_after={fail_after}")
    content = iter(response.streaming_content)
    seen = [next(content)]
    with pytest.raises(SourceBroke):
        seen.extend(content)
    assert len([one for one in seen if one and not one.startswith(b"retry")]) == fail_after


def test_stream_that_goes_on_where_it_broke_off_is_not_broken_off_again(client: Client) -> None:
    url = "/measure?rows=5&delay_ms=0&format=sse&fail_after=2"
    body = client.get(url, headers={"Last-Event-ID": "2"}).getvalue()
    assert [number for number, _ in _events(body)] == ["3", "4", "5"]
    with pytest.raises(SourceBroke, match="after 2 of 5 rows"):
        client.get(url, headers={"Last-Event-ID": "1"}).getvalue()
