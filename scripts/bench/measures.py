"""What is measured. Rounds are interleaved: in each, all that is compared has its turn, and another begins."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median, quantiles
from typing import Any, TypeVar

from cluster import images, run
from cluster.run import Trouble

from bench.places import SIZE, Namespace, Place, container, pod
from bench.ratio import Ratio

_MIB, _GIB = 1 << 20, 1 << 30
_CHUNK = 64 << 10
_ROWS = 500_000
_SMALL, _SMALL_CHUNKS = 64, 200_000
_FIRST_SIZES = (1 << 10, 64 << 10, _MIB, 16 * _MIB, 64 * _MIB)
_MOST_GROWTH = 8
# Two processes, and what both have used of a core.
_SPIN = """
import os, time
child = os.fork()
until = time.monotonic() + 8
while time.monotonic() < until:
    pass
if child:
    os.wait()
    print(sum(os.times()[:4]) / 8)
"""
_GROW = """
held = []
while True:
    held.append(bytearray(1 << 20))
"""


@dataclass(frozen=True)
class Check:
    """Something that is so or not, and is no ratio.

    Attributes:
        title: what.
        found: what was found, for the reader.
        wanted: what must be found.
        holds: whether it was.
    """

    title: str
    found: str
    wanted: str
    holds: bool


@dataclass(frozen=True)
class Table:
    """Figures beside the ratios; they are those of one machine at one time.

    Attributes:
        title: what they are.
        head: names of the columns.
        rows: cells.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Curves:
    """Figures over what they depend on, for a picture.

    Attributes:
        name: of the picture's file.
        title: what is drawn.
        across: what they depend on, with its unit.
        up: their unit.
        series: for each line its points.
    """

    name: str
    title: str
    across: str
    up: str
    series: Mapping[str, Sequence[tuple[float, float]]]


@dataclass
class Figures:
    """All that was measured.

    Attributes:
        ratios: with their bounds.
        checks: with theirs.
        tables: without any.
        curves: for pictures.
    """

    ratios: list[Ratio] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """What does not keep its bound."""
        return [f"{each.title} against {each.against}" for each in self.ratios if each.holds is False] + [
            each.title for each in self.checks if not each.holds
        ]


Measure = Callable[[Place, int, Figures], None]


_Turn = TypeVar("_Turn")


def in_rounds(title: str, rounds: int, names: Sequence[_Turn]) -> Iterator[_Turn]:
    """Yield each of what is compared once in each round, and in each begin with another."""
    for turns in whole_rounds(title, rounds, names):
        yield from turns


def whole_rounds(title: str, rounds: int, names: Sequence[_Turn]) -> Iterator[Sequence[_Turn]]:
    """Yield all that is compared for each round, beginning with another in each."""
    started = time.monotonic()
    for number in range(rounds):
        run.say(f" • {title}: round {number + 1} of {rounds}, {time.monotonic() - started:.0f} s so far …")
        turn = number % len(names)
        yield (*names[turn:], *names[:turn])
    run.say(f" ✓ {title} ({time.monotonic() - started:.0f} s)")


