"""What the tests of the cluster's scripts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import tools


@pytest.fixture(autouse=True)
def _no_tool_is_known_yet() -> Iterator[None]:
    """Each test has a PATH of its own."""
    tools.find.cache_clear()
    yield
    tools.find.cache_clear()
