"""The chart as `helm template` renders it, which asks no cluster."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cluster import tools
from cluster.run import ROOT

CHART = ROOT / "chart"
PROD = ("--values", "chart/values-prod.yaml")
NGINX = "nginx.ingress.kubernetes.io/"

_find = cache(tools.find)


def helm(*arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run a helm command from the root of the project, with values as one writes them into a file."""
    command = [_find("helm"), *arguments, *(("--values", "-") if values else ())]
    return subprocess.run(command, input=values, capture_output=True, text=True, cwd=ROOT, timeout=60)


@cache
def text(*options: str, values: str = "", chart: str = "chart", release: str = "x") -> str:
    """Return what the chart renders to."""
    done = helm("template", release, chart, *options, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(*options: str, values: str = "", chart: str = "chart", release: str = "x") -> dict[str, Any]:
    """Return the objects that the chart renders to, by their kind; the headless one of two Services as "Headless"."""
    rendered = text(*options, values=values, chart=chart, release=release)
    return {
        "Headless" if each.get("spec", {}).get("clusterIP") == "None" else each["kind"]: each
        for each in yaml.load_all(rendered, yaml.CSafeLoader)
    }


def notes(values: str) -> str:
    """Return the notes that an install with these values would end with.

    `helm template` leaves them out: here they are made one more object of the chart.
    """
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(CHART, Path(folder, "chart")))
        shutil.move(chart / "templates" / "NOTES.txt", chart)
        (chart / "templates" / "notes.yaml").write_text(
            '{kind: Notes, text: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}}'
        )
        told: str = render(values=values, chart=str(chart))["Notes"]["text"]
        return told


def pod(objects: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def environment(objects: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each) for each in pod(objects)["containers"][0]["env"]}
