"""What is shown of an observation: as text, and as a page."""

import dataclasses
import re

import pytest
from justhtml import JustHTML
from streamproof.judge import judge
from streamproof.observation import Row
from streamproof.page import as_html
from streamproof.report import as_text

from tests.unit.streamproof.recorded import SENT, recorded

PACED = [0.25 * number for number in range(12)]
IN_TIME = [made + 0.001 for made in PACED]
AT_THE_END = [2.751] * 12


def observe(produced, arrived, **changes):
    """Make an observation of rows of 64 bytes by the seconds after the request; without production times if None."""
    rows = [
        Row(SENT + came, None if produced is None else SENT + produced[index], 64) for index, came in enumerate(arrived)
    ]
    headers = [("Transfer-Encoding", "chunked"), ("X-Stream-Promise", "rows=12, bytes=768")]
    return recorded(rows, **{"url": "http://test/stream", "headers": headers, **changes})


GOOD = observe(PACED, IN_TIME)
BAD = observe(PACED, AT_THE_END)
CUT = observe(PACED[:6], IN_TIME[:6], ended="truncated", ended_at=SENT + 2, error="the connection broke")
LIMIT = observe(PACED[:6], IN_TIME[:6], ended="timeout", ended_at=SENT + 60)
NO_TIMES = observe(None, [0.1] * 6 + [1.0] * 6)
# 100,000 rows, 0.1 ms apart, that come a thousand at a time.
MANY = [0.0001 * number for number in range(100_000)]
MANY_IN_BURSTS = observe(MANY, [MANY[number // 1000 * 1000 + 999] + 0.001 for number in range(100_000)])


def text(observation, **how):
    return as_text([("stream", observation)], judge(observation), **how)


def drawn(observation, label, **how):
    (line,) = [line for line in text(observation, **how).splitlines() if line.startswith(label.ljust(10))]
    return line[10:]


# Text


def test_rows_in_time_stand_below_their_production():
    assert drawn(GOOD, "arrived") == drawn(GOOD, "produced")
    assert drawn(GOOD, "arrived").split() == ["|"] * 12


def test_rows_that_come_together_stand_together():
    assert drawn(BAD, "produced").split() == ["|"] * 12
    assert drawn(BAD, "arrived").split() == ["#"]
    burst = observe(PACED, [0.75] * 4 + [1.75] * 4 + [2.75] * 4)
    assert drawn(burst, "arrived").split() == ["4", "4", "4"]


def test_marks_stand_at_their_times():
    """A lag of half the stream is half the line."""
    late = observe([0.0, 0.1], [2.0, 4.0])
    line = drawn(late, "arrived", width=111)
    assert [column for column, mark in enumerate(line) if mark == "|"] == [50, 99]


def test_a_lag_too_small_to_be_seen_is_not_drawn_as_a_step():
    """Wherever the border between two columns lies."""
    for start in range(40):
        produced = [start / 1000 + made for made in PACED]
        seen = observe(produced, [made + 0.002 for made in produced])
        assert drawn(seen, "arrived") == drawn(seen, "produced")


def test_without_production_times_reads_are_drawn():
    assert drawn(NO_TIMES, "reads").split() == ["|", "|"]
    assert "produced  " not in text(NO_TIMES)
    assert "| a read" in text(NO_TIMES)


def test_where_it_broke_off_is_marked():
    assert drawn(CUT, "arrived").split() == [*"||||||", "x"]
    assert drawn(LIMIT, "arrived").endswith(" >")
    assert not set("x>") & set(drawn(GOOD, "arrived"))


def test_a_cut_right_after_the_last_row_hides_no_row():
    cut = observe(PACED, IN_TIME, ended="truncated")
    assert drawn(cut, "arrived").split() == [*"|||||||||||", "|x"]
    assert max(map(len, text(cut).splitlines())) <= 100


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_lines_fit_the_width_and_use_it(width):
    for seen in (GOOD, BAD, CUT, LIMIT, NO_TIMES):
        lines = text(seen, width=width).splitlines()
        assert width - 1 <= max(map(len, lines)) <= width
        assert not any(line != line.rstrip() for line in lines)


def test_a_number_stays_on_the_line_of_its_unit():
    for width in range(60, 121):
        assert not re.search(r"\d\n +(ms|s|KiB)\b", text(BAD, width=width))


def test_plain_text_is_ascii_and_colours_change_nothing_else():
    for seen in (GOOD, BAD, CUT, LIMIT, NO_TIMES):
        coloured = text(seen, colour=True)
        assert text(seen).isascii()
        assert text(seen).replace("\n", "").isprintable()
        assert "\x1b[" in coloured
        assert "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).split("\n")) == text(seen)


def test_each_stream_has_its_timeline():
    shown = as_text([("plain", GOOD), ("stalled", BAD), ("no times", NO_TIMES)], judge(GOOD)).splitlines()
    assert [line.partition(":")[0] for line in shown if ": HTTP/1.1 200 OK" in line] == ["plain", "stalled", "no times"]
    assert sum(line.startswith("arrived ") for line in shown) == 2
    assert sum(line.startswith("reads ") for line in shown) == 1


def test_nothing_is_drawn_where_nothing_came(record):
    for seen in (record([]), record([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])):
        assert "0 ms  " not in text(seen)
        assert "nothing to draw" in as_html([("stream", seen)], judge(seen))


def test_a_server_cannot_steer_the_terminal(record):
    seen = record([b"HTTP/1.1 302 \x9b31m[red]Found\r\nLocation: \x9b2J\r\nContent-Length: 0\r\n\r\n"])
    assert "\x9b" not in text(seen)
    assert text(seen).count("\\x9b31m[red]Found") == 4  # in the line about the response, and in three sentences
    assert "\\x9b2J" in text(seen)


# The page


def page(observation):
    return as_html([("stream", observation)], judge(observation))


def tree(html):
    """Parse a page as browsers do, but refuse every error that they put up with."""
    return JustHTML(html, strict=True, sanitize=False)


def dots(html, kind):
    return [(dot.attrs["cx"], dot.attrs["cy"]) for dot in tree(html).query(f".plot circle.{kind}")]


@pytest.mark.parametrize("seen", [GOOD, BAD, CUT, LIMIT, NO_TIMES, MANY_IN_BURSTS])
def test_a_page_is_well_formed_and_needs_nothing_else(seen):
    html = page(seen)
    elements = tree(html).query("*")
    assert {"html", "title", "style", "svg", "circle"} <= {element.name for element in elements}
    assert not {"script", "link", "img", "iframe", "object"} & {element.name for element in elements}
    names = {name for element in elements for name in element.attrs or ()}
    assert not {"src", "href", "style"} & names
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in html and "@import" not in html


def test_a_page_says_what_the_text_says():
    words = tree(page(BAD)).to_text(separator=" ")
    for needed in ["http://test/stream", "2023-11-14 22:13:20 UTC", "streamproof 0.", "HTTP/1.1 200 OK, chunked"]:
        assert needed in words
    for verdict in judge(BAD):
        assert verdict.question in words and verdict.result in words
        assert verdict.sentence[1:] in words
    assert "rows late 11" in words
    assert "lag max 2751 ms" in words


def test_each_row_has_a_dot_where_it_was_produced_and_one_where_it_arrived():
    html = page(BAD)
    produced, arrived = dots(html, "made"), dots(html, "came")
    assert [x for x, _ in produced] == [f"{made / 2.751 * 100:.2f}%" for made in PACED]
    assert {x for x, _ in arrived} == {"100.00%"}
    assert (
        [y for _, y in produced]
        == [y for _, y in arrived]
        == [f"{100 - number / 0.12:.2f}%" for number in range(1, 13)]
    )
    assert len(tree(html).query(".plot line.lag")) == 11  # the last one's lag is too small to be seen
    assert not tree(page(GOOD)).query(".plot line.lag")


def test_rows_that_never_came_leave_their_place_empty():
    assert "6 of 12 rows" in tree(page(observe(PACED[:6], IN_TIME[:6]))).to_text(separator=" ")
    assert min(float(y[:-1]) for _, y in dots(page(CUT), "came")) == 50
    assert [end.to_text() for end in tree(page(CUT)).query("text.end")] == ["cut off"]
    assert [end.to_text() for end in tree(page(LIMIT)).query("text.end")] == ["still running"]


def test_without_production_times_each_read_has_a_dot():
    html = page(NO_TIMES)
    assert dots(html, "came") == [("10.00%", "50.00%"), ("100.00%", "0.00%")]
    assert not dots(html, "made")


def test_many_rows_are_thinned_and_it_is_said_and_every_burst_still_shows():
    html = page(MANY_IN_BURSTS)
    arrived = dots(html, "came")
    assert len(html) < 500_000
    assert f"drawn once: {len(arrived):,} dots for 100,000 rows" in html
    assert len({x for x, _ in arrived}) == 100
    assert "drawn once" not in page(GOOD)


def test_rows_that_were_counted_but_not_kept_are_named():
    assert "The first 12 of 99 rows" in page(dataclasses.replace(GOOD, row_count=99))


def test_each_stream_has_its_drawing():
    streams = [("plain", GOOD), ("<b>stalled</b>", BAD), ("no times", NO_TIMES)]
    whole = tree(as_html(streams, judge(GOOD)))
    assert [title.to_text() for title in whole.query("h2")] == ["plain", "<b>stalled</b>", "no times"]
    assert len(whole.query("figure svg.plot")) == 3


HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\x00\x1b\u202e"


def test_whatever_a_server_or_a_user_says_stays_text():
    seen = observe(
        PACED,
        IN_TIME,
        url=f"http://test/{HOSTILE}",
        reason=HOSTILE,
        headers=[(HOSTILE, HOSTILE), ("Location", HOSTILE), ("Content-Encoding", HOSTILE)],
        ended="protocol_error",
        error=f"illegal chunk header: {HOSTILE}",
    )
    for status in (200, 302, None):
        one = dataclasses.replace(seen, status=status)
        html = as_html([(HOSTILE, one), (HOSTILE, one)], judge(one))
        whole = tree(html)
        assert not whole.query("script") and not whole.query("img")
        assert len(whole.query("style")) == len(whole.query("title")) == 1
        assert not set("\x00\x1b\u202e") & set(html)
        shown = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\\x00\\x1b\\u202e"
        assert whole.query("title")[0].to_text().endswith(f"http://test/{shown}")
        assert whole.to_text(separator=" ").count(shown) >= 6


def test_a_row_that_is_a_script_stays_text(stream, record):
    """A body is not kept, but a complaint about it quotes it."""
    seen = record([stream.header("Transfer-Encoding: chunked"), b"<script>alert(1)</script>\r\n"])
    whole = tree(page(seen))
    assert "<script>alert(1)</script>" in whole.to_text(separator=" ")
    assert not whole.query("script")


def test_cookies_are_left_out():
    html = page(dataclasses.replace(GOOD, headers=[("Set-Cookie", "session=secret"), ("Server", "nginx")]))
    assert "secret" not in html
    assert "Set-Cookie" in html and "nginx" in html


def test_a_page_for_others_holds_no_value_of_a_query_and_no_header_that_may_be_a_secret():
    headers = [
        ("X-Auth-Token", "secret"),
        ("X-Api-Key", "secret"),
        ("Location", "/next?state=secret&rows=secret"),
        ("Link", "<https://user:secret@shop.test/2?token=secret>; rel=next"),
        ("Server", "nginx"),
    ]
    url = "https://shop.test/events?token=secret&limit=secret"
    notes = ["302 from https://shop.test/a?key=secret to https://shop.test/b followed (--location)"]
    html = page(dataclasses.replace(GOOD, url=url, headers=headers, notes=notes, status=302))
    assert "secret" not in html
    for kept in ("X-Auth-Token", "https://shop.test/events?token=…&amp;limit=…", "/next?state=…", "nginx"):
        assert kept in html
    # What is on a terminal is the user's own.
    assert url in as_text([("stream", dataclasses.replace(GOOD, url=url))], judge(GOOD))
