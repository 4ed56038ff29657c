"""How pages are read, compared and rewritten; and what must be so of the pages that are here."""

import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from doc_blocks.pages import (
    ROOT,
    BadPage,
    blocks,
    broken_links,
    headings,
    links,
    matches,
    names,
    pages,
    rewritten,
    shown,
)
from streamproof.cli import cli

FENCE = "```"
ISSUE_FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "stream.yml"
# All that are shipped, those among them that are not run.
PAGES = sorted(
    {*pages(), *(page for folder in ("docs", "chart", "scripts", ".github") for page in (ROOT / folder).rglob("*.md"))}
)


PRODUCED = "produced  |   |   |   |   |   |   |   |"


def page(mark: str, *lines: str) -> str:
    return "\n".join(["# A page", "", mark, f"{FENCE}console", *lines, FENCE, "", "The end.", ""])


def test_a_block_is_read_with_its_commands_and_their_outputs() -> None:
    (block,) = blocks(page("<!-- run: local -->", "$ one \\", "    --more", "a", "", "$ two", "$ three # why", "b"))
    assert (block.where, block.first) == ("local", "")
    assert [(command.text, command.output) for command in block.commands] == [
        ("one \\\n    --more", ("a", "")),
        ("two", ()),
        ("three # why", ("b",)),
    ]


def test_a_mark_names_what_is_not_in_the_block() -> None:
    (block,) = blocks(page("<!-- run: cluster, first: helm uninstall x --wait -->", "$ one"))
    assert (block.where, block.first) == ("cluster", "helm uninstall x --wait")
    (block,) = blocks(page("<!-- run: cluster, printed by: make demo -->", "a", "b"))
    assert [(command.text, command.output) for command in block.commands] == [("make demo", ("a", "b"))]


def test_a_block_can_be_a_part_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "views.py"
    lines = ("import os", "", "$ = 'not a command $HOME'")
    text = page(f"<!-- run: local, added to: {file} -->", *lines).replace("console", "python")
    (block,) = blocks(text)
    (command,) = block.commands
    for _ in range(2):
        subprocess.run(["sh", "-c", f"{command.text}\nexit $?"], check=True)
    assert file.read_text().splitlines() == [*lines, *lines]
    assert blocks(page("", *lines).replace("console", "python")) == []


def test_a_block_that_is_not_run_says_why() -> None:
    assert blocks(page("<!-- not run: it removes the cluster -->", "$ make kind-down")) == []


@pytest.mark.parametrize("mark", ["", "<!-- run -->", "<!-- run: there -->", "<!-- not run: -->", "<!-- a word -->"])
def test_a_block_without_a_mark_that_can_be_read_is_refused_with_its_line(mark: str) -> None:
    with pytest.raises(BadPage, match="line 4: a console block needs a mark above it"):
        blocks(page(mark, "$ one"))


def test_an_output_without_its_command_is_refused() -> None:
    with pytest.raises(BadPage, match="line 5: a console block begins with a command"):
        blocks(page("<!-- run: local -->", "an output"))


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("TTFB 4.7 ms, 2759 ms in all", "TTFB 13 ms, 2.9 s in all"),
        ("date: Mon, 23 Nov 2026 14:49:44 GMT", "date: Tue, 01 Dec 2026 00:00:00 GMT"),
        ("X-Request-ID: " + "0a" * 16, "X-Request-ID: " + "1b" * 16),
        ("> Host: 127.0.0.1:8080", "> Host: 127.0.0.1:18080"),
        ("00000001 1795445384.287920533 BCD", "00000001 1795445999.000000001 BCD"),
        ('"duration_s": 0.22, "ttfb_s": 0.018}', '"duration_s": 0.31, "ttfb_s": 0.2}'),
        ("arrived   |     |   |", "arrived   |   |     |"),
        ("arrived   |     |   |", "arrived   |       2"),
        ("curl: (18) transfer closed", "curl: (18) end of response"),
        ("F\n...\n0", "F\nrow\n\nF\nrow\n\n0"),
        ("...", "anything"),
        ("PASS  timing  largest lag\n                            25 ms", "PASS  timing  largest lag 1.2 ms"),
    ],
)
def test_times_of_one_magnitude_ids_ports_and_dates_may_differ(written: str, printed: str) -> None:
    assert matches(tuple(written.split("\n")), printed.split("\n"))


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("PASS  timing", "FAIL  timing"),
        ("chunked, 12 chunks", "chunked, 11 chunks"),
        ("arrived   |     |   |", "arrived   |     |"),
        ("arrived   |     |   |", "arrived   |     2   |"),
        (
            f"{PRODUCED}\narrived   |  |  |  |  |  |  |  |",
            f"{PRODUCED}\narrived                    |  |  |  |  |  |  |  |",
        ),
        (
            f"{PRODUCED}\narrived   |  |  |  |  |  |  |  |",
            f"{PRODUCED}\narrived               |   |   |   |   |   |   |   |",
        ),
        (f"{PRODUCED}\narrived                         #", f"{PRODUCED}\narrived   #"),
        ("PASS  timing  largest lag 1.2 ms", "PASS  timing  largest lag 2751 ms"),
        ("a gap of 1.0 s", "a gap of 3.5 s"),
        ("TTFB 4.7 ms", "TTFB 4.7 s"),
        ("F\n...\ntook 5 ms", "F\n...\ntook 2 s"),
        ('"duration_s": 0.22', '"duration_s": 2.2'),
        ("Content-Length: 18", "Content-Length: 15"),
        ("exit status 18", "exit status 0"),
        ("curl: (18) transfer closed", "curl: (92) transfer closed"),
        ("sha256=" + "0a" * 32, "sha256=" + "1b" * 32),
        ("one", "one\ntwo"),
        ("one\ntwo", "one"),
        ("F\n...\n0", "F\nrow\n10"),
        ("F\n...\nF", "F"),
    ],
)
def test_all_else_must_be_the_same(written: str, printed: str) -> None:
    assert not matches(tuple(written.split("\n")), printed.split("\n"))


