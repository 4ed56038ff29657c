"""What each edge does to a stream, and how fast it is: the same questions to each, in turns."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cluster import release
from cluster.run import Trouble
from faults.target import HOST
from streamproof.ask import Asking, ask
from streamproof.request import Request
from streamproof.run import DEFAULT_QUESTIONS, Question, Run

from edges import bad
from edges.stage import READ_TIMEOUT, TLS_HOST, Stage

ROUNDS = 5
# As fast as it goes: large chunks for bytes, the smallest there are for chunks. Bytes in all, bytes of a chunk.
FAST = {"bytes": (512 << 20, 64 << 10), "chunks": (6_400_000, 64)}
# In seconds: longer than any default of the edges that might cut a response, 15s and 60s.
LONG = 70


@dataclass
class Measured:
    """What was found of an edge.

    Attributes:
        edge: its name.
        version: of its programs.
        runs: what streamproof observed, by what it is about.
        seconds: for each of the fast streams, how long it took in each round.
        memory: MiB that its pods had in use after all that, by deployment.
    """

    edge: str
    version: str
    runs: dict[str, Run]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FAST})
    memory: dict[str, float] = field(default_factory=dict)


def measure(stage: Stage, say: Callable[[str], None]) -> list[Measured]:
    """Ask all edges all questions, and have them carry fast streams in turns.

    Args:
        stage: the release, installed.
        say: told what is being done.

    Raises:
        Trouble: a fast stream did not come whole.
    """
    behind = {name: stage.behind(name) for name in stage.installed}
    with ThreadPoolExecutor() as pool:
        # A row each second, so that it disturbs nothing else.
        long = {name: pool.submit(ask, stream(each, f"rows={LONG}&delay_ms=1000")) for name, each in behind.items()}
        found = []
        for name, each in behind.items():
            say(f"{name}: what it does to a stream")
            runs = {about: ask(asking) for about, asking in questions(each).items()}
            found.append(Measured(name, version(each), runs))
        for one in found:
            one.runs["long"] = long[one.edge].result()
            say(f"{one.edge}: with a bad setting")
            one.runs["bad"] = ask_badly(behind[one.edge])
    for number in range(ROUNDS):
        say(f"as fast as it goes, round {number + 1} of {ROUNDS}")
        for one in found:
            for name, (size, chunk) in FAST.items():
                one.seconds[name].append(fetch(behind[one.edge].cluster.http_port, size, chunk))
    for one in found:
        one.memory = behind[one.edge].memory()
    return found


def stream(stage: Stage, query: str, questions: Sequence[Question] = DEFAULT_QUESTIONS, *, host: str = HOST) -> Asking:
    """Return how to ask an edge for the measuring stream."""
    url = f"http://127.0.0.1:{stage.cluster.http_port}/measure?{query}"
    return Asking(Request(url, headers=[("Host", host)], timeout=LONG + 30), questions)


def ask_badly(stage: Stage) -> Run:
    """Have streamproof look at a stream of 20 s through the route with the edge's bad setting."""
    bad.spoil(stage)
    host = bad.HOSTS[stage.edge.name]
    release.await_edge(stage.cluster, host)
    return ask(stream(stage, "rows=20&delay_ms=1000", host=host))


def questions(stage: Stage) -> dict[str, Asking]:
    """Return what an edge is asked, by what it is about; the long stream apart."""
    # Long pauses, so that a busy machine's hiccup is not taken for a row that was held back.
    paced = "rows=8&delay_ms=500"
    pause = READ_TIMEOUT * 1500
    tls = f"https://{TLS_HOST}:{stage.cluster.tls_port}/measure?{paced}"
    return {
        "stream": stream(stage, paced),
        "backpressure": stream(stage, "rows=1024&size=65536&delay_ms=0", ["backpressure"]),
        "idle": stream(stage, f"rows=2&delay_ms={pause}", ["idle"]),
        "protocols": Asking(Request(tls, cacert=stage.authority()), ["protocols"]),
        "truncation": stream(stage, f"{paced}&fail_after=4", ["framing", "completeness"]),
        "concurrency": stream(stage, paced, ["concurrency"]),
    }


def version(stage: Stage) -> str:
    """Return the versions of an edge's programs, by the tags of its images."""
    containers = stage.edge_pods()[0]["spec"]["containers"]
    images = dict.fromkeys(each["image"].partition("@")[0].rpartition("/")[2] for each in containers)
    return ", ".join(re.sub(r":\D*(\d+\.\d+\.\d+).*", r" \1", image) for image in images)


def fetch(port: int, size: int, chunk: int) -> float:
    """Fetch bytes through an edge and return how many seconds that took.

    Args:
        port: of the edge, on 127.0.0.1.
        size: how many bytes the app sends.
        chunk: how many bytes it writes at a time.

    Raises:
        Trouble: they did not come whole.
    """
    request = f"GET /binary?size={size}&chunk_bytes={chunk} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    buffer = bytearray(1 << 20)
    count, last = 0, b""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        while got := connection.recv_into(buffer):
            count += got
            last = (last + bytes(buffer[max(0, got - 5) : got]))[-5:]
    if count < size or last != b"0\r\n\r\n":
        raise Trouble(f"of {size} bytes through port {port} came {count}, and they end with {last!r}")
    return time.monotonic() - began
