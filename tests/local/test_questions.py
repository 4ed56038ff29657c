"""The further questions, asked through a real nginx: each is seen to pass, and to fail where the edge is at fault.

Rows are so far apart that a busy machine does not make them late.
"""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from local_edge import LocalEdge

Verify = Callable[..., dict[str, Any]]

# 48 MiB as fast as it goes.
FAST = "/measure?rows=1000&size=49152&delay_ms=0"
PACED = "/measure?rows=3&delay_ms=500"
PAUSING = "/measure?rows=2&delay_ms=4000&format=sse"
GZIP = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"


class Secured(NamedTuple):
    """An edge that speaks TLS and HTTP/2 beside cleartext, and how to ask for it."""

    url: str
    plain_url: str
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Secured]]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("edge.invalid")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "edge.pem")
    edges: dict[str, LocalEdge] = {}
    answers: dict[str, Secured] = {}

    def start(buffering: Any) -> Secured:
        if buffering not in edges:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            directives = f"listen 127.0.0.1:{port} ssl; http2 on; {GZIP} "
            directives += f"ssl_certificate {folder}/edge.pem; ssl_certificate_key {folder}/edge.pem;"
            edges[buffering] = LocalEdge(buffering=buffering, directives=directives).__enter__()
            options = [
                "--cacert",
                f"{folder}/ca.pem",
                "--connect-to",
                f"::127.0.0.1:{port}",
                "--header",
                "Host: localhost",
            ]
            answers[buffering] = Secured("https://edge.invalid", edges[buffering].url, tuple(options))
        return answers[buffering]

    yield start
    for edge in edges.values():
        edge.__exit__(None, None, None)


# Backpressure


def test_without_buffering_the_app_stops_with_the_client(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + FAST, "--ask", "backpressure")
    assert (report["exit"], report["backpressure"]["numbers"]["outcome"]) == (0, "backpressure")
    assert report["backpressure"]["numbers"]["produced_during_stall_percent"] < 50
    report = verify(good_edge.url + FAST, "--ask", "backpressure", "--expect", "absorb")
    assert (report["exit"], report["backpressure"]["result"]) == (1, "FAIL")


def test_with_buffering_the_edge_absorbs_the_stream(buffering_edge: LocalEdge, verify: Verify) -> None:
    report = verify(buffering_edge.url + FAST, "--ask", "backpressure", "--expect", "absorb")
    assert (report["exit"], report["backpressure"]["numbers"]["outcome"]) == (0, "absorb")
    report = verify(buffering_edge.url + FAST, "--ask", "backpressure", "--expect", "backpressure")
    assert (report["exit"], report["backpressure"]["result"]) == (1, "FAIL")


@pytest.mark.parametrize("path", ["/measure?rows=100&size=10000&delay_ms=0", PACED, "/binary?size=1000000"])
def test_a_stream_that_cannot_show_it_is_inconclusive(good_edge: LocalEdge, verify: Verify, path: str) -> None:
    report = verify(good_edge.url + path, "--ask", "backpressure", "--stall", "1")
    assert (report["exit"], report["backpressure"]["result"]) == (2, "INCONCLUSIVE")


# Protocols


def test_all_protocols_pass_without_buffering(secured: Callable[..., Secured], verify: Verify) -> None:
    edge = secured("off")
    report = verify(edge.url + PACED, "--ask", "protocols", *edge.options)
    assert report["exit"] == 0, report
    assert set(report["protocols"]["numbers"].values()) == {"PASS"}
    assert len(report["protocols"]["numbers"]) == 10
    assert "nothing was compressed" not in report["protocols"]["sentence"]


def test_a_compressor_behind_a_buffer_holds_rows_back(secured: Callable[..., Secured], verify: Verify) -> None:
    report = verify(secured("on").plain_url + PACED, "--ask", "protocols")
    assert (report["exit"], report["protocols"]["result"]) == (1, "FAIL")
    assert report["protocols"]["sentence"].startswith("HTTP/1.1 with gzip: timing (Content-Encoding: gzip): ")
    numbers = report["protocols"]["numbers"]
    assert (numbers["HTTP/1.1"], numbers["HTTP/1.1 reused"], numbers["HTTP/1.1 with gzip"]) == ("PASS", "PASS", "FAIL")


def test_buffering_holds_rows_back_under_tls_but_not_over_http2(
    secured: Callable[..., Secured], verify: Verify
) -> None:
    """nginx fills its buffer for TLS (ssl_buffer_size) unless it is told to flush, as HTTP/2 and no buffering do."""
    edge = secured("on")
    assert verify(edge.url + PACED, "--http1.1", *edge.options)["timing"]["result"] == "FAIL"
    assert verify(edge.url + PACED, "--http2", *edge.options)["exit"] == 0


