"""What Prometheus asks for, added up over all workers.

Labels are few on purpose: each combination is a time series, and a path in them would let clients make any number.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900)

# livesum: a worker that died has no open streams, whatever it counted last.
OPEN = Gauge("streams_open", "Streams that hold a slot.", multiprocess_mode="livesum")
ENDED = Counter("streams_ended", "Streams that ended, by outcome; refused ones never began.", ["outcome"])
BYTES = Counter("streams_sent_bytes", "Bytes of streams handed to the server, without framing.")
CHUNKS = Counter("streams_sent_chunks", "Chunks of streams handed to the server.")
TTFB = Histogram("streams_ttfb_seconds", "From the request to a stream's first byte.", buckets=_SECONDS)
DURATION = Histogram("streams_duration_seconds", "From the request to a stream's end.", ["outcome"], buckets=_SECONDS)


class _Collector(MultiProcessCollector):
    """One that leaves out the files which a starting worker has opened and not filled: the library fails at them."""

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all other files."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _filled(file)]
        merged: Iterable[Metric] = self.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _filled(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape of this pod.

    Under gunicorn, which sets PROMETHEUS_MULTIPROC_DIR, the numbers come from all workers' files, whichever is asked.
    """
    source = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        source = CollectorRegistry()
        _Collector(source)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(source), content_type=CONTENT_TYPE_LATEST)
