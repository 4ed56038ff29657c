"""What is read out of the cluster's objects, and what is asked of the cluster, without one."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from streamproof.kubernetes import Cluster, Pod, Wrong, _edge, _route, probe_manifest


def ingress(*paths, host="shop.test", default=None):
    rules = [
        {
            "host": host,
            "http": {
                "paths": [
                    {"path": path, "pathType": kind, "backend": {"service": {"name": name, "port": {"number": 80}}}}
                    for path, kind, name in paths
                ]
            },
        }
    ]
    spec = {"rules": rules} if paths else {}
    if default:
        spec["defaultBackend"] = {"service": {"name": default, "port": {"number": 80}}}
    return {"spec": spec}


def backend(found):
    host, service = found
    return host, service["name"]


def test_the_longest_path_that_fits_is_taken():
    rules = ingress(("/", "Prefix", "root"), ("/api", "Prefix", "api"), ("/api/events", "Prefix", "events"))
    assert backend(_route(rules, "web", "/api/events/1")) == ("shop.test", "events")
    assert backend(_route(rules, "web", "/api")) == ("shop.test", "api")
    assert backend(_route(rules, "web", "/other")) == ("shop.test", "root")


def test_a_prefix_ends_at_a_slash():
    rules = ingress(("/", "Prefix", "root"), ("/api", "Prefix", "api"))
    assert backend(_route(rules, "web", "/apiary")) == ("shop.test", "root")


def test_an_exact_path_fits_itself_alone():
    rules = ingress(("/", "Prefix", "root"), ("/api", "Exact", "api"))
    assert backend(_route(rules, "web", "/api")) == ("shop.test", "api")
    assert backend(_route(rules, "web", "/api/1")) == ("shop.test", "root")


def test_what_no_rule_fits_goes_to_the_default_backend_of_any_host():
    rules = ingress(("/api", "Prefix", "api"), default="rest")
    assert backend(_route(rules, "web", "/other")) == ("", "rest")


def test_a_path_that_is_not_routed_is_named_with_those_that_are():
    with pytest.raises(Wrong, match=r"routes /api, not /measure: give another --path"):
        _route(ingress(("/api", "Prefix", "api")), "web", "/measure")


def test_the_edge_is_asked_at_the_ports_that_its_service_has():
    service = {
        "metadata": {"name": "controller", "namespace": "edge"},
        "spec": {"ports": [{"name": "https", "port": 8443}, {"name": "http", "port": 8080}]},
    }
    assert _edge([service]) == ("controller.edge.svc", 8080, 8443)
    assert _edge([]) is None


def test_a_probe_asks_for_no_right_that_the_restricted_profile_refuses_and_ends_by_itself():
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    job = probe_manifest("probe", "shop", "streamproof:1", ["probe", "[]"], 60)["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert job["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] > 60
    assert job["ttlSecondsAfterFinished"] > 0


def test_a_forward_is_closed_by_the_thread_that_serves_it(monkeypatch):
    """From another, closing can meet the end of a connection, and then asyncio raises."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    closed_by = []

    async def start():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        close = server.close
        server.close = lambda: (closed_by.append(threading.current_thread()), close())
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    port = server.sockets[0].getsockname()[1]
    forward = SimpleNamespace(servers=[server], __enter__=lambda: port)
    pod = SimpleNamespace(portforward=lambda *_, **__: forward)
    monkeypatch.setattr(Pod, "get", lambda *_, **__: pod)
    cluster = Cluster.__new__(Cluster)
    cluster.namespace, cluster._api = "default", None
    with cluster.forwarded("pod", 8000) as address:
        assert address == ("127.0.0.1", port)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    assert closed_by == [thread]
    assert not server.is_serving()
