"""What the edge does to a stream, as the verifier sees it from outside the cluster."""

from __future__ import annotations

import inspect
import json
import re
import urllib.error
import urllib.request
import uuid
from email.message import Message
from pathlib import Path
from typing import Any

import local_edge
import pytest
from cluster.edges import ingress_nginx
from cluster.kind import Cluster

# Pauses are long, so that a busy machine's hiccup is not taken for a row that was held back.
SHORT = "rows=8&size=64&delay_ms=500"  # 512 bytes: less than the edge's buffer of 4 KiB
LONG = "rows=24&size=1024&delay_ms=250"  # 24 KiB: several buffers
BROKEN = "rows=8&size=64&delay_ms=100&fail_after=4"


def test_a_stream_passes_the_good_ingress_row_by_row(demo: Any) -> None:
    status, verdicts = demo.verify(SHORT)
    assert status == 0, verdicts
    assert {verdict["result"] for verdict in verdicts.values()} == {"PASS"}
    assert set(verdicts) == {"framing", "completeness", "timing"}


def test_a_short_stream_arrives_at_the_end_through_the_bad_ingress(demo: Any) -> None:
    status, verdicts = demo.verify(SHORT, "buffered-http10.test")
    assert status == 1, verdicts
    assert verdicts["timing"]["result"] == "FAIL"
    assert "at the end" in verdicts["timing"]["sentence"]
    assert verdicts["completeness"]["result"] == "PASS"


def test_a_longer_stream_arrives_in_bursts_through_the_bad_ingress(demo: Any) -> None:
    status, verdicts = demo.verify(LONG, "buffered-http10.test")
    assert status == 1, verdicts
    assert verdicts["timing"]["result"] == "FAIL"
    assert "bursts" in verdicts["timing"]["sentence"]


def test_buffering_alone_delays_no_chunked_row(demo: Any) -> None:
    """The common belief is that it does: what it takes is an upstream body that is not chunked."""
    status, verdicts = demo.verify(SHORT, "buffered.test")
    assert status == 0, verdicts


def test_a_broken_stream_lacks_its_terminating_chunk_through_the_good_ingress(demo: Any) -> None:
    status, verdicts = demo.verify(BROKEN)
    assert status == 1, verdicts
    assert verdicts["framing"]["result"] == "FAIL"
    assert "terminating chunk" in verdicts["framing"]["sentence"]
    assert verdicts["completeness"]["result"] == "FAIL"


def test_a_broken_stream_looks_whole_through_the_bad_ingress_and_is_found_by_its_count(demo: Any) -> None:
    status, verdicts = demo.verify(BROKEN, "buffered-http10.test")
    assert status == 1, verdicts
    assert verdicts["framing"]["result"] == "PASS"
    assert verdicts["completeness"]["result"] == "FAIL"
    assert "4 of 8 rows" in verdicts["completeness"]["sentence"]


def test_one_header_of_the_app_sets_the_bad_ingress_right(demo: Any) -> None:
    status, verdicts = demo.verify(f"{SHORT}&accel_buffering=no", "buffered-http10.test")
    assert status == 0, verdicts


SCRAPE = """
import socket, urllib.request
name = "streaming-metrics"
for *_, (address, _) in socket.getaddrinfo(name, 9000, socket.AF_INET, socket.SOCK_STREAM):
    print(address, b"streams_open" in urllib.request.urlopen(f"http://{address}:9000/metrics").read())
"""


def test_metrics_are_for_those_who_ask_each_pod_and_not_through_the_edge(cluster: Cluster, demo: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(f"{demo.url}/metrics", demo.host)
    pods = cluster.ready_pods(demo.namespace, "app.kubernetes.io/name=streaming")
    command = ("exec", "-n", demo.namespace, pods[0]["metadata"]["name"], "--", "python3", "-c", SCRAPE)
    assert set(cluster.kubectl(*command).splitlines()) == {f"{pod['status']['podIP']} True" for pod in pods}


def test_a_request_id_crosses_the_edge_into_the_log(cluster: Cluster, demo: Any) -> None:
    """As the client's own: the chart trusts no edge by default."""
    identity = f"test-{uuid.uuid4()}"
    made = _get(f"{demo.url}/measure?rows=1", demo.host, identity)["X-Request-ID"]
    assert made != identity
    logged = cluster.kubectl("logs", "-n", demo.namespace, "-l", "app.kubernetes.io/name=streaming", "--tail=-1")
    lines = [json.loads(line) for line in logged.splitlines()]
    mine = [line for line in lines if line.get("client_request_id") == identity]
    assert {line["request_id"] for line in mine} == {made}
    assert [line.get("outcome") for line in mine] == [None, "completed"]
    assert (mine[1]["bytes"], mine[1]["chunks"]) == (64, 1)


def _get(url: str, host: str, request_id: str = "") -> Message:
    request = urllib.request.Request(url, headers={"Host": host, "X-Request-ID": request_id})
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()
        return response.headers


def test_the_local_edge_has_the_directives_that_the_controller_renders(cluster: Cluster, demo: Any) -> None:
    """`make local` promises them. What the chart or LocalEdge sets itself is left out."""
    template = (Path(local_edge.__file__).parent / "nginx.conf.template").read_text()
    buffer_size = inspect.signature(local_edge.LocalEdge).parameters["buffer_size"].default
    template = template.replace("@buffer_size@", buffer_size)
    chosen = {
        "proxy_pass",
        "proxy_temp_path",
        "proxy_read_timeout",
        "proxy_send_timeout",
        "proxy_buffering",
        "proxy_http_version",
    }
    wanted = [words for words in _directives(template) if words[0] not in chosen]
    rendered = ingress_nginx.nginx_conf(cluster)
    server = rendered[rendered.index(f"## start server {demo.host}") : rendered.index(f"## end server {demo.host}")]
    # The controller passes some variables on under names of its own.
    names = dict(re.findall(r"^\s*set (\$\w+)\s+(\$\w+);", server, re.MULTILINE))
    there = [[names.get(names.get(word, word), names.get(word, word)) for word in line] for line in _directives(server)]
    assert len(wanted) > 15
    assert [words for words in wanted if words not in there] == []
    assert ["proxy_buffering", "off"] in there


def _directives(text: str) -> list[list[str]]:
    """Return the directives that tell nginx how to treat the upstream, as words."""
    return [line.rstrip(";").split() for line in re.findall(r"^\s*(proxy_[a-z_]+\s.*;)", text, re.MULTILINE)]
