"""How a rate depends on the size of the chunks and on the number of streams, and where the time of a row goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.measures import NAMES, Curves, Figures, Measure, Table, in_rounds
from bench.places import Place, Usage

_MIB, _GIB = 1 << 20, 1 << 30
_SERVERS = ("gthread", "asgi", "go")
_SIZES = (64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, _MIB)
# As long as it takes to measure, and not longer: of small chunks there are fewer bytes.
_MOST_CHUNKS = 200_000
_STREAMS = (1, 2, 4, 8, 16, 32, 64)
_CHUNK = 64 << 10
_ROWS = 500_000
# A knee is where this share of the most is reached.
_KNEE = 0.9


def chunk_size(place: Place, rounds: int, figures: Figures) -> None:
    """One stream, in chunks from 64 B to 1 MiB."""
    tasks = {}
    for server in _SERVERS:
        for size in _SIZES:
            total = min(_GIB, size * _MOST_CHUNKS)
            path = f"/binary?size={total}&chunk_bytes={size}"
            tasks[server, size] = {"do": "read", "path": path, "size": total, **place.edge(server)}
    _over(tasks, "chunk-size", "Chunk size, one stream", "bytes of a chunk", place, rounds, figures)


def parallel(place: Place, rounds: int, figures: Figures) -> None:
    """1 GiB in chunks of 64 KiB, in one stream and in up to 64 at a time."""
    tasks = {}
    for server in _SERVERS:
        for streams in _STREAMS:
            path = f"/binary?size={_GIB // streams}&chunk_bytes={_CHUNK}"
            task = {"do": "parallel", "streams": streams, "path": path, "size": _GIB // streams}
            tasks[server, streams] = task | place.edge(server)
    _over(tasks, "parallel", "Parallel streams, chunks of 64 KiB", "streams at a time", place, rounds, figures)


def _over(
    tasks: Mapping[tuple[str, int], dict[str, Any]],
    name: str,
    title: str,
    across: str,
    place: Place,
    rounds: int,
    figures: Figures,
) -> None:
    """Do the tasks, each by its server and its place on the axis `across`, and add their table and their curves."""
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for key in in_rounds(title, rounds, tuple(tasks)):
        (done,) = place.ask(tasks[key])
        rates[key].append(tasks[key]["size"] * tasks[key].get("streams", 1) / _MIB / done["seconds"])
    middle = {key: median(values) for key, values in rates.items()}
    xs = sorted({x for _, x in tasks})
    rows = [
        [
            f"{x:,}",
            *(f"{middle[server, x]:,.0f}" for server in _SERVERS),
            f"{middle['gthread', x] / middle['go', x]:.2f}",
        ]
        for x in xs
    ]
    knees = [f"{knee([(x, middle[server, x]) for x in xs]):,}" for server in _SERVERS]
    rows.append([f"knee: {_KNEE:.0%} of the most", *knees, ""])
    head = (across, *(f"{NAMES[server]}, MiB/s" for server in _SERVERS), "gthread to Go")
    figures.tables.append(Table(f"{title}: medians of {rounds} rounds", head, rows))
    series = {NAMES[each]: [(x, middle[each, x]) for x in xs] for each in _SERVERS}
    figures.curves.append(Curves(name, title, across, "MiB/s", series))


def knee(points: Sequence[tuple[int, float]]) -> int:
    """Return the first place at which nine tenths of the most are reached."""
    most = max(rate for _, rate in points)
    return next(x for x, rate in sorted(points) if rate >= _KNEE * most)


def row(place: Place, rounds: int, figures: Figures) -> None:
    """Where the time of a CSV row goes, from the source to the edge: CPU time."""
    ways = {
        "a yield a row": {"path": f"/download_csv_streaming?rows={_ROWS}", **place.edge("gthread")},
        "the same, Django without middleware": {"path": f"/rows?rows={_ROWS}", **place.edge("plain")},
        "in batches": {"path": f"/download_csv_streaming?rows={_ROWS}&chunk=batch", **place.edge("gthread")},
    }
    made: dict[str, list[float]] = defaultdict(list)
    sent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for way in in_rounds("Where the time of a row goes", rounds, ("made", *ways)):
        if way == "made":
            (done,) = place.ask({"do": "stages", "rows": _ROWS})
            for stage, seconds in done.items():
                made[stage].append(seconds)
            continue
        server = "plain" if "without" in way else "gthread"
        before = place.usage(server)
        place.ask({"do": "read", **ways[way]})
        after = place.usage(server)
        for part, name in (("app", "the app"), ("edge", "nginx")):
            for mode, seconds in _modes(before[part], after[part]).items():
                sent[way, f"{name}, {mode}"].append(seconds)
    rows = [[stage, _micro(values)] for stage, values in made.items()]
    figures.tables.append(Table("Making a CSV row, without sending it: CPU time", ("up to where", "µs a row"), rows))
    parts = list(dict.fromkeys(part for _, part in sent))
    rows = [[part, *(_micro(sent[way, part]) for way in ways)] for part in parts]
    figures.tables.append(Table("Making a CSV row and sending it: CPU time, µs a row", ("where", *ways), rows))


def _modes(before: Usage, after: Usage) -> dict[str, float]:
    kernel = after.kernel - before.kernel
    return {"its own code": after.cpu - before.cpu - kernel, "the kernel": kernel}


def _micro(seconds: Sequence[float]) -> str:
    return f"{median(seconds) / _ROWS * 1e6:.2f}"


ALL: tuple[Measure, ...] = (chunk_size, parallel, row)
