"""The figures as a table, as JSON and as pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from bench.measures import Curves, Figures, Table
from bench.ratio import Ratio

_WIDTH, _LINE, _LEFT = 980, 34, 470
_INK, _GOOD, _BAD, _PLAIN = "#1b1f24", "#2f6f44", "#cf222e", "#5b7fa8"
_COLOURS = ("#5b7fa8", "#e8833a", "#2f6f44", "#8250df", "#cf222e", "#1b1f24")


def write(folder: Path, stem: str, title: str, figures: Figures, settings: Mapping[str, str]) -> None:
    """Make a page, the same as JSON, and the pictures.

    Args:
        folder: made if it is not there.
        stem: how the names of all files begin.
        title: of the page.
        figures: what is in it.
        settings: under which they were measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}"]
    if figures.ratios:
        (folder / f"{stem}-ratios.svg").write_text(ratios_picture(figures.ratios))
        parts += [ratios(figures.ratios), f"![The ratios with their intervals, and the bounds]({stem}-ratios.svg)"]
    if figures.checks:
        rows = [[each.title, each.found, each.wanted, _word(each.holds)] for each in figures.checks]
        parts.append(_table(Table("", ("what", "found", "bound", "holds"), rows)))
    for table in figures.tables:
        parts += [f"## {table.title}", _table(table)]
    for each in figures.curves:
        (folder / f"{stem}-{each.name}.svg").write_text(curves(each))
        parts += [f"## {each.title}", f"![{each.up} by {each.across}]({stem}-{each.name}.svg)"]
    parts += ["## Settings", _table(Table("", ("", ""), list(settings.items())))]
    (folder / f"{stem}.md").write_text("\n\n".join(parts) + "\n")
    whole = {
        "settings": dict(settings),
        "ratios": [each.as_json() for each in figures.ratios],
        "checks": [asdict(each) for each in figures.checks],
        "tables": [asdict(each) for each in figures.tables],
        "curves": [asdict(each) for each in figures.curves],
    }
    (folder / f"{stem}.json").write_text(json.dumps(whole, indent=1) + "\n")


def ratios(figures: Sequence[Ratio]) -> str:
    """Write a row for each ratio: Markdown."""
    rows = []
    for each in figures:
        low, high = each.interval
        bound = "" if each.bound is None else f"{'at most' if each.at_most else 'at least'} {each.bound:g}"
        found = (f"{each.middle:.2f}", f"{low:.2f} to {high:.2f}", str(len(each.values)))
        rows.append([each.title, each.against, *found, bound, _word(each.holds)])
    head = ("what", "against", "ratio", "95 % interval", "rounds", "bound", "holds")
    words = "Ratios are medians of interleaved rounds; a bound must hold at the worse end of the interval."
    return words + "\n\n" + _table(Table("", head, rows))


def _word(holds: bool | None) -> str:
    return {True: "yes", False: "**no**", None: ""}[holds]


