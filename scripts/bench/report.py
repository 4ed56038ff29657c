"""The figures as a table, as JSON and as pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from bench.measures import Figures, Table
from bench.ratio import Ratio

_WIDTH, _LINE, _LEFT = 980, 34, 470
_INK, _GOOD, _BAD, _PLAIN = "#1b1f24", "#2f6f44", "#cf222e", "#5b7fa8"
_COLOURS = ("#5b7fa8", "#e8833a")


def write(folder: Path, figures: Figures, settings: Mapping[str, str]) -> None:
    """Make bench.md, bench.json and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Close to what the edge can carry", ratios(figures.ratios)]
    if figures.ratios:
        (folder / "bench-ratios.svg").write_text(ratios_picture(figures.ratios))
        parts.append("![The ratios with their intervals, and the bounds](bench-ratios.svg)")
    if figures.checks:
        rows = [[each.title, each.found, each.wanted, _word(each.holds)] for each in figures.checks]
        parts.append(_table(Table("", ("what", "found", "bound", "holds"), rows)))
    for table in figures.tables:
        parts += [f"## {table.title}", _table(table)]
    if figures.first:
        (folder / "bench-first-byte.svg").write_text(first_picture(figures.first))
        parts += ["## Time to the first byte", "![By the size of the body](bench-first-byte.svg)"]
    parts += ["## Settings", _table(Table("", ("", ""), list(settings.items())))]
    (folder / "bench.md").write_text("\n\n".join(parts) + "\n")
    whole = {
        "settings": dict(settings),
        "ratios": [each.as_json() for each in figures.ratios],
        "checks": [asdict(each) for each in figures.checks],
        "tables": [asdict(each) for each in figures.tables],
        "first": figures.first,
    }
    (folder / "bench.json").write_text(json.dumps(whole, indent=1) + "\n")


def ratios(figures: Sequence[Ratio]) -> str:
    """Write a row for each ratio: Markdown."""
    rows = []
    for each in figures:
        low, high = each.interval
        bound = "" if each.bound is None else f"{'at most' if each.at_most else 'at least'} {each.bound:g}"
        rows.append(
            [each.title, each.against, f"{each.middle:.2f}", f"{low:.2f} to {high:.2f}", bound, _word(each.holds)]
        )
    head = ("what", "against", "ratio", "95 % interval", "bound", "holds")
    rounds = min((len(each.values) for each in figures), default=0)
    words = f"Ratios are medians of {rounds} interleaved rounds; a bound must hold at the worse end of the interval."
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


def first_picture(first: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Draw the time to the first byte over the size of the body, both logarithmic: SVG."""
    series = {way: [(float(size), seconds * 1000) for size, seconds in found] for way, found in first.items()}
    return curves(series, "bytes of the body", "ms to the first byte")


def curves(series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> str:
    """Draw lines through points, both scales logarithmic: SVG."""
    points = [point for found in series.values() for point in found]
    (left, right), (bottom, top) = (
        (math.floor(math.log10(min(a))), math.ceil(math.log10(max(a)))) for a in zip(*points, strict=True)
    )
    right, top = max(right, left + 1), max(top, bottom + 1)
    width, height = 760, 420
    svg = _svg(width, height)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = 70 + (math.log10(point[0]) - left) / (right - left) * (width - 220)
        return x, height - 50 - (math.log10(point[1]) - bottom) / (top - bottom) * (height - 90)

    for power in range(left, right + 1):
        x, _ = place((10.0**power, 10.0**bottom))
        _line(svg, x, 40, x, height - 50, "#dfe3e8")
        _text(svg, x, height - 34, f"{10**power:,.10g}" if power < 4 else f"10^{power}", "middle")
    for power in range(bottom, top + 1):
        _, y = place((10.0**left, 10.0**power))
        _line(svg, 70, y, width - 150, y, "#dfe3e8")
        _text(svg, 62, y + 4, f"{10.0**power:,.10g}", "end")
    _text(svg, (width - 80) / 2, height - 12, across, "middle")
    _text(svg, 10, 24, up)
    for colour, (way, found) in zip(_COLOURS, series.items(), strict=False):
        places = [place(point) for point in sorted(found)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        SubElement(svg, "path", {"d": path, "stroke": colour, "stroke-width": "2", "fill": "none"})
        for x, y in places:
            SubElement(svg, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", fill=colour)
        _text(svg, places[-1][0] + 8, places[-1][1] + 4, way)
    return tostring(svg, encoding="unicode") + "\n"
