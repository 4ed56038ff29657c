"""Moving from ingress-nginx to Envoy Gateway, as docs/migrate.md has it: both before the same Service for a while."""

from __future__ import annotations

import pytest
from edges import happenings
from edges.stage import Stage

pytestmark = pytest.mark.timeout(300)


def test_no_stream_is_cut_when_clients_move_to_another_edge(stage: Stage) -> None:
    moved = happenings.cut_over(stage, "ingress-nginx", "envoy-gateway")
    assert moved.open >= 20
    for accounts in (moved.old, moved.new):
        assert len(accounts) >= 40
        assert [(each.outcome, each.how) for each in accounts if each.outcome != "completed"] == []
