"""The command behind `make bench`, on loopback: that it measures and writes, not what the figures are."""

import json
import subprocess
import sys

import pytest
from cluster.run import ROOT

COMMAND = [sys.executable, "-m", "bench"]


def test_what_is_measured_is_written_as_a_page_as_json_and_as_pictures(environment: dict[str, str]) -> None:
    arguments = ["--where", "local", "--rounds", "1", "ratios", "lag", "first-byte"]
    done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    # Of a single round on a busy machine a bound may be missed, which is then said.
    assert (done.returncode == 0) != ("a bound is missed by: first byte" in done.stderr)
    folder = ROOT / "build" / "bench"
    assert done.stdout == (folder / "bench.md").read_text() + "\n"
    found = json.loads((folder / "bench.json").read_text())
    assert [each["unit"] for each in found["ratios"]] == ["ms", "ms", "s"]
    assert len(found["curves"][0]["series"]["HttpResponse"]) == 5
    assert (folder / "bench-first-byte.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "local", "ratios", "speed"], "there is no measure speed in ratios: name some of csv,"),
        (["--cluster", "none-of-this-name"], "there is no cluster none-of-this-name: `make kind-up` makes it"),
        (["--where", "local", "clients"], "leave WHERE out"),
    ],
)
def test_what_cannot_be_measured_is_said(environment: dict[str, str], arguments: list[str], words: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
