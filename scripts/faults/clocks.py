"""The clocks on the way that no other event shows: each is made to run down, and told by when it fires."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cluster import images, release, run

from faults.raw import connected, seconds_until_closed
from faults.target import HOST, Target, client_id, ingress

_STUBBORN_HOST = "stubborn.test"
_PATIENCE = 180.0

# An upstream that takes nothing of a body, answers all else, and prints how long the edge kept the idle connection.
_STUBBORN = """
import socket, threading, time
def serve(peer):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += peer.recv(4096)
    if head.startswith(b"POST"):
        time.sleep(600)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    began = time.monotonic()
    if not peer.recv(1):
        print(time.monotonic() - began, flush=True)
listener = socket.create_server(("", 8000))
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""

# Prints after how many seconds gunicorn closed an idle connection.
_IDLE_CONNECTION = """
import socket, time
with socket.create_connection(("127.0.0.1", 8000)) as connection:
    connection.sendall(b"GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    while connection.recv(4096):
        began = time.monotonic()
print(time.monotonic() - began)
"""


@dataclass(frozen=True)
class Clock:
    """A clock that ran down.

    Attributes:
        where: who has it.
        name: of the setting.
        due: seconds after which it was to fire.
        fired: seconds after which it did.
        late: by how many seconds it may fire late on its own: what is looked at from time to time.
    """

    where: str
    name: str
    due: float
    fired: float
    late: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Whether it fired when it was due, by a busy machine's measure."""
        return self.due - 1 <= self.fired < self.due + self.late + 10


def as_json(found: Sequence[Clock]) -> list[dict[str, object]]:
    """Return all of it."""
    return [asdict(each) | {"as_expected": each.as_expected} for each in found]


async def clocks(target: Target) -> list[Clock]:
    """Have all clocks run down that can do so side by side, and then those of the probes.

    Raises:
        Trouble: a pod does not come up, or the edge does not do what starts the clock.
    """
    await asyncio.to_thread(_install_stubborn, target)
    run.say(" • Clocks of the edge and of gunicorn, for up to two minutes …")
    waits = (_client_body, _client_keepalive, _send, _upstream_keepalive, _proxy_send, _gunicorn_keepalive)
    found = list(await asyncio.gather(*(wait(target) for wait in waits)))
    found += await connect_timeouts(target)
    run.say(" • Clocks of the probes, for a minute …")
    return found + await asyncio.to_thread(_probes, target)


def _install_stubborn(target: Target) -> None:
    """Install the upstream that takes no body, behind an Ingress with the times of the chart's own."""
    labels = {"app": "stubborn"}
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "stubborn",
        "image": images.APP,
        "command": ["python3", "-c", _STUBBORN],
        "ports": [{"name": "http", "containerPort": 8000}],
        "securityContext": security,
    }
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stubborn", "labels": labels}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stubborn"}}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    own = json.loads(target.kubectl("get", "ingress", "streaming", "-o", "json"))["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    annotations = {f"{prefix}request-buffering": "off", f"{prefix}body-size": "0"}
    annotations[f"{prefix}send-timeout"] = own[f"{prefix}send-timeout"]
    metadata = {"name": "stubborn", "annotations": annotations}
    base: dict[str, Any] = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata}
    for each in (
        json.dumps(pod | {"spec": spec}),
        json.dumps(service | {"spec": {"selector": labels, "ports": ports}}),
        ingress(base, _STUBBORN_HOST, "stubborn"),
    ):
        target.kubectl("apply", "-f", "-", stdin=each)
    target.kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    release.await_edge(target.cluster, _STUBBORN_HOST)


async def _client_body(target: Target) -> Clock:
    head = f"POST /measure HTTP/1.1\nHost: {HOST}\nContent-Length: 10"
    async with connected(target.cluster.http_port, head) as (reader, _):
        return Clock("edge", "client_body_timeout", 60, await seconds_until_closed(reader, _PATIENCE))


async def _client_keepalive(target: Target) -> Clock:
    async with connected(target.cluster.http_port, f"GET /livez HTTP/1.1\nHost: {HOST}") as (reader, _):
        return Clock("edge", "keepalive_timeout", 75, await seconds_until_closed(reader, _PATIENCE))


async def _send(target: Target) -> Clock:
    """Ask for much and read nothing: when the edge gives up, the app loses its client, and logs how long it had it."""
    identity = f"clock-{uuid.uuid4()}"
    head = f"GET /binary?size=67108864 HTTP/1.1\nHost: {HOST}\nX-Request-ID: {identity}"
    async with connected(target.cluster.http_port, head, limit=1024):
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            await asyncio.sleep(5)
            for line in await asyncio.to_thread(target.log):
                if client_id(line) == identity and "outcome" in line:
                    return Clock("edge", "send_timeout", 60, line["duration_s"])
    return Clock("edge", "send_timeout", 60, _PATIENCE)


