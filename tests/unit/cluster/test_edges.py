"""Whether the edge has what an Ingress asks for, and which of its pods is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cluster.edges import ingress_nginx
from cluster.kind import Cluster
from cluster.run import Trouble

from tests.unit.cluster.stubs import stub

# As the controller writes a location.
CONF = """
\t## start server faults.test
\tserver {
\t\tserver_name faults.test ;
\t\tlocation / {
\t\t\tclient_max_body_size                    1m;
\t\t\tproxy_connect_timeout                   5s;
\t\t\tproxy_read_timeout                      120s;
\t\t\tproxy_buffering                         off;
\t\t\tproxy_buffer_size                       4k;
\t\t\tproxy_buffers                           4 4k;
\t\t\tproxy_request_buffering                 on;
\t\t\tproxy_http_version                      1.1;
\t\t\tproxy_cookie_domain                     off;
\t\t\tproxy_cookie_path                       /one /two;
\t\t\tproxy_next_upstream                     error timeout http_502 non_idempotent;
\t\t\tproxy_next_upstream_timeout             0;
\t\t\tproxy_next_upstream_tries               3;
\t\t}
\t}
\t## end server faults.test
"""


@pytest.mark.parametrize(
    ("annotation", "there", "other"),
    [
        ("proxy-next-upstream", "error timeout http_502 non_idempotent", "error timeout"),
        ("proxy-next-upstream", "error non_idempotent timeout http_502", "off"),
        ("proxy-next-upstream-timeout", "0", "5"),
        ("proxy-buffers-number", "4", "8"),
        ("proxy-buffer-size", "4k", "8k"),
        ("proxy-cookie-path", "/one /two", "/one /three"),
        ("proxy-body-size", "1m", "2m"),
        ("proxy-read-timeout", "120", "60"),
        ("proxy-buffering", "off", "on"),
        ("proxy-http-version", "1.1", "1.0"),
        ("proxy-max-temp-file-size", "", "1024m"),
    ],
)
def test_an_annotation_is_compared_with_the_directive_that_it_sets(annotation: str, there: str, other: str) -> None:
    name = f"nginx.ingress.kubernetes.io/{annotation}"
    assert ingress_nginx.differences({name: there}, CONF) == []
    (told,) = ingress_nginx.differences({name: other}, CONF)
    assert told.startswith(f"{name} asks for {other}, and nginx.conf has ")


def test_an_annotation_that_sets_no_directive_is_not_waited_for() -> None:
    others = (
        "nginx.ingress.kubernetes.io/proxy-ssl-secret",
        "nginx.ingress.kubernetes.io/ssl-redirect",
        "example.com/a",
    )
    assert ingress_nginx.differences(dict.fromkeys(others, "x"), CONF) == []


def pod(name: str, created: str, ready: bool, going: bool = False) -> dict[str, object]:
    metadata = {"name": name, "creationTimestamp": created} | ({"deletionTimestamp": created} if going else {})
    return {
        "metadata": metadata,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def kubectl(monkeypatch: pytest.MonkeyPatch, folder: Path, pods: list[dict[str, object]], conf: str = CONF) -> Path:
    """Put a kubectl on PATH that knows these pods, and of which only the one named ready can be asked for its file."""
    annotations = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "120"}
    ingress = {"metadata": {"annotations": annotations}, "spec": {"rules": [{"host": "faults.test"}]}}
    asked = stub(
        folder,
        "kubectl",
        {
            "version --client": "Client Version: v1.35.2",
            "* get ingress *": json.dumps({"items": [ingress]}),
            "* get pods *": json.dumps({"items": pods}),
            "* exec -n ingress-nginx ready -- cat /etc/nginx/nginx.conf": conf,
            "* exec *": Exception("container not found"),
        },
    )
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr("cluster.tools.BIN", folder / "bin")
    monkeypatch.setattr(ingress_nginx.time, "sleep", lambda seconds: None)
    return asked


CLUSTER = Cluster("some", 0)


def test_the_controller_that_is_about_to_go_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pods = [
        pod("going", "2026-01-01T00:04:00Z", ready=True, going=True),
        pod("starting", "2026-01-01T00:03:00Z", ready=False),
        pod("old", "2026-01-01T00:00:00Z", ready=True),
        pod("ready", "2026-01-01T00:02:00Z", ready=True),
    ]
    kubectl(monkeypatch, tmp_path, pods)
    ingress_nginx.settle(CLUSTER, "faults.test")


def test_while_no_controller_is_ready_the_edge_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = kubectl(monkeypatch, tmp_path, [pod("starting", "2026-01-01T00:00:00Z", ready=False)])
    with pytest.raises(
        Trouble, match=r"has not taken up its Ingress: no pod with app\.\S+ in .* ingress-nginx is ready"
    ):
        ingress_nginx.settle(CLUSTER, "faults.test")
    assert asked.read_text().count("get pods") == 60


@pytest.mark.parametrize(
    ("conf", "reason"),
    [("", "nginx.conf has no server for faults.test"), (CONF.replace("120s", "60s"), "nginx.conf has proxy_read_time")],
)
def test_what_the_edge_has_not_taken_up_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, conf: str, reason: str
) -> None:
    kubectl(monkeypatch, tmp_path, [pod("ready", "2026-01-01T00:00:00Z", ready=True)], conf)
    with pytest.raises(Trouble, match=reason):
        ingress_nginx.settle(CLUSTER, "faults.test")


def test_a_tool_is_asked_for_its_version_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = kubectl(monkeypatch, tmp_path, [])
    for _ in range(3):
        CLUSTER.kubectl("get", "pods", "-A")
    assert asked.read_text().splitlines().count("version --client") == 1