def _streams(place: Place, servers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how to ask each server for one stream of ready-made chunks of 64 KiB, the same bytes of all."""
    path = f"/binary?size={SIZE}&chunk_bytes={_CHUNK}"
    tasks = {each: {"do": "read", "path": path, "size": SIZE, **place.edge(each)} for each in servers}
    _same(place, list(tasks.values()))
    return tasks


def bytes_a_second(place: Place, rounds: int, figures: Figures) -> None:
    """Ready-made chunks of 64 KiB in one stream: four times the rounds, as the ratios are near their bounds."""
    tasks = _streams(place, ("gthread", "asgi", "static", "go"))
    rates: dict[str, list[float]] = defaultdict(list)
    for turns in whole_rounds("Bytes a second", 4 * rounds, tuple(tasks)):
        # By one client, so that what is compared is as close in time as it can be.
        for server, done in zip(turns, place.ask(*(tasks[each] for each in turns)), strict=True):
            rates[server].append(SIZE / _MIB / done["seconds"])
    for server, against, bound in (("gthread", "static", 0.9), ("gthread", "go", 0.9), ("asgi", "gthread", 0.8)):
        title = f"one stream in chunks of 64 KiB, {NAMES[server]}"
        figures.ratios.append(Ratio(title, NAMES[against], "MiB/s", rates[server], rates[against], bound))


def cost(place: Place, rounds: int, figures: Figures) -> None:
    """What a GiB of such chunks costs app and edge, one stream after the other; and what nginx's buffer adds."""
    servers = ("gthread", "asgi", "stock", "static", "go")
    tasks, times = _streams(place, servers), _GIB // SIZE
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for server in in_rounds("What a GiB costs", rounds, servers):
        before = place.usage(server)
        seconds = sum(done["seconds"] for done in place.ask(*[tasks[server]] * times))
        after = place.usage(server)
        rates[server].append(_GIB / _MIB / seconds)
        for part in ("app", "edge"):
            costs[server, part].append(after[part].cpu - before[part].cpu)
    title = f"one stream in chunks of 64 KiB, {NAMES['gthread']}"
    figures.ratios.append(Ratio(title, NAMES["stock"], "MiB/s", rates["gthread"], rates["stock"]))
    rows = [
        [NAMES[each], *(f"{median(costs[each, part]):.2f}" for part in ("app", "edge")), f"{median(rates[each]):.0f}"]
        for each in servers
    ]
    head = ("server", "app, CPU s for each GiB", "edge, CPU s for each GiB", "MiB/s")
    figures.tables.append(Table("What a GiB costs: one stream, chunks of 64 KiB, medians", head, rows))


def csv(place: Place, rounds: int, figures: Figures) -> None:
    """CSV: rows a second in batches, one by one, from Django alone, and into memory."""
    batch, row = (f"/download_csv_streaming?rows={_ROWS}{more}" for more in ("&chunk=batch", ""))
    tasks = {
        "batch": {"do": "read", "path": batch, **place.edge("gthread")},
        "row": {"do": "read", "path": row, **place.edge("gthread")},
        "plain": {"do": "read", "path": f"/rows?rows={_ROWS}", **place.edge("plain")},
        "asgi": {"do": "read", "path": batch, **place.edge("asgi")},
        "memory": {"do": "memory_csv", "rows": _ROWS},
    }
    _same(place, [tasks["batch"], tasks["row"], tasks["plain"], tasks["asgi"]], place.ask(tasks["memory"])[0])
    rates: dict[str, list[float]] = defaultdict(list)
    for name in in_rounds("CSV, rows a second", rounds, tuple(tasks)):
        (done,) = place.ask(tasks[name])
        rates[name].append(_ROWS / done["seconds"])
    for name, title, against, reference, bound in (
        ("batch", "CSV in batches", "row", "one yield a row", 15),
        ("batch", "CSV in batches", "plain", "one yield a row, Django without middleware", 15),
        ("batch", "CSV in batches", "memory", "csv.writer filling memory", 0.6),
        ("asgi", "CSV in batches, gunicorn asgi", "memory", "csv.writer filling memory", None),
    ):
        figures.ratios.append(Ratio(title, reference, "rows/s", rates[name], rates[against], bound))


def small_chunks(place: Place, rounds: int, figures: Figures) -> None:
    """Chunks of 64 bytes, each written by itself."""
    servers = ("gthread", "asgi", "go")
    path = f"/binary?size={_SMALL * _SMALL_CHUNKS}&chunk_bytes={_SMALL}"
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for server in in_rounds("Small chunks a second", rounds, servers):
        before = place.usage(server)
        (done,) = place.ask({"do": "read", "path": path, **place.edge(server)})
        after = place.usage(server)
        rates[server].append(_SMALL_CHUNKS / done["seconds"])
        for part in ("app", "edge"):
            costs[server, part].append((after[part].cpu - before[part].cpu) / _SMALL_CHUNKS * 1e6)
    for server in ("gthread", "asgi"):
        title = f"chunks of 64 B, {NAMES[server]}"
        figures.ratios.append(Ratio(title, f"{NAMES['go']}, flushing each", "chunks/s", rates[server], rates["go"]))
    rows = [
        [NAMES[each], *(f"{median(costs[each, part]):.1f}" for part in ("app", "edge")), f"{median(rates[each]):,.0f}"]
        for each in servers
    ]
    head = ("server", "app, CPU µs for each chunk", "edge, CPU µs for each chunk", "chunks/s")
    figures.tables.append(Table("What a chunk of 64 bytes costs: medians", head, rows))


def first_byte(place: Place, rounds: int, figures: Figures) -> None:
    """Time to the first byte: of a stream it does not depend on what follows, of an HttpResponse it does."""
    times = 10
    sizes = (*_FIRST_SIZES, _GIB)
    # Each process digests what it promises once; that is the demo's header and not the stream.
    place.ask(*({"do": "first", "times": 1, "path": f"/binary?size={size}", **place.edge("gthread")} for size in sizes))
    tasks = {f"a stream, {size}": {"path": f"/binary?size={size}", **place.edge("gthread")} for size in sizes}
    tasks |= {f"HttpResponse, {size}": {"path": f"/whole?size={size}", **place.edge("plain")} for size in _FIRST_SIZES}
    found: dict[str, list[float]] = defaultdict(list)
    for name in in_rounds("Time to first byte", rounds, tuple(tasks)):
        (done,) = place.ask({"do": "first", "times": times if name.startswith("a") else 5, **tasks[name]})
        found[name].append(median(done["first"]))
    large, small = found[f"a stream, {_GIB}"], found["a stream, 1024"]
    figures.ratios.append(Ratio("first byte of a 1 GiB stream", "of 1 KiB", "s", large, small, 1.5, at_most=True))
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, values in found.items():
        way, _, size = name.partition(", ")
        series[way].append((int(size), median(values) * 1000))
    figures.curves.append(Curves("first-byte", "Time to the first byte", "bytes of the body", "ms", dict(series)))


def lag(place: Place, rounds: int, figures: Figures) -> None:
    """Lag of each row: what the edge adds to it."""
    path = "/measure?rows=200&delay_ms=10"
    ways = {"edge": place.edge("gthread"), "direct": place.direct("gthread")}
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for way in in_rounds("Lag", rounds, tuple(ways)):
        (done,) = place.ask({"do": "lag", "path": path, **ways[way]})
        cuts = quantiles((each * 1000 for each in done["lags"]), n=100, method="inclusive")
        found[way].append((cuts[49], cuts[98]))
    rows = []
    for at, name in enumerate(("p50", "p99")):
        edge, direct = ([each[at] for each in found[way]] for way in ("edge", "direct"))
        figures.ratios.append(Ratio(f"lag of a row through the edge, {name}", "without the edge", "ms", edge, direct))
        added = [one - other for one, other in zip(edge, direct, strict=True)]
        rows.append([name, *(f"{median(each):.2f}" for each in (edge, direct, added))])
    head = ("", "through the edge, ms", "without, ms", "the edge adds, ms")
    figures.tables.append(Table("Lag of a row, 200 rows 10 ms apart: medians over the rounds", head, rows))


def memory(place: Place, rounds: int, figures: Figures) -> None:
    """Resident memory while 4 GiB go through."""
    size = 4 * _GIB
    for server in ("gthread", "asgi"):
        path = f"/binary?size={size}&chunk_bytes={_CHUNK}"
        # The first request takes what all further ones use again, the digest that is promised among it.
        place.ask(*({"do": "first", "times": 3, "path": path, **place.edge(server)} for _ in range(2)))
        before = place.usage(server)
        samples = [before]
        with _beside(lambda: samples.append(place.usage(server))):  # noqa: B023 - it is over before the next
            place.ask({"do": "read", "path": path, "size": size, **place.edge(server)})
        samples.append(place.usage(server))
        run.say(f" ✓ 4 GiB from {NAMES[server]}, {len(samples)} samples")
        for part, title in (("app", "the app"), ("edge", "nginx")):
            most = max(sample[part].memory for sample in samples)
            grown = (most - before[part].memory) / _MIB
            found = f"{grown:+.1f} MiB, from {before[part].memory / _MIB:.1f}"
            check = f"memory over a stream of 4 GiB from {NAMES[server]}: {title}"
            figures.checks.append(Check(check, found, f"at most {_MOST_GROWTH} MiB", grown <= _MOST_GROWTH))


@contextmanager
def _beside(call: Callable[[], object]) -> Iterator[None]:
    """Call something again and again in a thread for as long as a `with` block lasts."""
    over = threading.Event()

    def run_until_over() -> None:
        while not over.wait(0.5):
            call()

    thread = threading.Thread(target=run_until_over)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def buffered(place: Place, rounds: int, figures: Figures) -> None:
    """A client that reads nothing of 1 GiB for ten seconds: where the bytes are, with buffering off and on."""
    rows = []
    for server, title in (("gthread", "off"), ("buffered", "on")):
        path = f"/binary?size={_GIB}&chunk_bytes={_CHUNK}"
        place.ask({"do": "first", "times": 1, "path": path, **place.edge(server)})
        time.sleep(1)
        before, produced, disk = place.usage(server)["edge"], _produced(place, server), []
        with _beside(lambda: disk.append(place.buffered_on_disk() if server == "buffered" else 0)):  # noqa: B023
            place.ask({"do": "stall", "seconds": 10, "path": path, **place.edge(server)})
        after = place.usage(server)["edge"]
        # The stream's last bytes are counted when it has ended.
        time.sleep(1)
        produced = _produced(place, server) - produced
        grown = max(0, after.memory - before.memory)
        rest = max(0, produced - max(disk) - grown)
        rows.append([title, *(f"{each / _MIB:.1f}" for each in (produced, max(disk), grown, rest))])
    run.say(" ✓ Where the bytes are that nobody reads")
    others = "rest: in sockets, or not seen in the file in time"
    head = ("proxy-buffering", "sent by the app, MiB", "in nginx's file", "in nginx's memory", others)
    figures.tables.append(Table("A client that reads nothing of 1 GiB for 10 s", head, rows))


def _produced(place: Place, server: str) -> int:
    (text,) = place.ask({"do": "text", "path": "/metrics", **place.metrics(server)})
    found = [line for line in text["text"].splitlines() if line.startswith("streams_sent_bytes_total")]
    return int(sum(float(line.rpartition(" ")[2]) for line in found))


def _same(place: Place, tasks: Sequence[dict[str, Any]], also: dict[str, Any] | None = None) -> None:
    """Make sure that all that is compared is the same bytes.

    Raises:
        Trouble: it isn't.
    """
    told = place.ask(*({**task, "do": "digest"} for task in tasks)) + ([also] if also else [])
    if len({(each["sha256"], each["bytes"]) for each in told}) != 1:
        raise Trouble(f"what is to be compared is not the same bytes: {told}")


def limits(place: Namespace, figures: Figures) -> None:
    """Make sure that Kubernetes' limits bite here, before anything is said about pods that have some."""
    for name, program, limit in (
        ("busy", _SPIN, {"cpu": "200m", "memory": "64Mi"}),
        ("greedy", _GROW, {"cpu": "500m", "memory": "64Mi"}),
    ):
        one = container(name, images.APP, "python3", "-c", program)
        one["resources"] = {"limits": limit, "requests": {"cpu": "10m"}}
        place.kubectl("delete", "pod", name, "--ignore-not-found")
        place.kubectl("apply", "-f", "-", stdin=json.dumps(pod(name, [one], restartPolicy="Never")))
    ends: dict[str, Any] = {}
    for attempt in count():
        for name in {"busy", "greedy"} - set(ends):
            status = json.loads(place.kubectl("get", "pod", name, "-o", "json"))["status"]
            ended = status.get("containerStatuses", [{}])[0].get("state", {}).get("terminated")
            if ended:
                ends[name] = ended
        if len(ends) == 2:
            break
        if attempt == 60:
            raise Trouble("the pods that try their limits did not end within a minute")
        time.sleep(1)
    used = float(place.kubectl("logs", "busy"))
    figures.checks.append(
        Check("CPU limit of 200m, two busy processes", f"{used:.3f} cores", "0.1 to 0.25 cores", 0.1 <= used <= 0.25)
    )
    reason = ends["greedy"]["reason"]
    figures.checks.append(
        Check("memory limit of 64Mi, a pod that takes more", reason, "OOMKilled", reason == "OOMKilled")
    )
    for name in ends:
        place.kubectl("delete", "pod", name)
    run.say(" ✓ The limits of pods bite")


NAMES = {
    "gthread": "gunicorn gthread",
    "asgi": "gunicorn asgi",
    "static": "nginx with a static file",
    "go": "Go net/http",
    "stock": "gunicorn gthread with proxy-buffer-size 4k",
}
ALL: tuple[Measure, ...] = (csv, bytes_a_second, cost, small_chunks, first_byte, lag, memory, buffered)
