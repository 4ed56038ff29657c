"""What the pages say: their commands print what is written below them, and what they claim in words is so."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_blocks.environments import CommandFailed, run_local
from doc_blocks.pages import ROOT, pages
from local_edge import LocalEdge

from tests.local.service import until
from tests.matrix.servers import ENVOY, free_ports

GZIP = "gzip on; gzip_types text/plain; gzip_min_length 0;"
BLOCK = "<!-- run: local -->\n```console\n$ {}\n```\n"


@pytest.mark.parametrize("page", pages("local"), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_print_what_it_shows(page: Path) -> None:
    """Where they don't: `make docs` rewrites it."""
    text = page.read_text(encoding="utf-8")
    assert run_local(text).splitlines() == text.splitlines()


def test_an_output_that_has_changed_is_rewritten() -> None:
    text = BLOCK.format("export WORD=new\n$ echo $WORD\nold\n$ curl -s $APP/livez\nok")
    assert run_local(text) == text.replace("old", "new")


def test_a_command_that_fails_or_prints_nothing_is_named() -> None:
    with pytest.raises(CommandFailed, match=r"line 2: `ls /nowhere` ended with status 2. ls: .*No such file"):
        run_local(BLOCK.format("ls /nowhere"))
    with pytest.raises(CommandFailed, match="line 2: `true` printed nothing"):
        run_local(BLOCK.format("true\nsomething"))
    with pytest.raises(CommandFailed, match="the shell ended in the midst of `exit 3`"):
        run_local(BLOCK.format("exit 3\n$ true"))


def _lags(url: str, *options: str) -> list[float]:
    """Return how many seconds after its production each of 6 rows came out of curl, into a pipe."""
    command = ["curl", "-s", *options, f"{url}/measure?rows=6&delay_ms=300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        return [time.time() - float(line.split()[1]) for line in curl.stdout]


def test_curl_into_a_pipe_holds_rows_back_without_N(good_edge: LocalEdge) -> None:
    assert _lags(good_edge.url)[0] > 1.2
    assert max(_lags(good_edge.url, "-N")) < 1


def test_an_edge_that_compresses_holds_rows_back_only_where_it_buffers() -> None:
    with LocalEdge(directives=GZIP) as edge:
        assert max(_lags(edge.url, "-N", "--compressed")) < 1
    with LocalEdge(buffering="on", directives=GZIP) as edge:
        assert _lags(edge.url, "-N", "--compressed")[0] > 1.2
        assert max(_lags(edge.url, "-N")) < 1, "a client that takes no gzip"


@contextlib.contextmanager
def _envoy(folder: Path, app_url: str, route: str) -> Iterator[str]:
    """Run Envoy in front of the app, with this for its one route; yield its address."""
    (port,) = free_ports(1)
    config = folder / f"{port}.yaml"
    config.write_text(ENVOY.format(port=port, app=app_url.rpartition(":")[2]).replace("{cluster: app}", route))
    command = [str(Path(sys.executable).with_name("envoy")), "-c", str(config), "--disable-hot-restart"]
    with subprocess.Popen([*command, "--concurrency", "1", "--log-level", "warning"]) as envoy:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: subprocess.run(["curl", "-sf", f"{url}/livez"], capture_output=True).returncode == 0)
            yield url
        finally:
            envoy.kill()


def test_envoy_cuts_a_lively_stream_after_15_s_unless_its_route_says_otherwise(
    good_edge: LocalEdge, tmp_path: Path
) -> None:
    with (
        _envoy(tmp_path, good_edge.app_url, "{cluster: app}") as default,
        _envoy(tmp_path, good_edge.app_url, "{cluster: app, timeout: 0s}") as unlimited,
    ):
        streams = [
            subprocess.Popen(["curl", "-sSN", f"{url}/measure?rows=18&delay_ms=1000"], stdout=subprocess.PIPE)
            for url in (default, unlimited)
        ]
        cut, whole = ((stream.communicate()[0].count(b"\n"), stream.returncode) for stream in streams)
    assert whole == (18, 0)
    assert 14 <= cut[0] <= 16 and cut[1] == 18
