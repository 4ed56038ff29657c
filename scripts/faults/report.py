"""What became of the streams, as a table and as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from faults.events import EVENTS

# The name of the picture, its title, and what was expected of the events in it.
_GROUPS = (
    ("survived", "What may lose no stream", ("none", "apart")),
    ("cut", "What can't be saved", ("noticed",)),
    ("controls", "What is lost without protection", ("control",)),
)
_COLOURS = {"completed": "#7aa6d8", "open": "#c9d8ea", "truncated": "#cf222e", "refused": "#e8833a", "wrong": "#8250df"}
_WIDTH, _LEFT, _LANE = 900, 70, 3


def write(folder: Path) -> None:
    """Make faults.md, faults.json and the pictures of the results that are in a folder, a JSON file for each event."""
    found = [json.loads(path.read_text()) for event in EVENTS if (path := folder / f"{event.name}.json").exists()]
    parts = []
    for group, title, expected in _GROUPS:
        results = [result for result in found if result["expected"] in expected]
        if results:
            (folder / f"{group}.svg").write_text(picture(results))
            parts += [f"## {title}", table(results), f"![{title}: each line is a stream]({group}.svg)"]
    for name, title in (("sse", "Server-sent events that are resumed"), ("hostile", "Slow and hostile clients")):
        if (path := folder / f"{name}.json").exists():
            numbers: dict[str, Any] = json.loads(path.read_text())
            rows = [f"| {key.replace('_', ' ')} | {value} |" for key, value in numbers.items()]
            parts += [f"## {title}", "\n".join(["| | |", "| --- | --- |", *rows])]
    for name, title in (("clocks", "The clocks, in seconds"), ("idle", "Idle streams, in seconds")):
        if (path := folder / f"{name}.json").exists():
            parts += [f"## {title}", waits(json.loads(path.read_text()))]
    numbers_alone = [{key: value for key, value in result.items() if key != "drawn"} for result in found]
    (folder / "faults.json").write_text(json.dumps(numbers_alone, indent=1) + "\n")
    (folder / "faults.md").write_text("\n\n".join(["# Faults", *parts]) + "\n")


def table(results: Sequence[dict[str, Any]]) -> str:
    """Write a row for each event: Markdown."""
    lines = [
        "| event | class | open | streams | completed | truncated | refused | wrong | taken for complete | longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    details = []
    for result in results:
        outcomes = result["outcomes"]
        numbers = [outcomes.get(each, 0) for each in ("completed", "truncated", "refused", "wrong")]
        cells = [result["title"], result["worker_class"], result["open"], sum(numbers), *numbers]
        # Only where streams are cut and the log outlives it, the log is asked too.
        cells += [result["taken"] if result["logged"] else "", f"{result['longest']:.0f} s"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
        if result["how"]:
            details.append(f"- {result['title']}: {_counts(result['how'])}.")
            if result["logged"]:
                details[-1] += f" In the app's log: {_counts(result['logged'])}."
            if result["after"]:
                details[-1] += f" Said afterwards: {'; '.join(result['after'])}."
    return "\n".join(lines) + ("\n\n" + "\n".join(details) if details else "")


def waits(found: Sequence[dict[str, Any]]) -> str:
    """Write a row for each clock or idle stream, a column for each attribute: Markdown."""
    head = [name.replace("_", " ") for name in found[0]]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for each in found:
        cells = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in each.values())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items(), key=lambda each: -each[1]))


def picture(results: Sequence[dict[str, Any]]) -> str:
    """Draw a panel for each event as SVG.

    A line is a place among those that are open at a time, with one stream after another on it.
    """
    height = sum(_height(result) for result in results)
    size = {"width": str(_WIDTH + _LEFT + 20), "height": str(height + 30)}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg"} | size)
    SubElement(svg, "style").text = "text { font: 12px system-ui, sans-serif; fill: #1b1f24 }"
    SubElement(svg, "rect", width="100%", height="100%", fill="#fff")
    x = _LEFT
    for name, colour in _COLOURS.items():
        SubElement(svg, "rect", x=str(x), y="10", width="14", height="8", fill=colour)
        SubElement(svg, "text", x=str(x + 18), y="18").text = name
        x += 110
    top = 30
    for result in results:
        _panel(svg, result, top)
        top += _height(result)
    return tostring(svg, encoding="unicode") + "\n"


def _height(result: dict[str, Any]) -> int:
    lanes: int = result["lanes"]
    return lanes * _LANE + 70


def _panel(svg: Element, result: dict[str, Any], top: int) -> None:
    began, ended, lanes = result["began"], result["ended"], result["lanes"]
    scale = _WIDTH / max(ended - began, 1)
    first = top + 28
    SubElement(svg, "text", x=str(_LEFT), y=str(top + 18), style="font-weight: 600").text = result["title"]
    # Keys alone: refusals that come fast fall on the same spot, and are drawn once.
    paths: dict[str, dict[str, None]] = {name: {} for name in _COLOURS}
    marks: list[tuple[float, float, str]] = []
    for lane, start, end, outcome in result["drawn"]:
        left, right = (_LEFT + (min(max(each, began), ended) - began) * scale for each in (start, end))
        y = first + lane * _LANE + _LANE / 2
        paths[outcome][f"M{left:.0f} {y:g}H{max(right - 1.5, left + 1):.0f}"] = None
        if outcome in ("truncated", "wrong"):
            marks.append((right, y, _COLOURS[outcome]))
    for outcome, path in paths.items():
        if path:
            stroke = {"stroke": _COLOURS[outcome], "stroke-width": str(_LANE * 0.6)}
            SubElement(svg, "path", {"d": "".join(path)} | stroke)
    for right, y, colour in marks:
        SubElement(svg, "circle", cx=f"{right:.1f}", cy=f"{y:g}", r="1.8", fill=colour)
    at = f"{_LEFT + (result['at'] - began) * scale:.1f}"
    bottom = first + lanes * _LANE
    SubElement(svg, "line", x1=at, x2=at, y1=str(first - 6), y2=str(bottom + 4), stroke="#1b1f24")
    SubElement(svg, "text", x=at, y=str(bottom + 16), dx="-3").text = "it happens"
    for x, words, anchor in (
        (_LEFT, f"{began:.0f} s", "start"),
        (_LEFT + _WIDTH, f"{ended:.0f} s", "end"),
    ):
        SubElement(svg, "text", {"x": str(x), "y": str(bottom + 16), "text-anchor": anchor}).text = words
    SubElement(svg, "text", x="4", y=str(first + 12)).text = f"{lanes} at a"
    SubElement(svg, "text", x="4", y=str(first + 26)).text = "time"
