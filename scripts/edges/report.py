"""The comparison as a table in docs/edges.md, and as a picture of what arrived when."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from cluster.edges import DEFAULT, find
from cluster.run import ROOT
from streamproof.judge import overall
from streamproof.observation import Observation
from streamproof.timeline import timeline
from streamproof.verdict import Verdict, secs

from edges.bad import WHAT
from edges.measure import FAST, LONG, Measured

PAGE = ROOT / "docs" / "edges.md"
PICTURE = ROOT / "docs" / "images" / "edges.svg"
_START, _END = "<!-- make edges -->\n", "<!-- end -->\n"


def write(found: Sequence[Measured]) -> None:
    """Put the table and the picture of all edges where they belong."""
    before, _, rest = PAGE.read_text().partition(_START)
    _, end, after = rest.partition(_END)
    drawn = f"![When rows were produced, and when they arrived through each edge](images/{PICTURE.name})"
    PAGE.write_text(f"{before}{_START}{table(found)}\n\n{drawn}\n{end}{after}")
    PICTURE.write_text(picture(found))


def table(found: Sequence[Measured]) -> str:
    """Write a column for each edge and a row for each question: Markdown."""
    (base,) = [one for one in found if one.edge == DEFAULT]
    rows: dict[str, Callable[[Measured], str]] = {
        "version": lambda one: one.version,
        "the setting that a stream needs": lambda one: find(one.edge).setting,
        "8 rows, 500 ms apart": lambda one: _lag(one),
        f"a stream of {LONG} s": lambda one: _result(one, "long"),
        "ten streams at once": lambda one: _result(one, "concurrency"),
        "the client reads nothing for 3 s": _backpressure,
        "the app sends nothing for 15 s": _idle,
        "HTTP/2": lambda one: str(_verdict(one, "protocols", "protocols").numbers["HTTP/2"]),
        "HTTP/1.0 client": lambda one: str(_verdict(one, "protocols", "protocols").numbers["HTTP/1.0"]),
        "`Accept-Encoding: gzip`": _gzip,
        "the app breaks off half-way": _truncation,
        "with a bad setting": lambda one: f"{WHAT[one.edge]}: {_bad(one)}",
        "bytes, in chunks of 64 KiB": lambda one: _speed(one, base, "bytes"),
        "chunks of 64 bytes": lambda one: _speed(one, base, "chunks"),
        "memory after that": lambda one: ", ".join(f"{name} {mib:.0f} MiB" for name, mib in sorted(one.memory.items())),
    }
    lines = [["", *(one.edge for one in found)], ["---"] * (len(found) + 1)]
    lines += [[question, *(cell(one) for one in found)] for question, cell in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(one: Measured, about: str, question: str) -> Verdict:
    (verdict,) = [each for each in one.runs[about].verdicts() if each.question == question]
    return verdict


def _result(one: Measured, about: str) -> str:
    return overall(one.runs[about].verdicts())


def _lag(one: Measured) -> str:
    return f"{_result(one, 'stream')}, largest lag {_verdict(one, 'stream', 'timing').numbers['lag_max_ms']:.1f} ms"


def _backpressure(one: Measured) -> str:
    numbers = _verdict(one, "backpressure", "backpressure").numbers
    held = f"{float(numbers['bytes_held'] or 0) / (1 << 20):.1f} MiB ahead"
    return {"backpressure": f"the app stops, {held}", "absorb": f"the edge takes it in, {held}"}[
        str(numbers["outcome"])
    ]


def _idle(one: Measured) -> str:
    cut = _verdict(one, "idle", "idle").numbers.get("cut_after_ms")
    return "goes on" if cut is None else f"cut after {secs(float(cut) / 1000)}"


def _gzip(one: Measured) -> str:
    compressed = any(each.encoded_bytes is not None for each in one.runs["protocols"].observations)
    result = _verdict(one, "protocols", "protocols").numbers["HTTP/1.1 with gzip"]
    return f"{'compressed' if compressed else 'not compressed'}: {result}"


def _truncation(one: Measured) -> str:
    return (
        "noticed: no terminating chunk"
        if _verdict(one, "truncation", "framing").result == "FAIL"
        else "**looks complete**"
    )


def _bad(one: Measured) -> str:
    failed = [each.question for each in one.runs["bad"].verdicts() if each.result == "FAIL"]
    return f"FAIL in {' and '.join(failed)}" if failed else "**not found**"


def _speed(one: Measured, base: Measured, what: str) -> str:
    size, chunk = FAST[what]
    taken = statistics.median(one.seconds[what])
    # Of each round: what else the machine does changes from one to the next.
    ratios = sorted(theirs / ours for ours, theirs in zip(one.seconds[what], base.seconds[what], strict=True))
    amount = f"{size / taken / 1e6:.0f} MB/s" if what == "bytes" else f"{size / chunk / taken / 1000:.0f}k/s"
    if one is base:
        return amount
    return f"{statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}), {amount}"


_WIDTH, _LEFT, _PANEL = 640, 330, 46


def picture(found: Sequence[Measured]) -> str:
    """Draw as SVG, for each edge and stream, when rows were produced (ticks) and when they arrived (dots below)."""
    panels = [(one.edge, one.runs["stream"].observations[0]) for one in found]
    panels += [(f"{one.edge}: {WHAT[one.edge]}", one.runs["bad"].observations[0]) for one in found]
    size = {"width": str(_LEFT + _WIDTH + 110), "height": str(_PANEL * len(panels) + 30)}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg"} | size)
    SubElement(svg, "style").text = "text { font: 12px system-ui, sans-serif; fill: #1b1f24 }"
    SubElement(svg, "rect", width="100%", height="100%", fill="#fff")
    for number, (title, observation) in enumerate(panels):
        _panel(svg, title, observation, 24 + number * _PANEL)
    return tostring(svg, encoding="unicode") + "\n"


def _panel(svg: Element, title: str, observation: Observation, top: int) -> None:
    line = timeline(observation)
    scale = _WIDTH / line.span
    SubElement(svg, "text", x="8", y=str(top + 16)).text = title
    ruler = {"x1": str(_LEFT), "x2": str(_LEFT + _WIDTH), "stroke": "#d0d7de"}
    SubElement(svg, "line", ruler | {"y1": str(top + 12), "y2": str(top + 12)})
    for made in line.produced:
        x = f"{_LEFT + made * scale:.1f}"
        SubElement(svg, "line", {"x1": x, "x2": x, "y1": str(top), "y2": str(top + 10), "stroke": "#57606a"})
    for came in line.arrived:
        SubElement(svg, "circle", cx=f"{_LEFT + came * scale:.1f}", cy=str(top + 18), r="3", fill="#2f6feb")
    end = f"{secs(line.span)}{', ' if line.end else ''}{line.end}"
    SubElement(svg, "text", x=str(_LEFT + _WIDTH + 8), y=str(top + 16)).text = end