def test_what_has_changed_is_rewritten_and_nothing_else() -> None:
    text = page("<!-- run: local -->", "$ one", "took 5 ms", "$ two", "old", "...", "end", "$ three")
    one, two, three = blocks(text)[0].commands
    outputs = {one: ["took 9 ms"], two: ["new", "a", "b", "END"], three: ["not shown"]}
    assert rewritten(text, outputs) == text.replace("old\n...\nend", "new\n...\nEND")
    assert rewritten(rewritten(text, outputs), {}) == rewritten(text, outputs)


def test_an_output_is_shown_without_carriage_returns_and_curls_talk_about_the_connection() -> None:
    printed = "*   Trying\n> GET /\r\n{ [15 bytes data]\nF\r\nrow\r\n\r\n* a row of dots\n"
    assert shown(printed, "curl -v URL") == ["> GET /", "F", "row", ""]
    assert "* a row of dots" in shown(printed, "cat file")


def test_anchors_are_those_of_github() -> None:
    text = "# What `nginx` does, and why\n\n## A: b-c_d\n\n## A: b-c_d\n"
    assert headings(text) == {"what-nginx-does-and-why", "a-b-c_d", "a-b-c_d-1"}


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    assert links("[a](b.md#c) ![d](e.png) <https://x.org>") == ["b.md#c", "e.png", "https://x.org"]
    (tmp_path / "outside.md").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "there.md").write_text("# One image")
    page = root / "page.md"
    page.write_text("[a](there.md) [b](there.md#one-image) [c](there.md#two) [d](none.md) [e](#f) [g](../outside.md)")
    assert broken_links(page, root) == ["there.md#two", "none.md", "#f", "../outside.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_console_block_has_a_mark(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    marked = len(re.findall("^<!-- (?:not )?run: (?!.*added to: )", text, re.MULTILINE))
    assert marked == len(re.findall(f"^{FENCE}console$", text, re.MULTILINE))
    blocks(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_names_in_the_code_exists(path: Path) -> None:
    """A test by its name; a class, function or method of Django or gunicorn by its path."""
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for name in names(path.read_text(encoding="utf-8")):
        if name.startswith("test_"):
            assert re.search(rf"def {name}\(", tests), f"there is no {name}"
        else:
            pkgutil.resolve_name(name)


def test_an_app_of_ones_own_changes_at_most_five_values_of_the_chart() -> None:
    (text,) = re.findall(f"{FENCE}yaml\n(.*?)\n{FENCE}", (ROOT / "docs" / "your-app.md").read_text(), re.DOTALL)
    groups = yaml.safe_load(text)
    chart = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text())
    changed = {f"{group}.{name}" for group, values in groups.items() for name in values}
    assert 0 < len(changed) <= 5
    assert changed <= {
        f"{group}.{name}" for group, values in chart.items() if isinstance(values, dict) for name in values
    }


@pytest.mark.parametrize("path", [*PAGES, ISSUE_FORM], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_tells_to_type_exists(path: Path) -> None:
    """A target of make; an option of streamproof's commands."""
    text = path.read_text(encoding="utf-8")
    targets = re.findall("^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) <= set(targets)
    for name, rest in re.findall(r"\bstreamproof (verify|diagnose)\b([^`|\n]*)", text):
        command = cli.commands[name]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(re.findall(r" (--[a-z0-9.-]+)", rest)) <= options


def test_the_issue_form_asks_for_what_streamproof_says() -> None:
    form = yaml.safe_load(ISSUE_FORM.read_text(encoding="utf-8"))
    asked = {field["id"]: field for field in form["body"] if "id" in field}
    assert "streamproof verify --json" in asked["verify"]["attributes"]["description"]
    assert asked["verify"]["validations"] == {"required": True}
    assert "streamproof diagnose --json" in asked["diagnose"]["attributes"]["description"]
