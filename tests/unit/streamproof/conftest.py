"""A stream as an app would send it, scripted servers that send it, and hand-fed recorders that need no server."""

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from streamproof.http1 import Http1Recorder
from streamproof.observation import Observation
from streamproof.request import Request

Step = bytes | float | str | tuple[bytes] | Callable[[], bytes]


class Server:
    """Answers every connection by the same script.

    A step is bytes to send (or a function that makes them at that moment), a tuple of bytes to send without end,
    seconds to sleep, "request" to wait for another one, "close" or "reset". At the end of the script the connection
    stays open until the client closes.
    """

    def __init__(self, steps: Sequence[Step], context: ssl.SSLContext | None = None) -> None:
        self._steps = steps
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                if self._context:
                    with self._context.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)
                else:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        for step in ["request", *self._steps]:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float | int):
                self._stop.wait(step)
            elif step == "close":
                return
            elif step == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                return
            elif step == "request":
                request = b""
                while b"\r\n\r\n" not in request:
                    got = connection.recv(65536)
                    if not got:
                        return
                    request += got
                self.requests.append(request)
            elif isinstance(step, tuple):
                while not self._stop.is_set():
                    connection.sendall(step[0])
            elif callable(step):
                connection.sendall(step())
            else:
                raise AssertionError(step)
        while not self._stop.is_set() and connection.recv(65536):
            pass


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(steps: Sequence[Step], context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(steps, context))
        return servers[-1]

    yield start
    for one in servers:
        one.stop()


@pytest.fixture
def serve(server: Callable[..., Server]) -> Callable[[Sequence[Step]], str]:
    return lambda steps: f"http://127.0.0.1:{server(steps).port}/stream"


class Stream:
    """What an app would send: a number of rows of 64 bytes with production times, and the promise about them."""

    def __init__(self, rows: int = 12) -> None:
        self.rows = rows
        filler = b"." * 33 + b"\n"
        digest = hashlib.sha256(
            b"".join(self._row(number, b"0" * 10 + b"." + b"0" * 9, filler) for number in self.numbers)
        )
        self.promise = f"rows={rows}, bytes={64 * rows}, sha256={digest.hexdigest()}, times=zeroed"
        self._filler = filler

    @property
    def numbers(self) -> range:
        return range(1, self.rows + 1)

    @staticmethod
    def _row(number: int, produced: bytes, filler: bytes) -> bytes:
        return b"%08d %s %s" % (number, produced, filler)

    def row(self, number: int, produced: float | None = None) -> bytes:
        made = time.time() if produced is None else produced
        return self._row(number, b"%020.9f" % made, self._filler)

    def body(self, start: float = 1_700_000_000.0, pause: float = 0.1) -> bytes:
        return b"".join(self.row(number, start + pause * (number - 1)) for number in self.numbers)

    def header(self, *framing: str, version: str = "1.1", status: str = "200 OK") -> bytes:
        lines = [f"HTTP/{version} {status}", *framing, f"X-Stream-Promise: {self.promise}", "", ""]
        return "\r\n".join(lines).encode()

    @staticmethod
    def chunk(data: bytes) -> bytes:
        """Frame data as one chunk; no data as the terminating chunk."""
        return b"%x\r\n%s\r\n" % (len(data), data)

    def chunked(self) -> bytes:
        """Make the whole response, one chunk a row."""
        rows = self.body().splitlines(keepends=True)
        return self.header("Transfer-Encoding: chunked") + b"".join(map(self.chunk, [*rows, b""]))


@pytest.fixture(scope="session")
def stream() -> Stream:
    return Stream()


def _record(reads: Iterable[bytes], end: str = "closed", *, max_bytes: int = 1 << 20) -> Observation:
    """Feed reads to a recorder, all at the same moment; then let the connection end by `end` unless it has ended."""
    recorder = Http1Recorder(Request("http://test/", max_bytes=max_bytes))
    recorder.sent(1_700_000_000.0)
    for data in reads:
        recorder.feed(data, 1_700_000_002.0, 0.5)
    if end == "reset":
        recorder.reset(1_700_000_003.0, "the connection broke")
    elif end == "timeout":
        recorder.timed_out(1_700_000_003.0)
    else:
        recorder.closed(1_700_000_003.0)
    return recorder.observation()


@pytest.fixture(scope="session")
def record() -> Callable[..., Observation]:
    return _record
