"""Clients that are slow, that say nothing and that leave, beside one that is healthy: so many, for so long, no more."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Mapping

from cluster import run

from faults.client import Account, follow
from faults.target import HOST, Target

# Longer than the edge's 60 s for a header, and for a client that takes nothing.
_HOLD = 80.0
# Rows of the healthy client, one a second: longer than all of it.
_ROWS = 180
# No room at the client, so that the path is soon full.
_BUFFER = 4096
# Clients that leave in the middle of a stream; that connect and send nothing; that ask for 64 MiB, and read a byte a
# second or, every second one, nothing.
_LEAVING, _SILENT, _SLOW = 1000, 500, 500


def unexpected(numbers: Mapping[str, int]) -> list[str]:
    """Name the numbers of `all_of_them` that are not as they must be, and what they must be.

    Raises:
        KeyError: a number is missing, or is one that nothing is known of.
    """
    left, refused = numbers["left in the middle"], numbers["slow, refused with 503 and Retry-After"]
    # From the least to the most that is right.
    bounds: dict[str, tuple[float, float]] = {
        # A slot is free again as soon as the client has gone, so hardly any of those who follow is refused.
        "left, but were refused before": (0, _LEAVING // 10),
        "left in the middle": (_LEAVING - numbers["left, but were refused before"],) * 2,
        "streams whose client had gone, in the app's log": (left, math.inf),
        "silent, closed by the edge": (_SILENT, _SILENT),
        # The edge's client_header_timeout of 60 s, and less than these clients wait.
        "silent, seconds until half of them were closed": (55, _HOLD - 5),
        # Some of each, as that is what slots are for.
        "slow, refused with 503 and Retry-After": (1, _SLOW - 1),
        "slow, with a stream": (_SLOW - refused,) * 2,
        "slow, without an answer": (0, 0),
        # The edge's send_timeout of 60 s; at the latest when they go by themselves.
        "slow, seconds until half of them were given up": (55, _HOLD + 10),
        "rows of the healthy client": (_ROWS, _ROWS),
        "rows that it was promised": (_ROWS, _ROWS),
        "lost": (0, 0),
        # A row a second. This machine is busy with two thousand clients: 3 to 8 s were measured.
        "longest wait of the healthy client for a row, ms": (0, 15_000),
        # One worker may have a slot left when others have none.
        "another client meanwhile refused": (0, 1),
        "seconds until another client got a stream after they went": (0, 10),
        "times that a pod was seen not ready": (0, 0),
        "containers restarted": (0, 0),
        # Half of the pod's limit.
        "most memory of a pod, MiB": (1, 256),
    }
    if unknown := numbers.keys() ^ bounds.keys():
        raise KeyError(*unknown)
    return [
        f"{name}: {numbers[name]}, but must be {f'{least:g}' if least == most else f'from {least:g} to {most:g}'}"
        for name, (least, most) in bounds.items()
        if not least <= numbers[name] <= most
    ]


async def all_of_them(target: Target) -> dict[str, int]:
    """Let all of them come to a target, and count what they and a healthy client got."""
    port = target.cluster.http_port
    before = await asyncio.to_thread(_restarts, target)
    healthy = _account()
    stream = asyncio.create_task(follow(healthy, ("127.0.0.1", port), f"/measure?rows={_ROWS}&delay_ms=1000"))
    unready: list[str] = []
    watch = asyncio.create_task(_watch(target, unready))
    run.say(f" • {_LEAVING} clients leave in the middle of a stream …")
    left: Counter[str] = Counter()
    for _ in range(_LEAVING // 100):
        left.update(await asyncio.gather(*(_leave(port) for _ in range(100))))
    run.say(f" • {_SILENT} clients say nothing, {_SLOW} read next to nothing, for {_HOLD:.0f} s …")
    quiet = [asyncio.create_task(_silent(port)) for _ in range(_SILENT)]
    slowly = [asyncio.create_task(_slow(port, reads=number % 2 == 0)) for number in range(_SLOW)]
    await asyncio.sleep(20)
    meanwhile = _account()
    await follow(meanwhile, ("127.0.0.1", port), "/measure?rows=2&delay_ms=0")
    quietly = [seconds for seconds in await asyncio.gather(*quiet) if seconds is not None]
    answers = Counter(await asyncio.gather(*slowly))
    freed_after = await _freed(port)
    peak = max([await asyncio.to_thread(_peak, target, name) for name in await asyncio.to_thread(target.names)])
    await stream
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch
    gone = [line for line in await asyncio.to_thread(target.log) if line.get("outcome") == "client_gone"]
    stalled = [line["duration_s"] for line in gone if line["path"].startswith("/binary")]
    return {
        "left in the middle": left["200"],
        "left, but were refused before": left["503"],
        "streams whose client had gone, in the app's log": len(gone),
        "silent, closed by the edge": len(quietly),
        "silent, seconds until half of them were closed": _median(quietly),
        "slow, with a stream": answers["200"],
        "slow, refused with 503 and Retry-After": answers["503"],
        "slow, without an answer": _SLOW - answers["200"] - answers["503"],
        "slow, seconds until half of them were given up": _median(stalled),
        "rows of the healthy client": healthy.rows,
        "rows that it was promised": _ROWS,
        "lost": int(healthy.outcome != "completed"),
        "longest wait of the healthy client for a row, ms": round(1000 * healthy.longest_wait),
        "another client meanwhile refused": int(meanwhile.outcome == "refused"),
        "seconds until another client got a stream after they went": freed_after,
        "times that a pod was seen not ready": len(unready),
        "containers restarted": await asyncio.to_thread(_restarts, target) - before,
        "most memory of a pod, MiB": peak,
    }


def _median(seconds: list[float]) -> int:
    return round(statistics.median(seconds)) if seconds else 0


def _account() -> Account:
    return Account(0, HOST, f"fault-{uuid.uuid4()}", time.monotonic())


def _restarts(target: Target) -> int:
    return sum(status["restartCount"] for pod in target.pods() for status in pod["status"]["containerStatuses"])


def _peak(target: Target, pod: str) -> int:
    """Return the most memory that the pod's container had, in MiB: cgroup v2 and v1 say it in different files."""
    files = "/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    program = "import os, sys; print(next(open(file).read() for file in sys.argv[1:] if os.path.exists(file)))"
    return int(target.execute(pod, program, *files)) >> 20


