"""Times that pages name, against those that the chart renders to with its defaults."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.chart.rendering import CHART, NGINX, ROOT, environment, pod, render


@pytest.fixture(scope="module")
def clocks() -> dict[tuple[str, str], str]:
    """The table of clocks: what stands in "here", by where and clock."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    text = text.partition("\n## The clocks\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    return {(where, clock.replace("`", "")): here for where, clock, _, here, *_ in rows[2:]}


def seconds(*found: str) -> list[int]:
    return [int(each) for text in found for each in re.findall(r"\b(\d+) s\b", text)]


def test_the_table_of_clocks_has_the_times_of_the_chart(clocks: dict[tuple[str, str], str]) -> None:
    objects = render()
    spec = pod(objects)
    container = spec["containers"][0]
    annotations = objects["Ingress"]["metadata"]["annotations"]
    (graceful,) = (each.partition("=")[2] for each in container["args"] if each.startswith("--graceful-timeout="))
    expected = {
        ("edge", "proxy_read_timeout"): annotations[f"{NGINX}proxy-read-timeout"],
        ("edge", "proxy_send_timeout"): annotations[f"{NGINX}proxy-send-timeout"],
        ("gunicorn", "graceful_timeout"): graceful,
        ("app", "STREAM_SECONDS"): environment(objects)["STREAM_SECONDS"],
        ("kubelet", "preStop sleep"): container["lifecycle"]["preStop"]["sleep"]["seconds"],
        ("kubelet", "terminationGracePeriodSeconds"): spec["terminationGracePeriodSeconds"],
    }
    assert {place: seconds(clocks[place])[:1] for place in expected} == {
        place: [int(time)] for place, time in expected.items()
    }
    for name in ("readiness", "liveness"):
        probe = container[f"{name}Probe"]
        times = probe.get("failureThreshold", 3)
        assert clocks["kubelet", f"{name} probe"] == (
            f"{probe['timeoutSeconds']} s, {times} times, each {probe['periodSeconds']} s"
        )


def test_what_the_pages_add_to_a_value_is_what_the_chart_adds(clocks: dict[tuple[str, str], str]) -> None:
    values = {"maxDuration": 1000, "drainSeconds": 500}
    objects = render("--set=httpRoute.enabled=true", values=yaml.safe_dump({"streaming": values}))
    spec = pod(objects)
    (graceful,) = (int(each[19:]) for each in spec["containers"][0]["args"] if each.startswith("--graceful-timeout="))
    drained, killed = graceful - 500, spec["terminationGracePeriodSeconds"] - 500
    stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    route = int(objects["HTTPRoute"]["spec"]["rules"][0]["timeouts"]["request"].rstrip("s")) - 1000
    for clock, more in (
        (("gunicorn", "graceful_timeout"), drained),
        (("kubelet", "terminationGracePeriodSeconds"), killed),
    ):
        assert clocks[clock].endswith(f"(`streaming.drainSeconds` + {more})")
    rows = re.findall(r"^\| `streaming\.(\w+)` \| (.*) \|$", (CHART / "README.md").read_text(), re.MULTILINE)
    table = dict(reversed(rows))  # the table of all values comes later
    assert seconds(table["maxDuration"]) == [route]
    assert seconds(table["drainSeconds"]) == [drained, killed, stop, killed - stop - drained]


def test_the_pages_name_the_defaults_of_the_chart() -> None:
    streaming = yaml.safe_load((CHART / "values.yaml").read_text())["streaming"]
    readme, faults = ((ROOT / page).read_text(encoding="utf-8") for page in ("chart/README.md", "docs/faults.md"))
    (both,) = re.findall(r"the\s+defaults\s+are (\d+) s both", readme)
    (drain,) = re.findall(r"(\d+) s that `streaming.drainSeconds` grants", faults)
    assert [int(both)] * 2 == [streaming["maxDuration"], streaming["drainSeconds"]]
    assert int(drain) == streaming["drainSeconds"]
