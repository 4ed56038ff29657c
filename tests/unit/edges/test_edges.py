"""What the comparison of edges rests on, without any of them."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from cluster.edges import NAMES
from cluster.run import Trouble
from edges import bad, measure, report
from edges.measure import Measured


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"4\r\nabcd\r\n0\r\n\r\n", True),
        (b"4\r\nabcd\r\n", False),
        (b"0\r\n\r\n", False),
    ],
)
def test_only_what_came_whole_is_timed(body: bytes, whole: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(body)

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        if whole:
            assert measure.fetch(port, 4, 4) > 0
        else:
            with pytest.raises(Trouble, match=f"of 12 bytes through port {port} came {len(body)}"):
                measure.fetch(port, 12, 4)


def test_speed_is_compared_within_each_round() -> None:
    """A machine that is twice as slow in one round changes nothing."""
    base = Measured("ingress-nginx", "", {}, {"bytes": [1.0, 2.0, 1.0], "chunks": []})
    other = Measured("traefik", "", {}, {"bytes": [0.5, 1.0, 0.5], "chunks": []})
    assert report._speed(other, base, "bytes").startswith("2.00 times (2.00 to 2.00), ")


def test_the_table_takes_the_place_of_the_last_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "edges.md"
    page.write_text("# Title\n\n<!-- make edges -->\nold\n<!-- end -->\n\nProse.\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "PICTURE", tmp_path / "edges.svg")
    monkeypatch.setattr(report, "table", lambda found: "| new |")
    monkeypatch.setattr(report, "picture", lambda found: "<svg/>")
    for _ in range(2):
        report.write([])
    drawn = "![When rows were produced, and when they arrived through each edge](images/edges.svg)"
    assert page.read_text() == f"# Title\n\n<!-- make edges -->\n| new |\n\n{drawn}\n<!-- end -->\n\nProse.\n"


def test_each_edge_has_a_bad_setting() -> None:
    assert set(bad.BAD) == set(bad.WHAT) == set(bad.HOSTS) == set(NAMES)
