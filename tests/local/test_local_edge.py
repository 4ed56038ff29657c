"""The command behind `make local`, and what it leaves behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from local_edge import LocalEdge, StartFailed

COMMAND = [sys.executable, "-m", "local_edge"]


def _nothing_listens(url: str) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


def test_command_says_what_it_does_and_passes_the_verdict_on(environment: dict[str, str]) -> None:
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "verdict: PASS" in done.stdout
    drawn = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith(("produced ", "arrived "))]
    assert drawn == [["|"] * 12] * 2
    assert "starting gunicorn" in done.stderr
    assert "stopped" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_command_leaves_nothing_running(
    environment: dict[str, str], number: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        urls: list[str] = []
        while not urls:
            urls = [word.rstrip(",") for word in run.stderr.readline().split() if word.startswith("http://127.0.0.1:")]
        time.sleep(1)
        run.send_signal(number)
        assert run.wait(20) == status
    assert len(urls) == 2
    assert all(_nothing_listens(url) for url in urls)


def test_streams_in_flight_do_not_hold_up_the_end() -> None:
    with LocalEdge() as edge, socket.create_connection(("127.0.0.1", urlsplit(edge.url).port)) as client:
        client.sendall(b"GET /measure?rows=15&delay_ms=60000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1000)
        started = time.monotonic()
        edge.__exit__(None, None, None)
        assert time.monotonic() - started < 15
    assert _nothing_listens(edge.url)
    assert _nothing_listens(edge.app_url)


def test_a_gunicorn_that_does_not_start_is_told_with_the_end_of_its_log() -> None:
    with pytest.raises(StartFailed, match=r"(?s)^gunicorn ended with status \d+ .*unrecognized arguments: --nonsense"):
        LocalEdge(gunicorn_args=["--nonsense"]).__enter__()


def test_an_nginx_that_does_not_start_is_told_and_gunicorn_is_stopped() -> None:
    wrong: Any = "perhaps"
    edge = LocalEdge(buffering=wrong)
    with pytest.raises(StartFailed, match=r'(?s)^nginx ended with status 1 .*invalid value "perhaps"'):
        edge.__enter__()
    assert _nothing_listens(edge.app_url)


def test_a_port_that_was_taken_meanwhile_is_told() -> None:
    edge = LocalEdge()
    taken = pytest.raises(StartFailed, match=r"(?s)^nginx ended with status 1 .*Address (already )?in use")
    with socket.create_server(("127.0.0.1", urlsplit(edge.url).port)), taken:
        edge.__enter__()


def test_settings_of_another_django_project_do_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DJANGO_ALLOWED_HOSTS", "elsewhere.example.com")
    monkeypatch.setitem(os.environ, "DJANGO_SETTINGS_MODULE", "elsewhere.settings")
    with LocalEdge():
        pass
