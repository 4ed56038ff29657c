"""The page, in a real browser, through the real nginx: what it draws, and what it says about it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from local_edge import LocalEdge
from playwright.sync_api import Page, expect

STREAMS = ("fetch", "events")
# Of the twelve rows, which are 400 ms apart.
DURATION = 11 * 0.4

Open = Callable[..., Any]


def _spread(times: list[float]) -> float:
    return max(times) - min(times)


def test_rows_are_drawn_where_they_were_produced_through_the_good_edge(good_edge: LocalEdge, visit: Open) -> None:
    shown = visit(good_edge.url)
    for name in STREAMS:
        # While it goes on, and not only at its end.
        shown.wait_for_rows(name, 4)
        expect(shown.stream(name)).to_have_attribute("data-state", "running")
    for name in STREAMS:
        shown.wait_for_end(name)
        drawn = shown.drawn(name)
        assert len(drawn) == 12
        assert max(dot - tick for tick, dot in drawn) < 1
        assert _spread([dot for _, dot in drawn]) > DURATION - 1
        assert re.fullmatch(r"12 of 12 rows arrived, largest lag \d+ ms: in time\.", shown.summary(name))
        expect(shown.stream(name)).to_have_attribute("data-state", "in time")
    assert "agree" in shown.page.locator("#clocks").inner_text()
    # An EventSource that was not closed would come again after a second.
    shown.page.wait_for_timeout(1500)
    assert len([url for url in shown.requested if "/measure?" in url]) == 2
    assert {urlsplit(url).netloc for url in shown.requested} == {urlsplit(good_edge.url).netloc}
    assert shown.complaints == []


def test_rows_are_drawn_in_a_column_through_the_bad_edge(bad_edge: LocalEdge, visit: Open) -> None:
    shown = visit(bad_edge.url)
    for name in STREAMS:
        shown.wait_for_end(name)
        drawn = shown.drawn(name)
        assert len(drawn) == 12
        assert _spread([tick for tick, _ in drawn]) > DURATION - 1
        assert _spread([dot for _, dot in drawn]) < 1
        assert drawn[0][1] - drawn[0][0] > DURATION - 1
        assert re.fullmatch(
            r"12 of 12 rows arrived, largest lag \d+ ms: all together at the end\. "
            r"Something between app and browser buffers\.",
            shown.summary(name),
        )
        expect(shown.stream(name)).to_have_attribute("data-state", "late")
    assert shown.complaints == []
    _assert_readable(shown.page)
    shown.page.get_by_role("button", name="Run again").click()
    for name in STREAMS:
        expect(shown.stream(name)).to_have_attribute("data-state", "running")
        expect(shown.stream(name).locator("tr.arrived")).to_have_count(0)


def test_a_stream_that_breaks_off_is_shown_as_truncated(good_edge: LocalEdge, visit: Open) -> None:
    shown = visit(good_edge.url)
    shown.page.get_by_role("button", name="break off").click()
    for name in STREAMS:
        shown.wait_for_end(name)
    assert len(shown.drawn("fetch")) == 6
    assert shown.summary("fetch").startswith("6 of 12 rows arrived, ")
    assert "Truncated: the response broke off" in shown.summary("fetch")
    expect(shown.stream("fetch")).to_have_attribute("data-state", "truncated")
    expect(shown.stream("fetch").get_by_text("missing")).to_have_count(6)
    # Server-sent events are what a browser goes on with by itself.
    assert len(shown.drawn("events")) == 12
    assert shown.summary("events").startswith("12 of 12 rows arrived, ")
    assert "broke off after row 6" in shown.summary("events")
    assert set(shown.complaints) == {"Failed to load resource: net::ERR_INCOMPLETE_CHUNKED_ENCODING"}
    _assert_readable(shown.page)


def test_a_stream_that_breaks_off_is_found_by_its_count_through_the_bad_edge(bad_edge: LocalEdge, visit: Open) -> None:
    shown = visit(bad_edge.url)
    shown.page.get_by_role("button", name="break off").click()
    shown.wait_for_end("fetch")
    assert shown.summary("fetch").startswith("6 of 12 rows arrived, ")
    assert "ended as if it were whole: only the count tells" in shown.summary("fetch")
    expect(shown.stream("fetch")).to_have_attribute("data-state", "truncated")
    assert shown.complaints == []


def test_refused_streams_are_shown_as_such(visit: Open) -> None:
    # A worker with four threads gives two of them to streams.
    with LocalEdge(gunicorn_args=("--workers", "1", "--threads", "4")) as edge:
        taken = []
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", urlsplit(edge.app_url).port, timeout=10)
            connection.request("GET", "/measure?rows=9000&delay_ms=100")
            taken.append((connection, connection.getresponse()))
        shown = visit(edge.url)
        for name in STREAMS:
            shown.wait_for_end(name)
            expect(shown.stream(name)).to_have_attribute("data-state", "failed")
        assert "Refused with 503, to be tried again in 5 s (Retry-After)." in shown.summary("fetch")
        assert "Refused" in shown.summary("events")
        for connection, response in taken:
            response.close()
            connection.close()


@pytest.mark.parametrize(("hours", "which"), [(-1, "ahead of"), (1, "behind")])
def test_a_clock_that_differs_is_told_and_taken_off(good_edge: LocalEdge, visit: Open, hours: int, which: str) -> None:
    script = f"const now = Date.now; Date.now = () => now() + {hours * 3_600_000}"
    shown = visit(good_edge.url, script=script)
    shown.wait_for_rows("fetch", 3)
    sentence = shown.page.locator("#clocks").inner_text()
    assert re.search(rf"The server's clock is about 3(600|599)\.\d+ s {which} this browser's", sentence)
    lags = [int(text.removesuffix(" ms")) for text in shown.page.locator("td.lag").all_inner_texts() if text]
    assert len(lags) >= 3
    assert min(lags) >= 0
    assert max(lags) < 1000


def test_page_fits_a_phone_and_its_dark_scheme_applies(good_edge: LocalEdge, visit: Open) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    shown = visit(good_edge.url, **phone, color_scheme="dark", reduced_motion="reduce")
    shown.wait_for_rows("fetch", 3)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 360
    # Of the sections, two stand one below the other, and the timeline has some room.
    boxes = [shown.stream(name).bounding_box() for name in STREAMS]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]
    assert shown.page.locator(".lane div").first.bounding_box()["width"] > 120
    assert shown.stream("fetch").evaluate("section => section.style.getPropertyValue('--now')") == "0"
    _assert_readable(shown.page)


def _assert_readable(page: Page) -> None:
    """The schemes differ, and have the contrast that WCAG 2.2 asks for: 4.5 for text (1.4.3), 3 for marks (1.4.11)."""
    backgrounds = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        texts = page.evaluate("""() => [...document.querySelectorAll("main *")]
            .filter(one => one.checkVisibility() && [...one.childNodes].some(
                node => node.nodeType === Node.TEXT_NODE && node.data.trim()))
            .map(one => {
                let behind = one;
                while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
                    behind = behind.parentElement;
                }
                return [one.textContent, getComputedStyle(one).color, getComputedStyle(behind).backgroundColor];
            })""")
        assert len(texts) > 50
        faint = [text for text, color, behind in texts if _contrast(color, behind) < 4.5]
        assert faint == []
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        marks = page.evaluate("""() => [...document.querySelectorAll(".arrived :is(.tick, .dot, .bar)")].map(
            mark => getComputedStyle(mark)[mark.className === "tick" ? "borderLeftColor" : "borderTopColor"])""")
        shades = page.evaluate("""() => ["--background", "--elapsed"].map(
            name => getComputedStyle(document.documentElement).getPropertyValue(name))""")
        assert marks
        assert [mark for mark in set(marks) for shade in shades if _contrast(mark, shade) < 3] == []
    assert len(backgrounds) == 2


def _contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    if color.startswith("#"):
        parts = list(bytes.fromhex(color[1:]))
    else:
        found = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", color)
        assert found, color
        parts = [int(part) for part in found.groups()]
    shares = [part / 255 for part in parts]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
