"""The page through the real ingress, once as the chart writes it and once as a careless hand might."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from cluster.kind import Cluster


@pytest.fixture(scope="module")
def hosts(cluster: Cluster) -> str:
    return f"MAP *.test 127.0.0.1:{cluster.http_port}"


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("good.test", r"in time\."), ("buffered-http10.test", r"all together at the end\. Something .* buffers\.")],
)
def test_page_shows_what_the_ingress_does(demo: Any, visit: Callable[..., Any], host: str, verdict: str) -> None:
    shown = visit(f"http://{host}/")
    for name in ("fetch", "events"):
        shown.wait_for_end(name)
        assert re.fullmatch(rf"12 of 12 rows arrived, largest lag \d+ ms: {verdict}", shown.summary(name))
    assert {url.split("/")[2] for url in shown.requested} == {host}
