"""A release with values of its own, under a name, namespace and host of its own, as it behaves on the cluster."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import images, release
from cluster.edges import ingress_nginx
from cluster.kind import Cluster
from cluster.run import ROOT, Trouble
from faults.idle import silence

RELEASE, NAMESPACE, HOST = "other", "streaming-other", "other.test"
NAME = f"{RELEASE}-streaming"
LABEL = f"app.kubernetes.io/instance={RELEASE}"
QUESTIONS = ("framing", "completeness", "timing", "backpressure")
APP = "app.kubernetes.io/name=streaming"

SHORT = {"streaming.readTimeout": 3, "streaming.maxDuration": 6, "streaming.drainSeconds": 1}
# A stream that is not chunked on its way to the edge: there buffering can be seen, as it holds rows back.
HTTP10 = {r"ingress.annotations.nginx\.ingress\.kubernetes\.io/proxy-http-version": "1.0"}
BAD = SHORT | {"streaming.buffering": "on"} | HTTP10
TEN, ELEVEN = ({"streaming.maxDuration": 60, "streaming.drainSeconds": drain} for drain in (10, 11))
# With kind's image, and less CPU asked for: the node may have two cores.
PROD = ("--values", str(ROOT / "chart" / "values-prod.yaml"), "--set=resources.requests.cpu=50m")


def options(values: dict[str, object]) -> tuple[str, ...]:
    """Return these values, and one pod under the tests' host, as options for helm."""
    given = (f"--set-json={name}={json.dumps(value)}" for name, value in values.items())
    return (f"--set=replicaCount=1,ingress.host={HOST}", *given)