async def _watch(target: Target, unready: list[str]) -> None:
    while True:
        for pod in await asyncio.to_thread(target.pods):
            conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
            if conditions["Ready"] != "True":
                unready.append(pod["metadata"]["name"])
        await asyncio.sleep(2)


async def _connect(port: int, path: str = "") -> socket.socket:
    """Connect to the edge with a small buffer, and ask for a path if there is one."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    if path:
        await loop.sock_sendall(connection, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return connection


async def _status(connection: socket.socket) -> str:
    """Return the status of the answer; a refusal must say when to come again."""
    head = b""
    async with asyncio.timeout(30):
        while b"\r\n\r\n" not in head:
            part = await asyncio.get_running_loop().sock_recv(connection, 1024)
            if not part:
                return "closed"
            head += part
    status = head.split(b" ", 2)[1].decode()
    return status if status != "503" or b"\r\nretry-after:" in head.lower() else "503 without Retry-After"


async def _leave(port: int) -> str:
    """Read the beginning of a stream, and go."""
    try:
        with contextlib.closing(await _connect(port, "/measure?rows=600&delay_ms=100")) as connection:
            return await _status(connection)
    except (OSError, TimeoutError) as error:
        return type(error).__name__


async def _slow(port: int, reads: bool) -> str:
    """Ask for much, read a byte a second or nothing, and return the status of the answer."""
    loop = asyncio.get_running_loop()
    try:
        with contextlib.closing(await _connect(port, "/binary?size=67108864")) as connection:
            status = await _status(connection)
            until = time.monotonic() + _HOLD
            while status == "200" and time.monotonic() < until:
                await asyncio.sleep(1)
                if reads and not await loop.sock_recv(connection, 1):
                    break
            return status
    except (OSError, TimeoutError) as error:
        return type(error).__name__


async def _silent(port: int) -> float | None:
    """Connect, say nothing, and return after how many seconds somebody closed the connection; None if nobody did."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError), contextlib.closing(await _connect(port)) as connection:
        try:
            async with asyncio.timeout(_HOLD):
                await asyncio.get_running_loop().sock_recv(connection, 1)
        except TimeoutError:
            return None
    return time.monotonic() - began


async def _freed(port: int) -> int:
    """Return after how many seconds a new client got its stream."""
    began = time.monotonic()
    while time.monotonic() - began < 120:
        account = _account()
        await follow(account, ("127.0.0.1", port), "/measure?rows=2&delay_ms=0")
        if account.outcome == "completed":
            break
        await asyncio.sleep(1)
    return round(time.monotonic() - began)
