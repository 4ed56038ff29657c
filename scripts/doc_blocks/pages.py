"""What a page says: its console blocks with their marks, and what it refers to. Nothing is run here.

A mark is a comment above a block, which GitHub does not show:

    <!-- run: local -->                          what the commands print needs servers on loopback alone
    <!-- run: cluster -->                        … the demo on its cluster
    <!-- run: cluster, first: COMMAND -->        … in a state that this command brings about, which is not shown
    <!-- run: cluster, printed by: COMMAND -->   the block is what this command prints, and holds no command
    <!-- run: cluster, added to: FILE -->        the block, of any language, is added at the end of this file
    <!-- not run: REASON -->

In a block a line that begins with `$ ` is a command, which goes on in the next line after a backslash. The lines that
follow are its standard output, in which `...` stands for any lines. A command without any has its output left out: that
it succeeds is all that is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = "..."

_MARK = re.compile(
    r"<!-- (?:run: (?P<where>local|cluster)(?:, (?P<how>first|printed by|added to): (?P<command>.+?))?"
    r"|not run: (?P<reason>.+?)) -->"
)
# In this order: what is replaced first is not seen by those that follow.
_VARIABLE = [
    (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\b", "DATE"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "DATE"),
    (r"\b\d{10}\.\d{9}\b", "TIME"),  # of a row
    (r"\b[0-9a-f]{32}\b", "ID"),  # of a request
    (r"\bstreaming-[0-9a-f]{6,10}-[0-9a-z]{5}\b", "POD"),
    (r'"(pid|client|duration_s|ttfb_s)": ("[^"]*"|[\d.]+)', r'"\1": VALUE'),
    (r"\b127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\bcurl/[\d.]+", "curl/VERSION"),
    (r"^curl: (\(\d+\)) .*", r"curl: \1 WORDS"),  # they differ between its versions
    (r"\bnginx/[\d.]+", "nginx/VERSION"),
    (r"\b\d+(\.\d+)? (ms|s)\b", "TIME"),
    (r"^(produced|arrived) [ |\d#]+$", r"\1 ROWS"),
    (r" {2,}", "  "),
]
# Two durations are of one magnitude if one is at most twice the other, and a busy machine's hiccup in seconds more.
_HICCUP = 0.5
_DURATION = re.compile(r'\b(\d+(?:\.\d+)?) (ms|s)\b|"(?:duration|ttfb)_s": ([\d.]+)')
# A drawing of rows over time: a mark is a row, so many rows, or more than nine. A row may stand elsewhere by this part
# of the width, so rows on time are no lump.
_DRAWING = re.compile(r"(?:produced|arrived) ([ |\d#]+)")
_ASTRAY = 0.25
# What curl says about the connection differs between its versions, and some only when it doesn't write to a terminal.
_CURLS_OWN = re.compile(r"(\* |[{}] \[\d+ bytes data\]).*")


class BadPage(Exception):
    """A page cannot be used; the message names the line and says what is wrong."""


@dataclass(frozen=True)
class Command:
    """A command and the output that is written below it.

    Attributes:
        text: for the shell.
        start: index of the page's line at which the output begins.
        output: its lines.
    """

    text: str
    start: int
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A console block that is to be run.

    Attributes:
        line: number of its first line in the page, from 1.
        where: "local" or "cluster".
        first: a command that is run before the others and not shown; empty for none.
        commands: at least one.
    """

    line: int
    where: str
    first: str
    commands: tuple[Command, ...]