def test_a_stream_that_breaks_off_is_reset_in_http2(secured: Callable[..., Secured], verify: Verify) -> None:
    edge = secured("off")
    report = verify(edge.url + "/measure?rows=4&delay_ms=50&fail_after=2", "--http2", *edge.options)
    assert (report["framing"]["result"], report["completeness"]["result"]) == ("FAIL", "FAIL")
    assert "the server reset the stream" in report["framing"]["sentence"]


def test_http10_leaves_framing_open_and_the_promise_confirms_completeness(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + PACED, "--http1.0")
    assert report["exit"] == 2
    assert [report[question]["result"] for question in ("framing", "completeness", "timing")] == [
        "INCONCLUSIVE",
        "PASS",
        "PASS",
    ]


# Idle


@pytest.fixture(scope="module")
def impatient_edge() -> Iterator[LocalEdge]:
    with LocalEdge(read_timeout="2s") as edge:
        yield edge


def test_a_pause_longer_than_the_read_timeout_is_cut_unless_there_is_a_heartbeat(
    impatient_edge: LocalEdge, verify: Verify
) -> None:
    asked = ("--ask", "idle", "--read-timeout", "3")
    report = verify(impatient_edge.url + PAUSING, *asked)
    assert (report["exit"], report["idle"]["result"]) == (1, "FAIL")
    assert 1900 < report["idle"]["numbers"]["cut_after_ms"] < 3500
    report = verify(impatient_edge.url + PAUSING + "&heartbeat_ms=500", *asked)
    assert (report["exit"], report["idle"]["result"]) == (0, "PASS")
    assert report["idle"]["numbers"]["heartbeats"] == 7


def test_a_pause_before_the_first_byte_is_answered_by_the_gateway(impatient_edge: LocalEdge, verify: Verify) -> None:
    report = verify(impatient_edge.url + "/download_csv?rows=1&delay_ms=4000", "--ask", "idle")
    assert (report["exit"], "it answered 504" in report["idle"]["sentence"]) == (1, True)


def test_a_pause_that_the_edge_lets_pass_is_survived(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + PAUSING, "--ask", "idle", "--read-timeout", "3")
    assert (report["exit"], "heartbeat" in report["idle"]["sentence"]) == (0, False)
    report = verify(good_edge.url + PACED, "--ask", "idle", "--read-timeout", "3")
    assert report["exit"] == 2


# Concurrency


def test_streams_at_once_are_in_time(good_edge: LocalEdge, verify: Verify) -> None:
    report = verify(good_edge.url + PACED, "--ask", "concurrency", "--short", "/livez")
    assert report["exit"] == 0, report
    numbers = report["concurrency"]["numbers"]
    assert (numbers["streams"], numbers["at_once"], numbers["refused"]) == (10, 10, 0)
    assert numbers["short_requests"] >= 3


def test_streams_that_are_refused_are_named(verify: Verify) -> None:
    with LocalEdge(gunicorn_args=["--workers", "1", "--threads", "4"]) as edge:
        report = verify(edge.url + PACED, "--ask", "concurrency", "--streams", "5")
    assert (report["exit"], report["concurrency"]["result"]) == (1, "FAIL")
    assert (
        "3 of 5 streams at once were refused (503 Service Unavailable), 2 were served"
        in (report["concurrency"]["sentence"])
    )


def test_streams_that_wait_for_each_other_fail(verify: Verify) -> None:
    with LocalEdge(gunicorn_args=["--workers", "1", "--threads", "1", "--worker-class", "sync"]) as edge:
        report = verify(edge.url + PACED, "--ask", "concurrency", "--streams", "3")
    assert (report["exit"], report["concurrency"]["numbers"]["at_once"]) == (1, 1)


def test_one_late_stream_among_many_fails(bad_edge: LocalEdge, verify: Verify) -> None:
    report = verify(bad_edge.url + PACED, "--ask", "concurrency", "--streams", "3")
    assert (report["exit"], "for timing" in report["concurrency"]["sentence"]) == (1, True)


# All of it


def test_all_that_was_observed_is_saved_and_judged_alike(
    good_edge: LocalEdge, environment: dict[str, str], tmp_path: Path
) -> None:
    path = str(tmp_path / "seen.json")

    def streamproof(*args: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "streamproof", *args]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    asked = streamproof("verify", good_edge.url + PACED, "--all", "--stall", "1", "--streams", "3", "--save", path)
    assert asked[0] == 2, asked[1]  # backpressure cannot be told from so little
    assert asked[1].count("\nPASS ") == 7
    assert streamproof("judge", path) == asked