class Release:
    """The release, and what can be asked of it. Each test says which values it needs, so any can run alone."""

    def __init__(self, cluster: Cluster, demo: Any) -> None:
        self.cluster = cluster
        self.demo = demo
        # With which options it was installed and upgraded, one after the other; none where it is not there.
        self.history: list[tuple[str, ...]] = []

    def set(self, values: dict[str, object]) -> None:
        """Have these values, and defaults for the others, in force."""
        if self.history[-1:] != [options(values)]:
            self.upgrade(values)

    def upgrade(self, values: dict[str, object]) -> None:
        """Install or upgrade with these values, even if they are in force, and wait until the edge has it all."""
        self.install(*options(values))

    def install(self, *options: str, host: str = HOST) -> None:
        """Install or upgrade with options of helm, and wait until the edge has it all, if it is asked by plain HTTP."""
        release.install(self.cluster, RELEASE, NAMESPACE, *options)
        self.history.append(options)
        if host:
            release.await_edge(self.cluster, host)

    def uninstall(self) -> None:
        """Have it removed, and all that it consists of."""
        if self.history:
            done = self.helm("uninstall", RELEASE, "--wait", "--cascade=foreground")
            assert done.returncode == 0, done.stderr
            self.history.clear()

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a helm command about the release."""
        command = release.helm(self.cluster, *arguments, "-n", NAMESPACE)
        return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)

    def tested(self) -> tuple[int, dict[str, str]]:
        """Run `helm test`; return its exit status, and streamproof's results by question."""
        done = self.helm("test", RELEASE)
        found = re.findall(r"^(PASS|FAIL|INCONCLUSIVE) +([a-z]+)", done.stderr, re.MULTILINE)
        assert found, done.stdout + done.stderr
        return done.returncode, {question: result for result, question in found}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pods(self) -> list[dict[str, Any]]:
        """Return those that are not about to go."""
        found = self.get("pods", "-l", LABEL)["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def names(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.pods()}

    def wait_for_old_pods(self) -> None:
        """Wait until those that were replaced are gone: for a second or two the edge still sends them streams."""
        gone = [each["metadata"]["name"] for each in self.get("pods", "-l", LABEL)["items"]]
        for name in set(gone) - self.names():
            self.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=60s")

    def stream(self, query: str) -> tuple[float, dict[str, Any]]:
        """Read a stream through the edge; return how many seconds it took, and streamproof's verdicts."""
        started = time.monotonic()
        _, verdicts = self.demo.verify(query, HOST)
        return time.monotonic() - started, verdicts

    def rows(self, query: str) -> tuple[int, float]:
        """Return how many rows came and how many seconds that took."""
        seconds, verdicts = self.stream(query)
        found = re.search("([0-9]+) of [0-9]+ rows", verdicts["completeness"]["sentence"])
        assert found, verdicts
        return int(found[1]), seconds

    def outcome(self, query: str) -> str:
        """Return how the stream with this query ended, as the app logged it."""
        for _ in range(20):
            logged = self.kubectl("logs", "-l", LABEL, "--tail=-1").splitlines()
            ends = [json.loads(line) for line in logged if f"?{query} " in line and '"outcome"' in line]
            if ends:
                return str(ends[-1]["outcome"])
            time.sleep(0.5)
        raise AssertionError(f"no line in the log says how {query} ended")


@pytest.fixture(scope="module")
def other(cluster: Cluster, demo: Any) -> Iterator[Release]:
    """Make its namespace anew, and remove it in the end."""
    delete = ("delete", "namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl(*delete)
    release.restrict(cluster, NAMESPACE)
    yield Release(cluster, demo)
    cluster.kubectl(*delete, "--wait=false")


def test_pods_run_where_pod_security_enforces_the_restricted_profile(other: Release) -> None:
    other.set(BAD)
    labels = other.get("namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (pod,) = other.pods()
    assert pod["status"]["phase"] == "Running"
    asked = (
        "import os, pathlib; print(pathlib.Path('/proc/1/status').read_text(), os.path.exists('/var/run/secrets'))",
    )
    told = other.kubectl("exec", pod["metadata"]["name"], "--", "python3", "-c", *asked)
    seen = dict(re.findall(r"^(\w+):\s+(\S+)", told, re.MULTILINE))
    assert (seen["Uid"], seen["Gid"]) == ("10001", "10001")
    assert int(seen["CapBnd"], 16) == 0
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert told.endswith("False")


def test_a_pod_that_asks_for_more_is_refused_there(other: Release) -> None:
    with pytest.raises(Trouble, match='violates PodSecurity "restricted:latest"'):
        other.kubectl("run", "more", "--image=streaming-demo:0.1.0")


def test_only_the_folders_for_metrics_and_uploads_can_be_written_to(other: Release) -> None:
    other.set(BAD)
    (name,) = other.names()
    write = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x')"
    for folder in ("/tmp", "/run/metrics"):  # noqa: S108
        other.kubectl("exec", name, "--", "python3", "-c", write, f"{folder}/x")
    with pytest.raises(Trouble, match="Read-only file system"):
        other.kubectl("exec", name, "--", "python3", "-c", write, "/srv/x")


def test_helm_test_fails_on_timing_through_a_bad_edge(other: Release) -> None:
    other.set(BAD)
    status, results = other.tested()
    assert status == 1
    assert results["timing"] == "FAIL"


def test_buffering_is_what_streaming_buffering_says(other: Release) -> None:
    query = "rows=8&size=64&delay_ms=500"
    other.set(BAD)
    assert other.stream(query)[1]["timing"]["result"] == "FAIL"
    before = other.names()
    other.set(SHORT | {"streaming.buffering": False} | HTTP10)  # off, as YAML reads it without quotes
    assert other.stream(query)[1]["timing"]["result"] == "PASS"
    assert other.names() == before  # an upgrade of the Ingress alone replaces no pod


def test_helm_test_fails_on_backpressure_with_buffering_on_alone(other: Release) -> None:
    other.set(SHORT | {"streaming.buffering": "on"})
    status, results = other.tested()
    assert status == 1
    assert (results["timing"], results["backpressure"]) == ("PASS", "FAIL")


def test_helm_test_passes_through_a_good_edge_and_leaves_nothing(other: Release) -> None:
    other.set(SHORT)
    status, results = other.tested()
    assert (status, results) == (0, dict.fromkeys(QUESTIONS, "PASS"))
    assert other.kubectl("get", "pods", "-l", f"app.kubernetes.io/name=streaming-test,{LABEL}", "-o", "name") == ""


def test_a_pause_longer_than_the_read_timeout_is_cut_by_the_edge(other: Release) -> None:
    """The second row would come after 5 s, before the stream's time is up."""
    other.set(SHORT)
    query = "rows=3&size=64&delay_ms=5000"
    rows, seconds = other.rows(query)
    assert rows == 1
    assert 3 <= seconds < 5
    assert other.outcome(query) in ("client_gone", "stopped")  # noticed at its next write, or when its time was up


@pytest.mark.parametrize(("heartbeat", "whole"), [(0, False), (1, True)])
def test_a_heartbeat_keeps_such_a_stream_open(other: Release, heartbeat: int, whole: bool) -> None:
    other.set(SHORT)
    stream = silence(other.cluster.http_port, HOST, read_timeout=3, pause=5, heartbeat=heartbeat)
    found = asyncio.run(stream)
    assert found.whole is whole
    assert found.as_expected, found


def test_a_stream_longer_than_the_maximum_is_broken_off_by_the_app(other: Release) -> None:
    other.set(SHORT)
    query = "rows=40&size=64&delay_ms=250"
    rows, seconds = other.rows(query)
    assert 16 <= rows < 32  # 24 in 6 s
    assert 6 <= seconds < 9
    assert other.outcome(query) == "stopped"


def test_the_running_pod_has_the_times_that_follow_from_the_drain(other: Release) -> None:
    other.set(SHORT)
    (pod,) = other.pods()
    assert pod["spec"]["terminationGracePeriodSeconds"] == 1 + 10
    arguments = other.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/proc/1/cmdline").split("\0")
    assert "--graceful-timeout=3" in arguments


def test_a_deploy_breaks_off_what_lasts_longer_than_the_drain_and_nothing_else(other: Release) -> None:
    """Two streams in a pod that is replaced: it has 5 s of preStop, and then the drain."""
    other.set(TEN)
    other.wait_for_old_pods()
    with ThreadPoolExecutor() as background:
        longer, shorter = (background.submit(other.rows, f"rows={rows}&size=64&delay_ms=1000") for rows in (45, 14))
        time.sleep(1)
        other.upgrade(ELEVEN)
    assert 14 <= longer.result()[0] < 45
    assert shorter.result()[0] == 14


def test_a_rollback_brings_the_values_back_and_breaks_no_stream_off(other: Release) -> None:
    if other.history[-2:] != [options(TEN), options(ELEVEN)]:
        other.set(TEN)
        other.upgrade(ELEVEN)
        other.wait_for_old_pods()
    key = other.get("secret", NAME)["data"]
    with ThreadPoolExecutor() as background:
        stream = background.submit(other.rows, "rows=12&size=64&delay_ms=1000")
        time.sleep(1)
        done = other.helm("rollback", RELEASE, "--wait", "--timeout=120s")
    assert done.returncode == 0, done.stderr
    other.history.append(options(TEN))
    assert "--graceful-timeout=12" in other.pods()[0]["spec"]["containers"][0]["args"]  # of a drain of 10 s
    assert stream.result()[0] == 12
    assert other.get("secret", NAME)["data"] == key


def test_two_releases_stand_side_by_side(other: Release) -> None:
    """Each under its own name, namespace and host."""
    other.set(TEN)
    other.wait_for_old_pods()
    for host, namespace in ((other.demo.host, other.demo.namespace), (HOST, NAMESPACE)):
        query = f"rows=1&size={len(namespace) + 100}"
        assert other.demo.verify(query, host)[1]["completeness"]["result"] == "PASS"
        logged = {
            each: f"?{query} " in other.cluster.kubectl("logs", "-n", each, "-l", APP, "--tail=-1")
            for each in (other.demo.namespace, NAMESPACE)
        }
        assert logged == {each: each == namespace for each in logged}


def test_upgrades_keep_the_secret_key_and_the_pods(other: Release) -> None:
    other.set(ELEVEN)
    key, pods = other.get("secret", NAME)["data"], other.names()
    other.upgrade(ELEVEN)
    assert other.get("secret", NAME)["data"] == key
    assert other.names() == pods
    (name,) = pods
    assert len(other.kubectl("exec", name, "--", "printenv", "DJANGO_SECRET_KEY")) == 64


def test_the_same_streams_come_from_an_event_loop(other: Release) -> None:
    other.set({"gunicorn.workerClass": "asgi"})
    other.wait_for_old_pods()
    _, verdicts = other.stream("rows=8&size=64&delay_ms=500&heartbeat_ms=0")
    assert {name: verdict["result"] for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, "PASS")
    _, broken = other.stream("rows=8&size=64&delay_ms=500&fail_after=4")
    assert broken["framing"]["result"] == broken["completeness"]["result"] == "FAIL"
    assert other.outcome("rows=8&size=64&delay_ms=500&fail_after=4") == "source_error"
    assert "django_streamproof.workers.EventLoop" in other.kubectl("logs", "-l", LABEL, "--tail=-1")


def test_an_existing_secret_takes_the_place_of_the_one_that_was_made(other: Release) -> None:
    other.kubectl("create", "secret", "generic", "mine", "--from-literal=DJANGO_SECRET_KEY=of-my-own")
    other.set({"django.existingSecret": "mine"})
    (name,) = other.names()
    assert other.kubectl("exec", name, "--", "printenv", "DJANGO_SECRET_KEY") == "of-my-own"
    assert other.kubectl("get", "secret", NAME, "--ignore-not-found") == ""


def test_an_upgrade_leaves_the_number_of_pods_to_the_autoscaler(other: Release) -> None:
    values: dict[str, object] = {"autoscaling.enabled": True, "autoscaling.minReplicas": 1}
    other.set(values)
    other.kubectl("scale", f"deploy/{NAME}", "--replicas=2")
    other.upgrade(values)
    assert other.get("deploy", NAME)["spec"]["replicas"] == 2
    assert other.get("hpa", NAME)["spec"]["scaleTargetRef"]["name"] == NAME


@pytest.fixture(scope="module")
def readme(other: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], list[str]]:
    """Make the certificate as the chart's README does; return the options of its helm command, and its curl command."""
    folder = tmp_path_factory.mktemp("tls")
    section = (ROOT / "chart" / "README.md").read_text().partition("## TLS")[2]
    commands = re.findall(r"^\$ ((?:[^\\\n]|\\\n)+)", section, re.MULTILINE)
    openssl, kubectl, helm, curl = (
        shlex.split(
            command.replace("\\\n", "").replace("build/", f"{folder}/").replace(":8443", f":{other.cluster.tls_port}")
        )
        for command in commands
    )
    subprocess.run(openssl, check=True, capture_output=True)
    other.kubectl(*kubectl[1:])
    return ("--set=replicaCount=1", *helm[helm.index("--set") :]), curl


@pytest.fixture
def over_tls(other: Release, readme: tuple[tuple[str, ...], list[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Have the release as that helm command sets it; return its curl command for a path."""
    options, curl = readme
    if other.history[-1:] != [options]:
        other.install(*options, host="")

    def ask(path: str, *options: str) -> subprocess.Popen[str]:
        command = [*curl[:-1], curl[-1].partition("/measure")[0] + path, "-sS", *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    for _ in range(60):
        if ask("/readyz", "--fail").wait() == 0:
            return ask
        time.sleep(0.5)
    raise AssertionError(ask("/readyz", "-v").communicate()[0])


def test_rows_come_in_time_over_http2(over_tls: Callable[..., subprocess.Popen[str]]) -> None:
    with over_tls("/measure?rows=5&delay_ms=1000", "--write-out", "HTTP/%{http_version}\n") as curl:
        assert curl.stdout
        arrived = [(line.split(), time.time()) for line in curl.stdout]
    *rows, (version, _) = arrived
    assert version == ["HTTP/2"]
    assert [int(number) for (number, _, _), _ in rows] == [1, 2, 3, 4, 5]
    assert all(at - float(produced) < 1 for (_, produced, _), at in rows)


def test_helm_test_passes_over_tls(other: Release, over_tls: Callable[..., subprocess.Popen[str]]) -> None:
    """With a certificate that no system trusts, for a name that no resolver knows."""
    assert other.tested() == (0, dict.fromkeys(QUESTIONS, "PASS"))


def test_diagnose_reaches_the_edge_over_tls(
    other: Release, over_tls: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """From here and in the cluster, where it takes the certificate along."""
    cacert = tmp_path / "tls.crt"
    cacert.write_bytes(base64.b64decode(other.get("secret", "streaming-tls")["data"]["tls.crt"]))
    where = ("--context", other.cluster.context, "--namespace", NAMESPACE, "--path", "/measure?rows=4&delay_ms=500")
    how = ("--url", f"https://127.0.0.1:{other.cluster.tls_port}", "--in-cluster", "--image", images.STREAMPROOF)
    command = [sys.executable, "-m", "streamproof", "diagnose", NAME, *where, *how, "--json"]
    trusting = subprocess.run([*command, "--cacert", str(cacert)], capture_output=True, text=True, timeout=120)
    assert [(hop["hop"], hop["means"], hop["verdict"]) for hop in json.loads(trusting.stdout)["hops"]] == [
        ("pod", "in the cluster", "PASS"),
        ("Service", "in the cluster", "PASS"),
        ("edge", "in the cluster", "PASS"),
        ("edge", "from here", "PASS"),
    ]
    doubting = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert doubting.returncode == 2
    assert "certificate" in doubting.stdout


def test_plain_http_is_redirected_for_the_host_with_tls_alone(
    cluster: Cluster, other: Release, over_tls: Callable[..., subprocess.Popen[str]]
) -> None:
    def status(host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", cluster.http_port, timeout=10)
        connection.request("GET", "/readyz", headers={"Host": host})
        return connection.getresponse().status

    assert (status("tls.test"), status(other.demo.host)) == (308, 200)


def test_production_values_come_up(other: Release) -> None:
    other.install(*PROD, host="streams.example.com")
    assert other.get("networkpolicy", NAME)["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert other.get("pdb", NAME)["status"]["expectedPods"] >= 1


def test_an_uninstall_leaves_nothing_behind(other: Release) -> None:
    """The namespace holds what the tests have put there, and what is in each."""
    kinds = "all,secret,serviceaccount,ingress,hpa,pdb,networkpolicy,configmap"
    if not other.history:
        other.set(SHORT)
    assert NAME in other.kubectl("get", kinds, "-l", LABEL, "-o", "name")
    other.uninstall()
    assert other.kubectl("get", kinds, "-l", LABEL, "-o", "name") == ""
    ours = {"secret/mine", "secret/streaming-tls", "serviceaccount/deployer"}
    left = set(other.kubectl("get", kinds, "-o", "name").split()) - ours
    assert left == {"serviceaccount/default", "configmap/kube-root-ca.crt"}


def test_who_may_write_into_one_namespace_alone_can_install(other: Release, tmp_path: Path) -> None:
    """Nothing is looked up where such a user may not read: Helm would fail the whole install."""
    other.uninstall()
    other.kubectl("create", "serviceaccount", "deployer")
    other.kubectl("create", "rolebinding", "deployer", "--clusterrole=admin", f"--serviceaccount={NAMESPACE}:deployer")
    user = ("--kube-as-user", f"system:serviceaccount:{NAMESPACE}:deployer", "-n", NAMESPACE)
    # With a host: without one, this would take the default release its requests.
    values = f"--set=streaming.maxDuration=900,replicaCount=1,ingress.host={HOST}"
    command = release.helm(other.cluster, "install", RELEASE, "chart", *user, values, "--wait", "--timeout=120s")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=150)
    assert done.returncode == 0, done.stderr
    other.history.append((values,))
    assert "worker-shutdown-timeout" in done.stdout


def test_the_edge_lets_streams_go_on_for_as_long_as_its_values_say(cluster: Cluster) -> None:
    controller = yaml.safe_load((ROOT / "k8s/edges/ingress-nginx.yaml").read_text())["controller"]
    shutdown = re.findall(r"^worker_shutdown_timeout\s+(\S+?)\s*;", ingress_nginx.nginx_conf(cluster), re.MULTILINE)
    assert shutdown == [controller["config"]["worker-shutdown-timeout"]]
    label = "app.kubernetes.io/component=controller"
    pods = json.loads(cluster.kubectl("get", "pods", "-n", release.EDGE, "-l", label, "-o", "json"))["items"]
    graces = {pod["spec"]["terminationGracePeriodSeconds"] for pod in pods}
    assert graces == {controller["terminationGracePeriodSeconds"]}
