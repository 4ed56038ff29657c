"""Verdicts for people as one HTML page that needs nothing else, to be sent to somebody. Pure.

The page is built as a tree, so that whatever a server or a user put into a text stays text.
"""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from xml.etree.ElementTree import Element, SubElement, tostring

from streamproof import __version__
from streamproof.judge import overall
from streamproof.observation import Observation
from streamproof.pace import pace_line
from streamproof.timeline import Streams, Timeline, came_back, timeline, took
from streamproof.verdict import Number, Verdict, ms, printable

_ASKED = {
    "framing": "Is the end of the body properly marked?",
    "completeness": "Did all of it arrive?",
    "timing": "Did each row arrive before the next one was produced?",
    "backpressure": "When the client stalls, does the app stop too, or does a hop absorb the stream?",
    "protocols": "Is it the same over HTTP/1.0, HTTP/1.1 and HTTP/2, compressed, and on a used connection?",
    "idle": "How long may it be without a byte before something cuts it?",
    "pace": "How soon is the first event there, and how long are the gaps between events?",
    "concurrency": "Are many at once in time, and other requests still answered?",
}
# A chart has so many places, across and up: what falls on the same one is drawn once.
_ACROSS, _UP = 800, 400
# More rows than this are too close together for rings.
_RINGS = 40
# Secrets that a page for others must not hold: headers that may be one, a URL's password and the values of its query.
_SECRET = re.compile(r"auth|cookie|credential|csrf|jwt|key|passw|secret|session|sign|token", re.IGNORECASE)
_QUERY_VALUE = re.compile(r"(?<=[?&])([^\s=&#\"'<>]*)=[^\s&#\"'<>]+")
_PASSWORD = re.compile(r"(?<=//)[^\s/@\"'<>]+@")
# How many headers of a response a page shows.
_MAX_HEADERS = 100

_STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def as_html(streams: Streams, verdicts: Sequence[Verdict]) -> str:
    """Write the page: the verdicts with their numbers, and for each stream a drawing of when it arrived.

    Args:
        streams: what was looked at; the first one is what the URL was asked for.
        verdicts: about all of them.
    """
    first = streams[0][1]
    result = overall(verdicts)
    page = Element("html", lang="en")
    head = _add(page, "head")
    _add(head, "meta", charset="utf-8")
    _add(head, "title", f"{result}: {first.url}")
    _add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    policy = {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"}
    _add(head, "meta", **policy)
    _add(head, "style").text = _STYLE
    body = _add(page, "body")
    heading = _add(body, "h1")
    _add(heading, "span", result, class_=result)
    if result != "PASS":
        heading[-1].tail = ": " + ", ".join(verdict.question for verdict in verdicts if verdict.result == result)
    _add(_add(body, "p"), "code", first.url)
    _add(body, "p", f"asked at {_when(first.request_sent_at)} by streamproof {__version__}", class_="faint")
    answers = _add(body, "ul")
    for verdict in verdicts:
        _add_verdict(answers, verdict)
    for name, observation in streams:
        section = _add(body, "section")
        _add(section, "h2", "What came back" if len(streams) == 1 else name)
        _add(section, "p", f"{came_back(observation)}, {took(observation)}")
        if line := pace_line(observation):
            _add(section, "p", line)
        for note in observation.notes:
            _add(section, "p", note, class_="faint")
        if observation.url != first.url:
            _add(_add(section, "p"), "code", observation.url)
        _add_chart(section, timeline(observation))
        _add_headers(section, observation)
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """Add an element with a text, escaped and without secrets where needed; `class_` stands for "class"."""
    element = SubElement(
        parent, tag, {name.rstrip("_").replace("_", "-"): printable(value) for name, value in attributes.items()}
    )
    element.text = printable(_without_secrets(text))
    return element


def _without_secrets(text: str) -> str:
    """Take out of URLs in a text what may be a secret: the values of a query, and a password."""
    return _QUERY_VALUE.sub(r"\1=…", _PASSWORD.sub("…@", text))


def _when(time: float) -> str:
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # an observation from a file may hold any number
        return f"{time:g} s of Unix time"


def _add_verdict(answers: Element, verdict: Verdict) -> None:
    item = _add(answers, "li", class_=verdict.result)
    title = _add(item, "p")
    _add(title, "span", verdict.result, class_="result").tail = " "
    _add(title, "b", verdict.question).tail = " "
    if verdict.question in _ASKED:
        _add(title, "span", _ASKED[verdict.question], class_="faint")
    _add(item, "p", verdict.sentence[:1].upper() + verdict.sentence[1:])
    if verdict.numbers:
        numbers = _add(item, "p", class_="faint numbers")
        for name, value in verdict.numbers.items():
            _add(numbers, "span", f"{_words(name)} {_value(name, value)}").tail = " "


def _words(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ")


def _value(name: str, value: Number) -> str:
    if isinstance(value, float | int) and name.endswith("_ms"):
        return ms(value / 1000)
    return "unknown" if value is None else str(value)


def _add_headers(section: Element, observation: Observation) -> None:
    if not observation.headers:
        return
    details = _add(section, "details")
    _add(details, "summary", "Response headers", class_="faint")
    table = _add(_add(details, "table"), "tbody")
    for name, value in observation.headers[:_MAX_HEADERS]:
        row = _add(table, "tr")
        _add(row, "th", name)
        _add(_add(row, "td"), "code", "(left out)" if _SECRET.search(name) else value)


def _add_chart(section: Element, line: Timeline) -> None:
    if not line.arrived:
        _add(section, "p", "No part of the body arrived, so there is nothing to draw.", class_="faint")
        return
    top = max([*line.heights, line.due or 0])
    across = _Scale(line.span, *_time_unit(line.span))
    up = _Scale(top, *(("", 1) if line.unit == "row" else _byte_unit(top)))
    made = _dots(line.produced, line.heights, across, up)
    came = _dots(line.arrived, line.heights, across, up)
    crowded = (top if line.unit == "row" else len(line.arrived)) > _RINGS
    figure = _add(section, "figure")
    title = _title(line)
    _add(figure, "figcaption", title)
    _add_legend(figure, line, crowded)
    chart = _add(figure, "div", class_="chart")
    plot = _add(chart, "svg", class_="plot crowded" if crowded else "plot", role="img", aria_label=title)
    _add_axes(plot, across, up, "row number" if line.unit == "row" else f"{up.unit} of the body")
    thick = "2" if crowded else "4"
    for height, start, stop in _lags(line, across, up):
        level = _percent(1 - height)
        places = {"x1": _percent(start), "x2": _percent(stop), "y1": level, "y2": level}
        _add(plot, "line", class_="lag", stroke_width=thick, **places)
    for class_, dots, radius in (("made", made, "1.5" if crowded else "6"), ("came", came, "2" if crowded else "3.5")):
        for x, y in dots:
            _add(plot, "circle", class_=class_, cx=_percent(x), cy=_percent(1 - y), r=radius)
    if line.end:
        _add(plot, "line", class_="end", x1="100%", x2="100%", y1="0", y2="100%")
        _add(plot, "text", line.end, class_="end", x="100%", y="-8", text_anchor="end")
    _add(figure, "p", _how_drawn(line, len(came), crowded), class_="faint")


def _title(line: Timeline) -> str:
    kept = len(line.arrived)
    if line.unit == "read":
        reads = "1 read" if kept == 1 else f"{kept:,} reads"
        return f"{reads}: when each returned, and how much of the body had arrived by then"
    if line.count > kept:
        return f"The first {kept:,} of {line.count:,} rows: when each was produced, and when it arrived"
    number = f"{kept:,}" if line.due in (None, kept) else f"{kept:,} of {line.due:,}"
    return f"{number} row{'' if number == '1' else 's'}: when each was produced, and when it arrived"


def _how_drawn(line: Timeline, dots: int, crowded: bool) -> str:
    kept = len(line.arrived)
    if line.unit == "read":
        words = (
            "Each dot is a read, and as high as what had arrived with it. No lag can be told from this stream, so a "
        )
        words += "pause may be the app's or the path's."
    elif crowded:
        words = (
            "Each row has a grey dot where it was produced, by the client's clock, and a blue one where it arrived. "
        )
        words += "In time, the blue dot covers the grey one; the band between them is the lag."
    else:
        words = "Each row has a ring where it was produced, by the client's clock, and a dot where it arrived. "
        words += "In time, the dot sits in its ring; the bar between them is the lag."
    if line.unit == "row":
        words += " Dots that stand above one another arrived together."
    if dots < kept:
        words += f" What falls on the same spot is drawn once: {dots:,} dots for {kept:,} {line.unit}s."
    return words


def _add_legend(figure: Element, line: Timeline, crowded: bool) -> None:
    legend = _add(figure, "div", class_="legend crowded" if crowded else "legend")
    entries = [("came", "arrived", "circle", {"cx": "9", "cy": "9", "r": "3.5"})]
    if line.produced:
        entries.insert(0, ("made", "produced", "circle", {"cx": "9", "cy": "9", "r": "3.5" if crowded else "6"}))
        entries.append(("lag", "lag", "line", {"x1": "0", "x2": "18", "y1": "9", "y2": "9", "stroke-width": "4"}))
    for class_, words, tag, places in entries:
        entry = _add(legend, "span")
        _add(_add(entry, "svg", width="18", height="18", aria_hidden="true"), tag, class_=class_, **places)
        entry[-1].tail = words


class _Scale:
    """An axis from 0, with round numbers on it."""

    def __init__(self, end: float, unit: str, one: float) -> None:
        """Make an axis.

        Args:
            end: the largest value.
            unit: to be shown.
            one: the value that is one of that unit.
        """
        self.end = end
        self.unit = unit
        self._one = one

    def at(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        return min(max(value / self.end, 0.0), 1.0) if self.end else 0.0

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Give where a number belongs, and the number: at most seven, in steps of 1, 2 or 5 times a power of ten."""
        most = self.end / self._one
        if not most > 0:
            return
        power = 10.0 ** math.floor(math.log10(most / 6))
        step = next((power * factor for factor in (1, 2, 5) if power * factor * 6 >= most), power * 10)
        for index in range(int(most / step * 1.0001) + 1):
            yield self.at(index * step * self._one), f"{index * step:,.10g}"


def _time_unit(span: float) -> tuple[str, float]:
    return ("milliseconds", 0.001) if span < 1 else ("seconds", 1)


def _byte_unit(size: int) -> tuple[str, float]:
    units = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
    return next(((unit, float(one)) for unit, one in units if size >= one), ("bytes", 1.0))


def _dots(times: Sequence[float], heights: Sequence[int], across: _Scale, up: _Scale) -> list[tuple[float, float]]:
    """Return where the dots are, from 0 to 1, those that nobody could tell apart once."""
    seen: dict[tuple[int, int], tuple[float, float]] = {}
    for time, height in zip(times, heights, strict=False):
        x, y = across.at(time), up.at(height)
        seen.setdefault((round(x * _ACROSS), round(y * _UP)), (x, y))
    return list(seen.values())


def _lags(line: Timeline, across: _Scale, up: _Scale) -> Iterator[tuple[float, float, float]]:
    """Give for each height how far the bar from production to arrival goes, where it can be seen."""
    bars: dict[int, tuple[float, float, float]] = {}
    for made, came, height in zip(line.produced, line.arrived, line.heights, strict=False):
        y, start, stop = up.at(height), across.at(made), across.at(came)
        place = round(y * _UP)
        _, first, last = bars.get(place, (y, start, stop))
        bars[place] = (y, min(first, start), max(last, stop))
    return (bar for bar in bars.values() if bar[2] - bar[1] > 1 / _ACROSS)


def _add_axes(plot: Element, across: _Scale, up: _Scale, height: str) -> None:
    for place, number in across.ticks():
        x = _percent(place)
        _add(plot, "line", class_="grid", x1=x, x2=x, y1="0", y2="100%")
        _add(plot, "text", number, x=x, y="100%", dy="1.4em", text_anchor="middle")
    for place, number in up.ticks():
        y = _percent(1 - place)
        _add(plot, "line", class_="grid", x1="0", x2="100%", y1=y, y2=y)
        _add(plot, "text", number, x="-8", y=y, dy="0.35em", text_anchor="end")
    _add(plot, "text", f"{across.unit} after the request", x="50%", y="100%", dy="2.9em", text_anchor="middle")
    _add(plot, "text", height, x="-56", y="-8")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
