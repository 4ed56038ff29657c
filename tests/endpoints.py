"""The demo's paths and parameters, in one list that test_urls.py compares with the app and with docs/demo.md."""

from __future__ import annotations

from dataclasses import fields

from download.params import BinaryParams, CsvParams, CsvStreamParams, MeasureParams

PAGE = ("/", "/page.js", "/page.css")
STREAMS = {"/download_csv_streaming": CsvStreamParams, "/measure": MeasureParams, "/binary": BinaryParams}
DOWNLOADS = {"/download_csv": CsvParams, **STREAMS}
PROBES = ("/livez", "/readyz")
# On a port of its own.
METRICS = "/metrics"
PARAMETERS = sorted({one.name for kind in DOWNLOADS.values() for one in fields(kind)})
ALL = (*PAGE, *DOWNLOADS, *PROBES)
