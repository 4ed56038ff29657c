"""What can be said of the chart's files without Helm."""

from __future__ import annotations

import json
import re

import yaml
from cluster import chart_readme
from cluster.run import ROOT

CHART = ROOT / "chart"


def test_the_readme_lists_the_values_as_they_are() -> None:
    assert chart_readme.README.read_text() == chart_readme.rendered(), (
        "chart/values.yaml has changed: PYTHONPATH=scripts .venv/bin/python -m cluster.chart_readme"
    )


def test_each_value_has_one_line_of_comment() -> None:
    """In the line above it, or above the group that it is in; and not a long one."""
    assert all(comment for _, _, comment in chart_readme.values())
    lines = (CHART / "values.yaml").read_text().splitlines()
    comments = [number for number, line in enumerate(lines) if line.lstrip().startswith("#")]
    assert [lines[number] for number in comments if number + 1 in comments] == []
    assert [line for line in lines if len(line) > 120] == []


def test_a_value_stands_in_the_group_of_its_object() -> None:
    """Outside of the groups are the Deployment's own; `enabled` is of an object that is there or not."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    groups = {name for name, value in values.items() if isinstance(value, dict) and value}
    templates = {path.name: path.read_text() for path in (CHART / "templates").glob("*.yaml")}
    del templates["deployment.yaml"]
    read = {name: set(re.findall(r"\.Values\.(\w+)", text)) for name, text in templates.items()}
    assert {name: each - groups for name, each in read.items() if each - groups} == {}
    switched = {group for group in groups if "enabled" in values[group]}
    made = {
        group for group in groups for text in templates.values() if f".Values.{group}.enabled }}}}\napiVersion" in text
    }
    assert switched == made


def test_the_schema_knows_every_value_and_no_other() -> None:
    def below(schema: dict[str, object], prefix: str = "") -> set[str]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {prefix}
        return set().union(
            *(below(each, f"{prefix}{'.' if prefix else ''}{name}") for name, each in properties.items())
        )

    schema = json.loads((CHART / "values.schema.json").read_text())
    known = below(schema) - {"global"}  # Helm's own, there where the chart is a part of another
    shown = {name for name, _, _ in chart_readme.values()}
    assert known - {"resources.requests", "resources.limits"} == shown - {"resources"}


def test_the_edge_lets_streams_go_on_for_as_long_as_the_chart_does() -> None:
    controller = yaml.safe_load((ROOT / "k8s/edges/ingress-nginx.yaml").read_text())["controller"]
    match = re.fullmatch("([0-9]+)s", controller["config"]["worker-shutdown-timeout"])
    assert match
    longest = yaml.safe_load((CHART / "values.yaml").read_text())["streaming"]["maxDuration"]
    assert longest <= int(match[1]) < controller["terminationGracePeriodSeconds"]
