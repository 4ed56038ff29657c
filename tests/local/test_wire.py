"""What is on the wire: asked for with curl, as the README does, and without the verifier."""

import http.client
import re
import subprocess
import time
import urllib.request
from urllib.parse import urlsplit

import pytest
from local_edge import LocalEdge

BODY = b"One,Two,Three\r\n" + b"".join(b"Hello,world,%d\r\n" % number for number in range(1, 100))


def _curl(url: str) -> tuple[list[str], bytes]:
    """Return the response's header lines, in lower case, and its body as it is on the wire."""
    done = subprocess.run(["curl", "-sS", "-v", "-N", "--raw", url], capture_output=True, timeout=30, check=True)
    lines = done.stderr.decode("latin-1").splitlines()
    return [line[2:].strip().lower() for line in lines if line.startswith("< ")], done.stdout


def _chunks(raw: bytes) -> tuple[list[str], bytes]:
    """Split a chunked body into its sizes, as they are written, and its content (RFC 9112 section 7.1)."""
    sizes, content = [], b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        sizes.append(size.decode("ascii"))
        length = int(size, 16)
        content, end, raw = content + raw[:length], raw[length : length + 2], raw[length + 2 :]
        assert end == b"\r\n"
    return sizes, content


def test_plain_csv_has_a_content_length(good_edge: LocalEdge) -> None:
    header, body = _curl(good_edge.url + "/download_csv")
    assert header[0] == "http/1.1 200 ok"
    assert f"content-length: {len(BODY)}" in header
    assert not [line for line in header if line.startswith("transfer-encoding")]
    assert body == BODY


def test_streamed_csv_leaves_the_app_as_one_chunk_for_each_row(good_edge: LocalEdge) -> None:
    header, raw = _curl(good_edge.app_url + "/download_csv_streaming")
    assert "transfer-encoding: chunked" in header
    sizes, content = _chunks(raw)
    assert sizes == ["F"] * 10 + ["10"] * 90 + ["0"]
    assert content == BODY


def test_streamed_csv_is_still_chunked_behind_the_edge(good_edge: LocalEdge) -> None:
    header, raw = _curl(good_edge.url + "/download_csv_streaming")
    assert "transfer-encoding: chunked" in header
    assert "content-type: text/csv" in header
    assert "content-disposition: attachment; filename=big.csv" in header
    sizes, content = _chunks(raw)
    # How many chunks is the edge's choice: these rows come so fast that it finds several at a time.
    assert sizes[-1] == "0"
    assert content == BODY


def test_rows_that_are_apart_keep_their_chunks_behind_the_edge(good_edge: LocalEdge) -> None:
    _, raw = _curl(good_edge.url + "/measure?rows=5&size=64&delay_ms=50")
    assert _chunks(raw)[0] == ["40"] * 5 + ["0"]


def test_rows_that_come_fast_leave_the_app_in_batches_if_asked(good_edge: LocalEdge) -> None:
    _, by_row = _curl(good_edge.app_url + "/download_csv_streaming?rows=20000")
    _, by_batch = _curl(good_edge.app_url + "/download_csv_streaming?rows=20000&chunk=batch")
    row_sizes, row_content = _chunks(by_row)
    batch_sizes, batch_content = _chunks(by_batch)
    assert row_content == batch_content
    assert len(row_sizes) == 20_002
    # 6 of 64 KiB at most; more if the machine was so busy that their age ended.
    assert 7 <= len(batch_sizes) < 100


def test_events_go_on_where_they_broke_off(good_edge: LocalEdge) -> None:
    url = good_edge.url + "/measure?format=sse&rows=6&delay_ms=250&heartbeat_ms=100&fail_after=3"
    done = subprocess.run(["curl", "-sS", "-N", url], capture_output=True, timeout=30)
    assert done.returncode == 18, "curl calls this a transfer that ended early"
    assert re.findall(rb"(?m)^id: (\d+)$", done.stdout) == [b"1", b"2", b"3"]
    assert done.stdout.count(b": heartbeat\n\n") == 6
    again = subprocess.run(["curl", "-sS", "-N", "-H", "Last-Event-ID: 3", url], capture_output=True, timeout=30)
    assert again.returncode == 0
    assert re.findall(rb"(?m)^id: (\d+)$", again.stdout) == [b"4", b"5", b"6"]
    end = subprocess.run(["curl", "-sS", "-i", "-H", "Last-Event-ID: 6", url], capture_output=True, timeout=30)
    assert end.stdout.startswith(b"HTTP/1.1 204 ")


def test_clients_that_leave_do_not_keep_their_threads(good_edge: LocalEdge) -> None:
    """Each of these streams would take one for 10 minutes; there are 32 in all."""
    for _ in range(40):
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(good_edge.app_url).port, timeout=10)
        connection.request("GET", "/download_csv_streaming?rows=12000&delay_ms=50&chunk=batch")
        assert connection.getresponse().read(15) == b"One,Two,Three\r\n"
        connection.close()
    started = time.monotonic()
    with urllib.request.urlopen(good_edge.app_url + "/livez", timeout=10):
        assert time.monotonic() - started < 5


def test_broken_stream_ends_without_terminating_chunk(good_edge: LocalEdge) -> None:
    for url in (good_edge.app_url, good_edge.url):
        port = urlsplit(url).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/measure?rows=12&delay_ms=20&fail_after=6")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
        assert caught.value.partial.count(b"\n") == 6
        connection.close()


def test_head_of_a_stream_is_answered_at_once(good_edge: LocalEdge) -> None:
    for url in (good_edge.app_url, good_edge.url):
        started = time.monotonic()
        request = urllib.request.Request(url + "/measure?rows=900&delay_ms=1000", method="HEAD")
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
            assert response.headers["X-Stream-Promise"].startswith("rows=900, ")
        assert time.monotonic() - started < 5


def test_bad_parameter_and_bad_method_are_answered_through_the_edge(good_edge: LocalEdge) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(good_edge.url).port, timeout=10)
    for method, path, status in (
        ("GET", "/measure?rows=%D9%A3", 400),
        ("GET", "/measure?rows=" + "9" * 3000, 400),
        ("GET", "/measure?%ff=%fe&\\", 400),
        ("POST", "/measure", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/readyz", 200),
    ):
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        assert (path, response.status) == (path, status)
    connection.close()