def _table(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def _svg(width: int, height: int) -> Element:
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": str(width), "height": str(height)})
    SubElement(svg, "style").text = f"text {{ font: 12px system-ui, sans-serif; fill: {_INK} }}"
    SubElement(svg, "rect", width="100%", height="100%", fill="#fff")
    return svg


def _line(svg: Element, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    SubElement(svg, "line", ends | {"stroke": colour, "stroke-width": str(width)})


def _text(svg: Element, x: float, y: float, words: str, anchor: str = "start") -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = words


def ratios_picture(figures: Sequence[Ratio]) -> str:
    """Draw each ratio with its interval, and its bound as a bar, on a logarithmic scale: SVG."""
    height = _LINE * len(figures) + 60
    svg = _svg(_WIDTH, height)
    ends = [end for each in figures for end in (*each.interval, each.bound or each.middle)]
    low, high = math.log10(min(*ends, 0.5) / 1.2), math.log10(max(*ends, 2) * 1.2)

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) - low) / (high - low) * (_WIDTH - _LEFT - 60)

    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200):
        if low <= math.log10(tick) <= high:
            _line(svg, x(tick), 30, x(tick), height - 10, _INK if tick == 1 else "#dfe3e8")
            _text(svg, x(tick), 22, f"{tick:g}", "middle")
    for number, each in enumerate(figures):
        y = 52 + number * _LINE
        colour = {True: _GOOD, False: _BAD, None: _PLAIN}[each.holds]
        _text(svg, 10, y - 3, each.title)
        _text(svg, 10, y + 11, f"against {each.against}")
        first, last = each.interval
        _line(svg, x(first), y, x(last), y, colour, 3)
        SubElement(svg, "circle", cx=f"{x(each.middle):.1f}", cy=str(y), r="4", fill=colour)
        if each.bound is not None:
            _line(svg, x(each.bound), y - 10, x(each.bound), y + 10, _INK, 2)
        _text(svg, _WIDTH - 50, y + 4, f"{each.middle:.2f}")
    return tostring(svg, encoding="unicode") + "\n"


def curves(drawn: Curves) -> str:
    """Draw lines through points, both scales logarithmic: SVG."""
    width, height, right_margin = 980, 440, 300
    svg = _svg(width, height)
    points = [point for found in drawn.series.values() for point in found]
    # At least a power of ten, so that what is nearly the same looks so.
    ends = [
        (math.log10(min(*each, max(each) / 8) / 1.15), math.log10(max(each) * 1.15))
        for each in zip(*points, strict=True)
    ]

    def x(value: float) -> float:
        return 70 + (math.log10(value) - ends[0][0]) / (ends[0][1] - ends[0][0]) * (width - 70 - right_margin)

    def y(value: float) -> float:
        return height - 50 - (math.log10(value) - ends[1][0]) / (ends[1][1] - ends[1][0]) * (height - 90)

    for tick in _ticks(*ends[0]):
        _line(svg, x(tick), 40, x(tick), height - 50, "#dfe3e8")
        _text(svg, x(tick), height - 34, _short(tick), "middle")
    for tick in _ticks(*ends[1]):
        _line(svg, 70, y(tick), width - right_margin, y(tick), "#dfe3e8")
        _text(svg, 62, y(tick) + 4, _short(tick), "end")
    _text(svg, (width - right_margin + 70) / 2, height - 12, drawn.across, "middle")
    _text(svg, 10, 24, drawn.up)
    # Names stand beside the ends of their lines, and below each other where these are close.
    lowest = 0.0
    for name, found in sorted(drawn.series.items(), key=lambda each: y(max(each[1])[1])):
        colour = _COLOURS[list(drawn.series).index(name) % len(_COLOURS)]
        places = [(x(across), y(up)) for across, up in sorted(found)]
        path = "M" + "L".join(f"{one:.1f} {other:.1f}" for one, other in places)
        SubElement(svg, "path", {"d": path, "stroke": colour, "stroke-width": "2", "fill": "none"})
        for one, other in places:
            SubElement(svg, "circle", cx=f"{one:.1f}", cy=f"{other:.1f}", r="3", fill=colour)
        lowest = max(lowest + 16, places[-1][1] + 4)
        _line(svg, *places[-1], width - right_margin + 12, lowest - 4, colour, 0.5)
        _text(svg, width - right_margin + 16, lowest, name)
    return tostring(svg, encoding="unicode") + "\n"


def _ticks(low: float, high: float) -> list[float]:
    """Return the values to mark between two logarithms: more of them where there is little between."""
    steps = (1, 2, 5) if high - low < 3 else (1,)
    found = [step * 10.0**power for power in range(math.floor(low), math.ceil(high)) for step in steps]
    return [each for each in found if low <= math.log10(each) <= high]


def _short(value: float) -> str:
    return f"{value:,.10g}" if value < 10**6 else f"10^{math.log10(value):.0f}"
