"""What asks and measures: a program without any package, so that it runs in a pod of the cluster as well as beside it.

Takes a JSON array of tasks as its argument, does one after the other, and prints a line of JSON for each. All times are
in seconds, from the moment at which the request was sent.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_READ = 256 << 10
_SILENCE = 120


class Unusable(Exception):
    """An answer that cannot be measured; the message says why."""


@contextmanager
def _asked(task: dict[str, Any]) -> Iterator[tuple[socket.socket, bytes, bytearray, float]]:
    """Ask for a path; yields the connection, the header, what came of the body with it, and when it was asked."""
    with socket.create_connection((task["address"], task["port"]), _SILENCE) as connection:
        request = f"GET {task['path']} HTTP/1.1\r\nHost: {task['host']}\r\nConnection: close\r\n\r\n"
        started = time.perf_counter()
        connection.sendall(request.encode())
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += _some(connection)
        header, _, body = received.partition(b"\r\n\r\n")
        if b" 200 " not in header.split(b"\r\n")[0]:
            raise Unusable(f"{task['host']}{task['path']} answered {header.splitlines()[0].decode()}")
        yield connection, bytes(header).lower(), body, started


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise Unusable("the answer ended before its body")
    return data


def read(task: dict[str, Any]) -> dict[str, Any]:
    """Read a whole answer as fast as it comes, and look at no byte but its last ones."""
    buffer = bytearray(_READ)
    with _asked(task) as (connection, header, body, started):
        first = time.perf_counter() - started
        size, last = len(body), bytes(body[-5:])
        while count := connection.recv_into(buffer):
            size += count
            last = (last + bytes(buffer[max(0, count - 5) : count]))[-5:]
        seconds = time.perf_counter() - started
    if b"transfer-encoding: chunked" in header and last != b"0\r\n\r\n":
        raise Unusable("the answer has no terminating chunk")
    if size < task.get("size", 0):
        raise Unusable(f"{size} bytes came of {task['size']}")
    return {"seconds": seconds, "first": first}


def digest(task: dict[str, Any]) -> dict[str, Any]:
    """Read a whole answer and tell what its body is."""
    connection = http.client.HTTPConnection(task["address"], task["port"], timeout=_SILENCE)
    connection.request("GET", task["path"], headers={"Host": task["host"]})
    response = connection.getresponse()
    if response.status != 200:
        raise Unusable(f"{task['host']}{task['path']} answered {response.status}")
    total, size = hashlib.sha256(), 0
    while data := response.read(_READ):
        total.update(data)
        size += len(data)
    connection.close()
    return {"sha256": total.hexdigest(), "bytes": size}


def first(task: dict[str, Any]) -> dict[str, Any]:
    """Read the first byte of the body, some times, and go."""
    taken = []
    for _ in range(task["times"]):
        with _asked(task) as (connection, _, body, started):
            if not body:
                _some(connection)
            taken.append(time.perf_counter() - started)
        # The server notices only at a later write that nobody reads any more.
        time.sleep(0.1)
    return {"first": taken}


def lag(task: dict[str, Any]) -> dict[str, Any]:
    """Read measured rows, and tell how long after its production each arrived."""
    lags: list[float] = []
    with _asked(task) as (connection, _, body, _):
        while True:
            now = time.time_ns()
            while b"\n" in body:
                line, _, body = body.partition(b"\n")
                if line == b"0\r":
                    return {"lags": lags}
                # Rows are lines of more than a number and a time; chunk sizes and what ends a chunk are shorter.
                if len(line) > 30:
                    seconds, _, nanoseconds = line.split(b" ")[1].partition(b".")
                    lags.append((now - int(seconds) * 10**9 - int(nanoseconds)) / 1e9)
            body += _some(connection)


def text(task: dict[str, Any]) -> dict[str, Any]:
    """Read a short answer."""
    connection = http.client.HTTPConnection(task["address"], task["port"], timeout=_SILENCE)
    connection.request("GET", task["path"], headers={"Host": task["host"]})
    return {"text": connection.getresponse().read().decode()}


def stall(task: dict[str, Any]) -> dict[str, Any]:
    """Ask, and read nothing for some seconds; then go."""
    with _asked(task) as (_, _, body, _):
        time.sleep(task["seconds"])
        return {"read": len(body)}


def memory_csv(task: dict[str, Any]) -> dict[str, Any]:
    """Write the same CSV into memory with csv.writer: the limit, as nothing is sent."""
    text = io.StringIO(newline="")
    started = time.perf_counter()
    writer = csv.writer(text)
    writer.writerow(["One", "Two", "Three"])
    writer.writerows(["Hello", "world", number] for number in range(1, task["rows"] + 1))
    body = text.getvalue().encode()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}


_TASKS = {each.__name__: each for each in (read, digest, first, lag, text, stall, memory_csv)}


def main() -> None:
    """Do the tasks; end with a sentence and 1 at the first that cannot be measured."""
    for task in json.loads(sys.argv[1]):
        try:
            print(json.dumps(_TASKS[task["do"]](task)), flush=True)
        except (Unusable, OSError, http.client.HTTPException) as error:
            sys.exit(f"{task['do']} {task.get('host')}{task.get('path')}: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
