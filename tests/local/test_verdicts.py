"""What the verifier says through a real nginx: of the edge as it should be, and of those that spoil a stream."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from justhtml import JustHTML
from local_edge import LocalEdge

Verify = Callable[..., dict[str, Any]]

# Under 4 KiB in all, which is the edge's buffer.
SHORT = "/measure?rows=12&size=64&delay_ms=250"
# Six times as much as that buffer.
LONG = "/measure?rows=24&size=1024&delay_ms=250"
BROKEN = "/measure?rows=12&delay_ms=50&fail_after=6"


def _results(report: dict[str, Any]) -> tuple[str, str, str]:
    return report["framing"]["result"], report["completeness"]["result"], report["timing"]["result"]


def test_good_edge_passes(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + SHORT)
    assert report["exit"] == 0
    assert _results(report) == ("PASS", "PASS", "PASS")
    assert report["observations"][0]["chunks"] == 12, "rows so far apart keep a chunk each"


def test_buffering_does_not_delay_a_chunked_upstream(buffering_edge: LocalEdge, verify: Verify) -> None:
    report = verify(buffering_edge.url + "/measure?rows=12&delay_ms=150")
    assert report["exit"] == 0
    assert _results(report) == ("PASS", "PASS", "PASS")


def test_http10_alone_delays_nothing(unbuffered_http10_edge: LocalEdge, verify: Verify) -> None:
    report = verify(unbuffered_http10_edge.url + "/measure?rows=12&delay_ms=150")
    assert _results(report) == ("PASS", "PASS", "PASS")


def test_short_stream_through_the_bad_edge_arrives_whole_at_the_end(
    bad_edge: LocalEdge, verify: Verify, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    report = verify(bad_edge.url + SHORT, "--html", str(page))
    assert report["exit"] == 1
    assert _results(report) == ("PASS", "PASS", "FAIL")
    numbers = report["timing"]["numbers"]
    assert numbers["bursts"] == 1
    assert numbers["lag_max_ms"] > 11 * 250 * 0.9
    dots = JustHTML(page.read_text(), strict=True, sanitize=False).query(".plot circle")
    produced, arrived = ([dot.attrs["cx"] for dot in dots if dot.attrs["class"] == kind] for kind in ("made", "came"))
    assert (len(set(produced)), len(arrived), len(set(arrived))) == (12, 12, 1)


def test_long_stream_through_the_bad_edge_arrives_in_bursts(bad_edge: LocalEdge, verify: Verify) -> None:
    report = verify(bad_edge.url + LONG)
    assert report["exit"] == 1
    assert _results(report) == ("PASS", "PASS", "FAIL")
    # 24 KiB through 4 KiB at a time.
    assert 5 <= report["timing"]["numbers"]["bursts"] <= 8


def test_broken_stream_through_http11_lacks_its_terminating_chunk(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + BROKEN)
    assert report["exit"] == 1
    assert _results(report)[:2] == ("FAIL", "FAIL")
    assert "no terminating chunk" in report["framing"]["sentence"]
    assert report["observations"][0]["rows"] == 6


def test_broken_stream_through_http10_looks_complete_to_framing(
    bad_edge: LocalEdge, unbuffered_http10_edge: LocalEdge, verify: Verify
) -> None:
    for edge in (bad_edge, unbuffered_http10_edge):
        report = verify(edge.url + BROKEN)
        assert report["exit"] == 1
        assert _results(report)[:2] == ("PASS", "FAIL")
        assert "truncated: 6 of 12 rows" in report["completeness"]["sentence"]


def test_stream_that_breaks_off_before_its_first_row(good_edge: LocalEdge, verify: Verify) -> None:
    for url in (good_edge.app_url, good_edge.url):
        report = verify(url + "/measure?rows=3&fail_after=0")
        assert report["observations"][0]["status"] == 200
        assert _results(report)[:2] == ("FAIL", "FAIL")


def test_asking_for_no_buffering_by_header_makes_the_bad_edge_stream(bad_edge: LocalEdge, verify: Verify) -> None:
    report = verify(bad_edge.url + SHORT + "&accel_buffering=no")
    assert report["exit"] == 0
    assert _results(report) == ("PASS", "PASS", "PASS")


@pytest.mark.parametrize("form", ["sse", "ndjson"])
def test_other_formats_are_complete_and_their_timing_is_told_by_arrivals(
    good_edge: LocalEdge, bad_edge: LocalEdge, verify: Verify, form: str
) -> None:
    report = verify(f"{good_edge.url}/measure?rows=6&delay_ms=300&format={form}")
    assert (_results(report), report["exit"]) == (("PASS", "PASS", "PASS"), 0)
    assert "6 events came one by one" in report["timing"]["sentence"]
    report = verify(f"{bad_edge.url}/measure?rows=6&delay_ms=300&format={form}")
    assert (_results(report), report["exit"]) == (("PASS", "PASS", "FAIL"), 1)
    assert "6 events came at once" in report["timing"]["sentence"]


@pytest.mark.parametrize("form", ["sse", "ndjson"])
def test_other_formats_that_break_off_behind_http10_are_told_by_what_was_promised(
    unbuffered_http10_edge: LocalEdge, verify: Verify, form: str
) -> None:
    report = verify(f"{unbuffered_http10_edge.url}/measure?rows=12&delay_ms=20&fail_after=6&format={form}")
    assert report["exit"] == 1
    assert _results(report)[:2] == ("PASS", "FAIL")
    assert "truncated: " in report["completeness"]["sentence"]


def test_binary_stream_arrives_with_the_digest_that_was_told_in_advance(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + "/binary?size=20000000")
    assert _results(report)[:2] == ("PASS", "PASS")
    assert report["completeness"]["numbers"]["bytes"] == 20_000_000
