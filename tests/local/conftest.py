import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_edge import LocalEdge

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def good_edge() -> Iterator[LocalEdge]:
    with LocalEdge() as edge:
        yield edge


@pytest.fixture(scope="session")
def buffering_edge() -> Iterator[LocalEdge]:
    with LocalEdge(buffering="on") as edge:
        yield edge


@pytest.fixture(scope="session")
def bad_edge() -> Iterator[LocalEdge]:
    with LocalEdge(buffering="on", http_version="1.0") as edge:
        yield edge


@pytest.fixture(scope="session")
def unbuffered_http10_edge() -> Iterator[LocalEdge]:
    with LocalEdge(http_version="1.0") as edge:
        yield edge


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment in which `python -m streamproof` and `python -m local_edge` find their packages."""
    folders = [ROOT / "scripts", ROOT / "scripts" / "streamproof"]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}


@pytest.fixture(scope="session")
def verify(environment: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """Run the verifier as a user does, and return its JSON with the exit status and each question's verdict."""

    def run(url: str, *options: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "streamproof", "verify", "--json", *options, url],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        verdicts = {verdict["question"]: verdict for verdict in report["verdicts"]}
        return report | {"exit": done.returncode, **verdicts}

    return run
