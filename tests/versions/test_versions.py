"""django-streamproof on the image's Python with the other Django that it supports; the demo runs on the first."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import images, run
from cluster.run import ROOT

from tests.local.service import WORKERS, until

DJANGO = "6.1.3"
Start = Callable[..., "Container"]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that Django, and with what runs the unit tests, in the versions that run them here."""
    folder = tmp_path_factory.mktemp("newer")
    locked = dict(re.findall(r"^([a-z-]+)==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    names = (
        "pytest",
        "pytest-timeout",
        "hypothesis",
        "pluggy",
        "iniconfig",
        "packaging",
        "pygments",
        "sortedcontainers",
    )
    wanted = [f"Django=={DJANGO}", *(f"{name}=={locked[name]}" for name in names)]
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.13")
    run.output(*pip, "--dest", folder, *wanted, timeout=200)
    for wheel in list(folder.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(folder)
    # The container's user is another than this one.
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    folder.parent.parent.chmod(0o755)
    return folder


class Container:
    """The demo's image with another Django."""

    def __init__(self, newer: Path, *args: str, **environment: str) -> None:
        variables = environment | {"PYTHONPATH": "/newer:/srv/site-packages", "FORWARDED_ALLOW_IPS": "*"}
        given = [f"--env={name}={value}" for name, value in variables.items()]
        command = ("docker", "run", "--detach", "--publish=127.0.0.1::8000", f"--volume={newer}:/newer:ro", *given)
        self.name = run.output(*command, images.APP, "python3", "-m", "gunicorn", "--workers=1", *args)
        self.port = int(run.output("docker", "port", self.name, "8000").rpartition(":")[2])

        def up() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.open("/livez").status == 200
            return False

        until(up, 60)

    def open(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers={"Host": "localhost"})
        return connection.getresponse()

    def ended(self, outcome: str) -> list[dict[str, Any]]:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        return [line for line in lines if line.get("outcome") == outcome]


@pytest.fixture
def start(newer: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def up(*args: str, **environment: str) -> Container:
            container = Container(newer, *args, **environment)
            stack.callback(run.output, "docker", "rm", "--force", "--volumes", container.name)
            return container

        yield up


@pytest.mark.parametrize("worker", WORKERS)
def test_streams_have_slots_a_time_limit_and_an_end_that_is_logged(start: Start, worker: str) -> None:
    service = start(WORKER_CLASS=worker, STREAMS_PER_WORKER="1", STREAM_SECONDS="3")
    code = "import django, sys; print(django.__version__, sys.version_info.minor)"
    assert run.output("docker", "exec", service.name, "python3", "-c", code) == f"{DJANGO} 13"
    assert run.output("docker", "exec", service.name, "python3", "manage.py", "check").startswith("System check")
    assert service.open("/measure?rows=5&delay_ms=10").read().count(b"\n") == 5
    until(lambda: service.ended("completed"))
    assert service.open("/measure?rows=5", "HEAD").read() == b""
    cut = service.open("/measure?rows=600&delay_ms=100")
    assert service.open("/measure").status == 503
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        cut.read()
    assert [line["reason"] for line in service.ended("stopped")] == ["its time was up"]
    # Not /binary, whose digest takes longer than a stream may last here, on a busy machine.
    service.open("/measure?rows=1000&delay_ms=10").close()
    until(lambda: service.ended("client_gone"))
    until(lambda: service.open("/measure?rows=1").status == 200)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_stop_waits_for_streams(start: Start, worker: str) -> None:
    service = start(WORKER_CLASS=worker)
    stream = service.open("/measure?rows=30&delay_ms=100")
    with subprocess.Popen(["docker", "stop", "--time=60", service.name], stdout=subprocess.DEVNULL) as stop:
        assert stream.read().count(b"\n") == 30
        assert stop.wait(60) == 0
    assert len(service.ended("completed")) == 1


def test_the_unit_tests_pass_there(newer: Path) -> None:
    # Not those of the distribution, the same whatever it runs on, and of what is wrong in the GZipMiddleware of 5.2.
    left_out = [f"--ignore=tests/unit/app/{name}.py" for name in ("test_package", "test_gzip")]
    tests = ("tests/unit/app", "--confcutdir=tests/unit", *left_out, "-q", "-p", "no:cacheprovider")
    path = "--env=PYTHONPATH=/newer:/srv/site-packages"
    volumes = (f"--volume={newer}:/newer:ro", f"--volume={ROOT}:/checkout:ro", "--workdir=/checkout")
    variables = (path, "--env=PYTHONDONTWRITEBYTECODE=1", "--env=HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis")
    command = ("docker", "run", "--rm", "--user=0", *volumes, *variables, images.APP, "python3", "-m", "pytest")
    done = subprocess.run([*command, *tests], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
