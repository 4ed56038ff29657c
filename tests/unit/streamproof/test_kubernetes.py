"""What is read out of the cluster's objects, and what is asked of the cluster, without one."""

import asyncio
import threading
from types import SimpleNamespace

from streamproof.kubernetes import Cluster, Pod, _edge, probe_manifest


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