def pages(where: str = "") -> list[Path]:
    """Return the pages whose console blocks are run, or those of them that have some for "local" or "cluster"."""
    found = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if not where or f"\n<!-- run: {where}" in page.read_text(encoding="utf-8")]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that are to be run.

    Raises:
        BadPage: a console block has no mark, or one that cannot be read.
    """
    lines = text.splitlines()
    found = []
    for token in MarkdownIt().parse(text):
        if token.type != "fence" or token.map is None:
            continue
        start, end = token.map[0] + 1, token.map[1] - 1
        mark = _MARK.fullmatch(lines[token.map[0] - 1].strip()) if token.map[0] else None
        if mark is None and token.info.strip() != "console":
            continue
        if mark is None:
            raise BadPage(f"line {start}: a console block needs a mark above it, such as <!-- run: local -->")
        if mark["reason"]:
            continue
        if mark["how"] == "printed by":
            commands = [Command(mark["command"], start, tuple(lines[start:end]))]
        elif mark["how"] == "added to":
            content = "\n".join(lines[start:end])
            commands = [Command(f"cat >> {mark['command']} <<'END OF BLOCK'\n{content}\nEND OF BLOCK", end, ())]
        else:
            commands = list(_commands(lines, start, end))
        first = mark["command"] if mark["how"] == "first" else ""
        found.append(Block(start, mark["where"], first, tuple(commands)))
    return found


def _commands(lines: list[str], start: int, end: int) -> Iterator[Command]:
    if not lines[start].startswith("$ "):
        raise BadPage(f"line {start + 1}: a console block begins with a command, or its mark says `printed by: …`")
    while start < end:
        text = [lines[start].removeprefix("$ ")]
        while text[-1].endswith("\\") and start + 1 < end:
            start += 1
            text.append(lines[start])
        start += 1
        stop = next((place for place in range(start, end) if lines[place].startswith("$ ")), end)
        yield Command("\n".join(text), start, tuple(lines[start:stop]))
        start = stop


def shown(printed: str, command: str) -> list[str]:
    """Return the lines of a command's output as a page shows them: without carriage returns, or curl's talk."""
    lines = [line.rstrip() for line in printed.replace("\r", "").rstrip("\n").split("\n")]
    if "curl " in command:
        lines = [line for line in lines if not _CURLS_OWN.fullmatch(line)]
    return lines if any(lines) else []


def matches(written: tuple[str, ...], printed: list[str]) -> bool:
    """Tell whether an output is what the page says, but for ids, ports, dates, versions, and times of one magnitude."""
    said, found = _read(list(written)), _read(printed)
    texts = [line.text for line in said]
    if LEFT_OUT in texts:
        head, tail = (len(part) for part in _around(texts))
        if len(found) < head + tail:
            return False
        said, found = (lines[:head] + lines[len(lines) - tail :] for lines in (said, found))
    width = max((row for line in said + found for row in line.rows), default=0)
    return len(said) == len(found) and all(_alike(*lines, width) for lines in zip(said, found, strict=True))


def _around(lines: list[str]) -> tuple[list[str], list[str]]:
    place = lines.index(LEFT_OUT)
    return lines[:place], lines[place + 1 :]


@dataclass(frozen=True)
class _Line:
    """A line of an output.

    Attributes:
        text: what must be the same.
        durations: those in it, in seconds.
        rows: the column of each row that is drawn.
    """

    text: str
    durations: tuple[float, ...]
    rows: tuple[int, ...]


def _alike(one: _Line, other: _Line, width: int) -> bool:
    return (
        (one.text, len(one.rows)) == (other.text, len(other.rows))
        and all(abs(row - there) <= _ASTRAY * width for row, there in zip(one.rows, other.rows, strict=True))
        and all(max(pair) <= 2 * min(pair) + _HICCUP for pair in zip(one.durations, other.durations, strict=True))
    )


def _read(lines: list[str]) -> list[_Line]:
    # A sentence of a verdict is wrapped, and where depends on how long its numbers are.
    lines = re.sub(r"(?<=\S)\n {20,}(?=\S)", " ", "\n".join(lines)).split("\n")
    return [_Line(_normalised(line), _durations(line), _rows(line)) for line in lines]


def _normalised(line: str) -> str:
    for pattern, name in _VARIABLE:
        line = re.sub(pattern, name, line)
    return line


def _durations(line: str) -> tuple[float, ...]:
    found = _DURATION.findall(line)
    return tuple(
        float(field) if field else float(number) / (1000 if unit == "ms" else 1) for number, unit, field in found
    )


def _rows(line: str) -> tuple[int, ...]:
    """Return where each row of a drawing stands; ten of those behind a #, which are more than nine."""
    drawing = _DRAWING.fullmatch(line)
    counts = {" ": 0, "|": 1, "#": 10}
    marks = enumerate(drawing[1] if drawing else "")
    return tuple(column for column, mark in marks for _ in range(counts[mark] if mark in counts else int(mark)))


def rewritten(text: str, outputs: dict[Command, list[str]]) -> str:
    """Return a page in which each output that no longer matches is replaced by what the command has printed.

    Args:
        text: of the page.
        outputs: what commands of its blocks have printed, by `shown`.
    """
    lines = text.splitlines()
    for command, printed in sorted(outputs.items(), key=lambda item: item[0].start, reverse=True):
        if not command.output or matches(command.output, printed):
            continue
        new = printed
        if LEFT_OUT in command.output:
            head, tail = (len(part) for part in _around(list(command.output)))
            new = [*printed[:head], LEFT_OUT, *printed[max(len(printed) - tail, head) :]]
        lines[command.start : command.start + len(command.output)] = new
    return "\n".join(lines) + "\n"


def headings(text: str) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    tokens = MarkdownIt().parse(text)
    titles = [tokens[place + 1].children or [] for place, token in enumerate(tokens) if token.type == "heading_open"]
    anchors: set[str] = set()
    for title in titles:
        words = "".join(child.content for child in title).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while (numbered := f"{anchor}-{count}" if count else anchor) in anchors:
            count += 1
        anchors.add(numbered)
    return anchors


def links(text: str) -> list[str]:
    """Return where a page's links and images lead to."""
    inline = [child for token in MarkdownIt().parse(text) for child in token.children or []]
    found = [child.attrGet("href") or child.attrGet("src") for child in inline if child.type in ("link_open", "image")]
    return [str(target) for target in found if target]


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    """Return the links of a page that lead to no file of the repository at root, or to no heading in it."""
    broken = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if (
            not target.is_relative_to(root)
            or not target.exists()
            or (anchor and target.suffix == ".md" and anchor not in headings(target.read_text(encoding="utf-8")))
        ):
            broken.append(link)
    return broken


def names(text: str) -> set[str]:
    """Return what a page calls by its name in the code of Django, gunicorn or the tests."""
    code = re.findall(r"`([\w.]+)`", text)
    return {name for name in code if re.match(r"(django|gunicorn)\.\w+\.|test_", name) and not name.endswith(".py")}
