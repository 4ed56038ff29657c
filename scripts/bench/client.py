"""What asks and measures: a program without any package, so that it runs in a pod of the cluster as well as beside it.

Takes a JSON array of tasks as its argument, does one after the other, and prints a line of JSON for each, for a crowd
several. All times are in seconds, from the moment at which the request was sent.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import resource
import selectors
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_READ = 256 << 10
_SILENCE = 120
# How long a number of streams may take to get its first events beside what opening them takes.
_PATIENCE = 30


class Unusable(Exception):
    """An answer that cannot be measured; the message says why."""


@contextmanager
def _asked(task: dict[str, Any]) -> Iterator[tuple[socket.socket, bytes, bytearray, float]]:
    """Ask for a path; yields the connection, the header, what came of the body with it, and when it was asked."""
    with socket.create_connection((task["address"], task["port"]), _SILENCE) as connection:
        started = time.perf_counter()
        connection.sendall(_request(task))
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += _some(connection)
        header, _, body = received.partition(b"\r\n\r\n")
        if b" 200 " not in header.split(b"\r\n")[0]:
            raise Unusable(f"{task['host']}{task['path']} answered {header.splitlines()[0].decode()}")
        yield connection, bytes(header).lower(), body, started


def _request(task: dict[str, Any]) -> bytes:
    return f"GET {task['path']} HTTP/1.1\r\nHost: {task['host']}\r\nConnection: close\r\n\r\n".encode()


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


def parallel(task: dict[str, Any]) -> dict[str, Any]:
    """Read several whole answers at a time, as fast as they come."""
    buffer = bytearray(_READ)
    sizes, ends = [0] * task["streams"], [b""] * task["streams"]
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for number in range(task["streams"]):
            connection = socket.create_connection((task["address"], task["port"]), _SILENCE)
            connection.sendall(_request(task))
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select(_SILENCE) or _silent():
                count = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
                if not sizes[key.data] and b" 200 " not in buffer[:count].split(b"\r\n")[0]:
                    raise Unusable(f"{task['host']}{task['path']} answered {bytes(buffer[:30])!r}")
                sizes[key.data] += count
                ends[key.data] = (ends[key.data] + bytes(buffer[max(0, count - 5) : count]))[-5:]
                if not count:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
        seconds = time.perf_counter() - started
    whole = ends.count(b"0\r\n\r\n")
    if whole < len(ends) or min(sizes) < task["size"]:
        raise Unusable(f"of {len(ends)} answers {whole} were whole, and the shortest had {min(sizes)} bytes")
    return {"seconds": seconds}


def _silent() -> Any:
    raise Unusable(f"nothing came for {_SILENCE} s")


class _Member:
    """One of a crowd: a stream of server-sent events, each with the time of its production.

    Attributes:
        connection: a non-blocking socket.
        asked: whether the request has gone.
        heard: when the last event came, by the monotonic clock; 0 if none has.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asked = False
        self.heard = 0.0


class _Crowd:
    """Streams that are open at a time, and what became of all others."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.request = _request(task)
        self.address = (socket.gethostbyname(task["address"]), task["port"])
        self.selector = selectors.DefaultSelector()
        self.members: set[_Member] = set()
        self.lost: Counter[str] = Counter()
        self.lags: list[float] = []

    def join(self) -> None:
        """Open one more."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(self.address)
        member = _Member(connection)
        self.members.add(member)
        self.selector.register(connection, selectors.EVENT_WRITE, member)

    def turn(self) -> None:
        """Wait for what comes next, for a moment, and take it."""
        for key, _ in self.selector.select(0.01):
            member: _Member = key.data
            try:
                reason = self._read(member) if member.asked else self._ask(member)
            except OSError as error:
                reason = type(error).__name__
            if reason:
                self.selector.unregister(member.connection)
                member.connection.close()
                self.members.remove(member)
                self.lost[reason] += 1

    def _ask(self, member: _Member) -> str:
        member.connection.send(self.request)
        member.asked = True
        self.selector.modify(member.connection, selectors.EVENT_READ, member)
        return ""

    def _read(self, member: _Member) -> str:
        data = member.connection.recv(65536)
        if not data:
            return "cut"
        if not member.heard and data.startswith(b"HTTP/") and b" 200 " not in data[:15]:
            return data[9:12].decode()
        # The number of the event has eight digits, its time twenty characters.
        at = data.rfind(b"data: ") + 6
        stamp = data[at + 9 : at + 29]
        if at > 5 and len(stamp) == 20:
            member.heard = time.monotonic()
            seconds, _, nanoseconds = stamp.partition(b".")
            self.lags.append((time.time_ns() - int(seconds) * 10**9 - int(nanoseconds)) / 1e9)
        return ""

    def grow(self, wanted: int, rate: int) -> None:
        """Open as many as are missing, `rate` a second, until each has had an event, one is lost or time is up."""
        began, there = time.monotonic(), len(self.members)
        until = began + (wanted - there) / rate + _PATIENCE
        opened = there
        while time.monotonic() < until and not self.lost:
            while opened < min(wanted, there + int((time.monotonic() - began) * rate)):
                self.join()
                opened += 1
            self.turn()
            if opened == wanted and all(member.heard for member in self.members):
                return

    def hold(self, seconds: float) -> None:
        """Read for as long, also after a loss, as it tells how many more are; the lags are of this time alone."""
        self.lags.clear()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def disperse(self) -> None:
        """Close all."""
        for member in self.members:
            member.connection.close()
        self.selector.close()