async def _upstream_keepalive(target: Target) -> Clock:
    head = f"GET / HTTP/1.1\nHost: {_STUBBORN_HOST}\nConnection: close"
    async with connected(target.cluster.http_port, head) as (reader, _):
        await reader.read()
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        await asyncio.sleep(5)
        told = await asyncio.to_thread(target.kubectl, "logs", "stubborn")
        if told:
            return Clock("edge", "upstream keepalive_timeout", 60, float(told.splitlines()[-1]))
    return Clock("edge", "upstream keepalive_timeout", 60, _PATIENCE)


async def _proxy_send(target: Target) -> Clock:
    """Send until nothing more is taken; the edge answers when the app has taken nothing for so long."""
    head = f"POST / HTTP/1.1\nHost: {_STUBBORN_HOST}\nContent-Length: {1 << 30}"
    async with connected(target.cluster.http_port, head) as (reader, writer):
        taken, longest = time.monotonic(), 0.0

        async def send() -> None:
            nonlocal taken, longest
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                # With its answer the edge takes what is left, and throws it away.
                longest = max(longest, time.monotonic() - taken)
                taken = time.monotonic()

        sending = asyncio.create_task(send())
        try:
            async with asyncio.timeout(_PATIENCE):
                await reader.read(1)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            sending.cancel()
        return Clock("edge", "proxy_send_timeout", 120, max(longest, time.monotonic() - taken))


async def _gunicorn_keepalive(target: Target) -> Clock:
    (name, *_) = await asyncio.to_thread(target.names)
    told = await asyncio.to_thread(target.execute, name, _IDLE_CONNECTION, timeout=_PATIENCE)
    return Clock("gunicorn", "keepalive", 75, float(told))


async def connect_timeouts(target: Target) -> list[Clock]:
    """Have one of two pods give no answer, then both: the edge tries again after one time, and gives up after three.

    Raises:
        Trouble: with one of them out of reach a request fails, or none has to wait.
    """
    run.say(" • Pods that can't be reached …")
    pods = await asyncio.to_thread(target.ready_pods)
    with target.unreachable(pods[0]):
        # One at a time: then the pod whose turn it is after a failure is the other one.
        for _ in range(20):
            status, once = await _answer(target)
            if status != "200":
                raise run.Trouble(f"with one of {len(pods)} pods out of reach the edge answered {status}")
            if once > 1:
                break
        else:
            raise run.Trouble("20 requests were answered at once, though one of two pods was out of reach")
    with target.unreachable(*pods):
        # Some find a connection that is open already, but not so many at a time.
        answers = await asyncio.gather(*(_answer(target) for _ in range(20)))
        thrice = max(seconds for status, seconds in answers if status == "504")
    return [
        Clock("edge", "proxy_connect_timeout, and the next pod answers", 5, once),
        Clock("edge", "proxy_connect_timeout three times, and 504", 15, thrice),
    ]


async def _answer(target: Target) -> tuple[str, float]:
    """Return the status of an answer, and after how many seconds it came."""
    began = time.monotonic()
    head = f"GET /measure?rows=2&delay_ms=1000 HTTP/1.1\nHost: {HOST}\nConnection: close"
    async with connected(target.cluster.http_port, head) as (reader, _):
        status = (await reader.readline()).split()[1].decode()
        return status, time.monotonic() - began


def _probes(target: Target) -> list[Clock]:
    """Freeze a pod; return when it counts as not ready, and when the kubelet restarts it."""
    pod = target.ready_pods()[0]
    name = pod["metadata"]["name"]
    target.task(pod, "pause")
    began = time.time()
    unready = killed = _PATIENCE
    try:
        while killed == _PATIENCE and time.time() < began + _PATIENCE:
            time.sleep(1)
            now = json.loads(target.kubectl("get", "pod", name, "-o", "json"))
            ready = next(each for each in now["status"]["conditions"] if each["type"] == "Ready")
            if ready["status"] == "False" and unready == _PATIENCE:
                unready = _epoch(ready["lastTransitionTime"]) - began
            selector = f"--field-selector=involvedObject.name={name},reason=Killing"
            for event in json.loads(target.kubectl("get", "events", selector, "-o", "json"))["items"]:
                killed = _epoch(event["firstTimestamp"]) - began
    finally:
        target.task(pod, "resume")
    # A probe that has just been answered leaves a whole period; and each failure takes its timeout.
    return [
        Clock("kubelet", "readiness probe", 2 * 5, unready, late=5 + 3),
        Clock("kubelet", "liveness probe", 5 * 10, killed, late=10 + 5),
    ]


def _epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
