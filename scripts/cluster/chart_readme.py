"""Writes the table of values in chart/README.md from chart/values.yaml: `python -m cluster.chart_readme`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from cluster.run import ROOT

_VALUES = ROOT / "chart" / "values.yaml"
README = ROOT / "chart" / "README.md"
_START, _END = "<!-- values: made by cluster.chart_readme -->\n", "<!-- end of values -->\n"


def rendered() -> str:
    """Return the README with the table as values.yaml has it now."""
    before, rest = README.read_text().split(_START)
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in values()]
    return before + _START + "\n".join(rows) + "\n" + _END + rest.split(_END)[1]


def values() -> Iterator[tuple[str, str, str]]:
    """Yield name, default and comment of each value: what has a comment in the line above it.

    Raises:
        ValueError: there is none above a value, nor above a group that it is in.
    """
    text = _VALUES.read_text()
    lines = text.splitlines()

    def below(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, str, str]]:
        for key, value in node.value:
            comment = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
            if comment.startswith("#"):
                default = yaml.safe_load(yaml.serialize(value))
                yield prefix + key.value, json.dumps(default), comment.lstrip("# ").replace("|", r"\|")
            elif isinstance(value, yaml.MappingNode):
                yield from below(value, f"{prefix}{key.value}.")
            else:
                raise ValueError(f"{prefix}{key.value} in {_VALUES} has no comment in the line above it")

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - a values file is a mapping
    yield from below(root, "")


if __name__ == "__main__":
    README.write_text(rendered())
