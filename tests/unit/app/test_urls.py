"""The list of endpoints that tests use, against what the app answers and what the page about the demo promises."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from django.test import Client
from django_streamproof import health
from streaming.urls import urlpatterns

from tests.endpoints import DOWNLOADS, METRICS, PAGE, PROBES

DEMO = Path(__file__).parents[3] / "docs" / "demo.md"


def test_the_app_answers_these_paths_and_no_other(client: Client) -> None:
    assert sorted(f"/{each.pattern}" for each in urlpatterns) == sorted([*PAGE, *DOWNLOADS])
    assert sorted(health._PROBES) == sorted(PROBES)
    assert [client.get(METRICS, SERVER_PORT=port).status_code for port in ("80", "9000")] == [404, 200]


def test_the_page_about_the_demo_lists_them_with_their_parameters() -> None:
    """But for accel_buffering, which it names once for all streams."""
    text = DEMO.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(/\w*)` \|([^|]*)\|", text, re.MULTILINE)
    expected = {"/": set()} | {
        path: {
            word
            for one in fields(kind)
            if one.name != "accel_buffering"
            for word in (one.name, *getattr(one.metadata["allowed"], "options", ()))
        }
        for path, kind in DOWNLOADS.items()
    }
    assert {path: set(re.findall(r"\w+(?=[=`])", cell)) for path, cell in rows} == expected
    assert f"`{METRICS}`" in text