class _Readiness:
    """Asks /readyz each second, for as long as a `with` block lasts, and by a connection each, as the kubelet does.

    Attributes:
        taken: seconds that each answer took; infinite where none came in time.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.taken: list[float] = []
        self._task = task
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Readiness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1):
            started, status = time.monotonic(), 0
            with suppress(OSError, http.client.HTTPException):
                ready = self._task["ready"]
                connection = http.client.HTTPConnection(ready["address"], ready["port"], timeout=self._task["timeout"])
                connection.request("GET", ready["path"], headers={"Host": self._task["host"]})
                status = connection.getresponse().status
                connection.close()
            self.taken.append(time.monotonic() - started if status == 200 else float("inf"))


def crowd(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Open more and more streams of an event a second, and hold each number for a while.

    A number is held if none was refused or cut, each had an event within the last three seconds, /readyz always
    answered in time, and 99 of 100 events came within a second, before the next one. What follows one that is not held
    is not tried.

    Yields:
        Before each number is held, and after it: how many streams there are, and what became of them.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    everybody = _Crowd(task)
    try:
        for wanted in task["steps"]:
            with _Readiness(task) as readiness:
                everybody.grow(wanted, task["rate"])
                yield {"holding": wanted}
                everybody.hold(task["hold"])
            now = time.monotonic()
            silent = sum(now - member.heard > 3 for member in everybody.members)
            cuts = statistics.quantiles(everybody.lags, n=100, method="inclusive") if len(everybody.lags) > 1 else []
            p50, p99 = (cuts[49], cuts[98]) if cuts else (float("inf"), float("inf"))
            slowest = max(readiness.taken, default=float("inf"))
            held = not everybody.lost and not silent and slowest < task["timeout"] and p99 < 1
            yield {
                **{"streams": wanted, "held": held, "lost": dict(everybody.lost), "silent": silent},
                **{"p50": p50, "p99": p99, "ready": slowest},
            }
            if not held:
                return
    finally:
        everybody.disperse()


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


def stages(task: dict[str, Any]) -> dict[str, Any]:
    """Make CSV rows and send them nowhere; tell the CPU time up to each stage. Runs in the folder of the app."""
    from django_streamproof.batching import batched, csv_batched
    from download.rows import csv_records, csv_rows

    rows = task["rows"]
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "the records": lambda: csv_records(rows),
        "csv.writer and encoding, row by row": lambda: csv_rows(rows=rows),
        "the same, joined by batched()": lambda: batched(csv_rows(rows=rows)),  # type: ignore[arg-type]
        "csv_batched(), which lets csv.writer take many": lambda: csv_batched(csv_records(rows)),
    }
    taken = {}
    for way, make in ways.items():
        started = time.process_time()
        for _ in make():
            pass
        taken[way] = time.process_time() - started
    return taken


_TASKS: dict[str, Any] = {
    each.__name__: each for each in (read, digest, first, lag, parallel, crowd, text, stall, memory_csv, stages)
}


def main() -> None:
    """Do the tasks; end with a sentence and 1 at the first that cannot be measured."""
    for task in json.loads(sys.argv[1]):
        try:
            done = _TASKS[task["do"]](task)
            for each in done if isinstance(done, Iterator) else [done]:
                print(json.dumps(each), flush=True)
        except (Unusable, OSError, http.client.HTTPException) as error:
            sys.exit(f"{task['do']} {task.get('host')}{task.get('path')}: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
