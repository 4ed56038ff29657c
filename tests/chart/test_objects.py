"""Each object that the chart renders to."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, PROD, environment, pod, render


def test_the_defaults_bring_these_objects_and_production_these_more() -> None:
    always = {"Deployment", "Service", "Ingress", "ServiceAccount", "Secret", "PodDisruptionBudget", "Pod", "Headless"}
    assert set(render()) == always
    assert set(render(*PROD)) == always | {"HorizontalPodAutoscaler", "NetworkPolicy"}


def test_each_object_can_be_told_to_be_of_the_release() -> None:
    names = {"Pod": "x-streaming-test", "Headless": "x-streaming-metrics"}
    for kind, each in render(*PROD).items():
        assert each["metadata"]["name"] == names.get(kind, "x-streaming")
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "x"


def test_the_service_leads_to_the_pods() -> None:
    objects = render(values="service: {port: 8080}")
    service, template = objects["Service"]["spec"], objects["Deployment"]["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    assert {"name": "http", "containerPort": 8000} in pod(objects)["containers"][0]["ports"]


def test_the_ingress_leads_to_the_service() -> None:
    ingress = render(values="{ingress: {host: a.test, className: other}, service: {port: 81}}")["Ingress"]["spec"]
    backend = {"service": {"name": "x-streaming", "port": {"number": 81}}}
    rule = {"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    assert ingress == {"ingressClassName": "other", "rules": [rule]}
    assert "host" not in render()["Ingress"]["spec"]["rules"][0]
    assert "Ingress" not in render(values="ingress: {enabled: false}")


def test_the_ingress_has_the_certificate_for_its_host() -> None:
    ingress = render(values="ingress: {host: a.test, tls: {secretName: a-tls}}")["Ingress"]["spec"]
    assert ingress["tls"] == [{"secretName": "a-tls", "hosts": ["a.test"]}]


def test_the_route_leads_to_the_service_from_the_gateways_that_are_named() -> None:
    route = render(values="{httpRoute: {enabled: true}, service: {port: 81}}")["HTTPRoute"]["spec"]
    assert route["parentRefs"] == [{"name": "edge", "namespace": "envoy-gateway"}]
    assert [rule["backendRefs"] for rule in route["rules"]] == [[{"name": "x-streaming", "port": 81}]]
    assert "hostnames" not in route
    values = "httpRoute: {enabled: true, hostnames: [a.test, b.test], parentRefs: [{name: g, sectionName: s}]}"
    route = render(values=values)["HTTPRoute"]["spec"]
    assert (route["hostnames"], route["parentRefs"]) == (["a.test", "b.test"], [{"name": "g", "sectionName": "s"}])


def test_no_token_is_mounted() -> None:
    objects = render()
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(objects)["serviceAccountName"] == "x-streaming"
    assert pod(objects)["automountServiceAccountToken"] is False


def test_no_pod_has_the_addresses_of_other_services_in_its_environment() -> None:
    objects = render()
    for spec in (pod(objects), objects["Pod"]["spec"]):
        assert spec["enableServiceLinks"] is False


def test_pods_ask_for_no_right_that_they_do_not_need() -> None:
    """More than Pod Security's restricted profile demands, which the cluster's tests enforce."""
    objects = render()
    for spec in (pod(objects), objects["Pod"]["spec"]):
        user = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001}
        assert spec["securityContext"] == user | {"seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_autoscaler_takes_the_number_of_pods_over() -> None:
    assert render(values="replicaCount: 3")["Deployment"]["spec"]["replicas"] == 3
    objects = render(values="autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 7, targetCPU: 60}")
    assert "replicas" not in objects["Deployment"]["spec"]
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x-streaming"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 7)
    target = {"type": "Utilization", "averageUtilization": 60}
    assert scaler["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def test_the_disruption_budget_is_for_the_pods() -> None:
    objects = render(values="podDisruptionBudget: {maxUnavailable: 2}")
    budget = objects["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 2
    assert budget["selector"] == objects["Deployment"]["spec"]["selector"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"  # what serves nobody keeps no node
    assert render()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in render(values="podDisruptionBudget: {enabled: false}")


@pytest.mark.parametrize(
    ("values", "lets_in"),
    [
        ("networkPolicy: {enabled: true}", {8000: "ingress-nginx"}),
        ("networkPolicy: {enabled: true, edgeNamespace: a, scraperNamespace: b}", {8000: "a", 9000: "b"}),
        ("networkPolicy: {enabled: true, edgeNamespace: a, scraperNamespace: a}", {8000: "a", 9000: "a"}),
    ],
)
def test_only_the_edge_and_the_scraper_get_in_and_nothing_but_dns_gets_out(
    values: str, lets_in: dict[int, str]
) -> None:
    objects = render(values=values)
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == objects["Deployment"]["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]

    def peers(namespace: str) -> list[object]:
        return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]

    assert policy["ingress"] == [
        {"from": peers(namespace), "ports": [{"protocol": "TCP", "port": port}]} for port, namespace in lets_in.items()
    ]
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert policy["egress"] == [{"to": peers("kube-system"), "ports": dns}]


def test_without_an_ingress_the_pod_of_helm_test_gets_in_too() -> None:
    objects = render(values="{networkPolicy: {enabled: true}, ingress: {enabled: false}}")
    _, peer = objects["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"] == objects["Pod"]["metadata"]["labels"]


DIGEST = f"sha256:{'0a' * 32}"
EDGE = "ingress-nginx-controller.ingress-nginx.svc"


@pytest.mark.parametrize(
    ("values", "origin", "address"),
    [
        ("{}", f"http://{EDGE}", None),
        ("{test: {edge: 'edge.a.svc:8080'}, ingress: {host: a.test}}", "http://a.test", "edge.a.svc:8080"),
        ("ingress: {host: '*.a.test'}", "http://test.a.test", f"{EDGE}:"),
        ("ingress: {host: a.test, tls: {secretName: a-tls}}", "https://a.test", f"{EDGE}:"),
        ("django: {allowedHosts: '.a.test,b.test'}", "http://a.test", f"{EDGE}:"),
        (
            "{ingress: {enabled: false, host: a.test, tls: {secretName: b}}, service: {port: 81}}",
            "http://x-streaming:81",
            None,
        ),
        ("{ingress: {enabled: false}, django: {allowedHosts: b.test}}", "http://b.test", "x-streaming:80"),
        ("{ingress: {enabled: false}, httpRoute: {enabled: true}}", f"http://{EDGE}", None),
        ("{ingress: {enabled: false}, httpRoute: {enabled: true, hostnames: [r.test]}}", "http://r.test", f"{EDGE}:"),
    ],
)
def test_helm_test_asks_the_edge_or_the_service_under_a_host_that_is_answered(
    values: str, origin: str, address: str | None
) -> None:
    spec = render(values=values)["Pod"]["spec"]
    assert {each["name"] for each in spec["containers"]} == {"timing", "backpressure"}
    for container in spec["containers"]:
        assert container["args"][1].partition("/measure?")[0] == origin
        addresses = [each for each in container["args"] if each.startswith("--connect-to=")]
        assert addresses == ([f"--connect-to=::{address}"] if address else [])
        trusts = "--cacert=/tls/tls.crt" in container["args"]
        assert trusts == origin.startswith("https:") == ("volumes" in spec) == ("volumeMounts" in container)


def test_helm_test_trusts_the_certificate_and_does_not_get_the_key() -> None:
    spec = render(values="ingress: {host: a.test, tls: {secretName: a-tls}}")["Pod"]["spec"]
    secret = {"secretName": "a-tls", "items": [{"key": "tls.crt", "path": "tls.crt"}]}
    assert spec["volumes"] == [{"name": "tls", "secret": secret}]
    assert {container["volumeMounts"][0]["mountPath"] for container in spec["containers"]} == {"/tls"}


def test_helm_test_says_how_it_went_and_leaves_nothing() -> None:
    """A pod that never starts is given up before Helm's five minutes are over."""
    test = render()["Pod"]
    always = {"hook-succeeded", "hook-failed"}
    policies = {name: set(value.split(",")) for name, value in test["metadata"]["annotations"].items()}
    assert policies["helm.sh/hook"] == {"test"}
    assert policies["helm.sh/hook-delete-policy"] == always | {"before-hook-creation"}
    assert policies["helm.sh/hook-output-log-policy"] == always
    assert test["spec"]["restartPolicy"] == "Never"
    assert test["spec"]["activeDeadlineSeconds"] < 300


def test_helm_test_fails_where_a_slow_client_does_not_hold_the_app_back() -> None:
    """Without what is expected, to have looked is all that is asked."""
    arguments = {each["name"]: each["args"] for each in render()["Pod"]["spec"]["containers"]}
    assert arguments["backpressure"][2:] == ["--ask=backpressure", "--expect=backpressure"]


def test_helm_test_asks_for_the_streams_that_the_app_has() -> None:
    pod = render(values="test: {timing: '/ticks?a=b%20c', backpressure: ''}")["Pod"]
    assert [(each["name"], each["args"][1]) for each in pod["spec"]["containers"]] == [
        ("timing", f"http://{EDGE}/ticks?a=b%20c")
    ]
    assert "Pod" not in render(values="test: {timing: '', backpressure: ''}")


def test_the_pod_of_helm_test_gets_none_of_the_streams() -> None:
    objects = render(values="test: {image: {repository: a.test/b, tag: '1.2'}}")
    selector, labels = objects["Service"]["spec"]["selector"], objects["Pod"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()
    assert objects["Pod"]["spec"]["containers"][0]["image"] == "a.test/b:1.2"


def test_a_secret_key_is_made_or_taken_from_an_existing_secret() -> None:
    made = [render(), render("--set=replicaCount=2")]  # the default, said again, for the same is not rendered twice
    keys = {base64.b64decode(each["Secret"]["data"]["DJANGO_SECRET_KEY"]) for each in made}
    assert len(keys) == 2  # `helm template` sees no cluster
    assert all(len(key) == 64 for key in keys)
    assert environment(made[0])["DJANGO_SECRET_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "x-streaming"
    taken = render(values="django: {existingSecret: mine}")
    assert "Secret" not in taken
    reference = {"name": "mine", "key": "DJANGO_SECRET_KEY"}
    assert environment(taken)["DJANGO_SECRET_KEY"]["valueFrom"] == {"secretKeyRef": reference}


def test_the_values_reach_the_container() -> None:
    values = """
        image: {repository: "registry.example.com:5000/a/b", tag: "1.2", pullPolicy: Always}
        gunicorn: {workers: 3, threads: 8}
        streaming: {perWorker: 5, maxDuration: 86400, drainSeconds: 1}
        django: {allowedHosts: "a.test,.b.test"}
        trustedEdges: 10.0.0.0/8,::1
        logFormat: text
        resources: {limits: {memory: 1Gi}}
        extraEnv: [{name: A, value: "1"}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        podAnnotations: {a: b}
        nodeSelector: {disk: fast}
        tolerations: [{key: gpu, operator: Exists}]
        affinity: {nodeAffinity: {}}
    """
    objects = render(values=values)
    container = pod(objects)["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("registry.example.com:5000/a/b:1.2", "Always")
    assert {"--workers=3", "--threads=8"} <= set(container["args"])
    variables = environment(objects)
    assert variables["STREAMS_PER_WORKER"] == "5"
    assert variables["STREAM_SECONDS"] == "86400"
    assert variables["DJANGO_ALLOWED_HOSTS"] == "a.test,.b.test"
    assert variables["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8,::1"
    assert variables["LOG_FORMAT"] == "text"
    assert container["env"][-2:] == yaml.safe_load(values)["extraEnv"]
    assert container["resources"]["limits"] == {"memory": "1Gi", "ephemeral-storage": "128Mi"}
    assert objects["Deployment"]["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    for hook in ("nodeSelector", "tolerations", "affinity"):
        assert pod(objects)[hook] == yaml.safe_load(values)[hook]
    assert "STREAMS_PER_WORKER" not in environment(render())


def test_a_cluster_of_ones_own_is_told_by_values() -> None:
    values = """
        imagePullSecrets: [{name: login}]
        envFrom: [{secretRef: {name: keys}}, {prefix: A_, configMapRef: {name: settings, optional: true}}]
        podLabels: {team: rows}
        priorityClassName: high
        service: {annotations: {a: b}}
        resources: {limits: {nvidia.com/gpu: 1, hugepages-2Mi: 4Mi}}
    """
    given, objects = yaml.safe_load(values), render(values=values)
    for spec in (pod(objects), objects["Pod"]["spec"]):
        assert spec["imagePullSecrets"] == given["imagePullSecrets"]
    (container,) = pod(objects)["containers"]
    assert container["envFrom"] == given["envFrom"]
    assert given["resources"]["limits"].items() <= container["resources"]["limits"].items()
    assert pod(objects)["priorityClassName"] == "high"
    assert objects["Deployment"]["spec"]["template"]["metadata"]["labels"]["team"] == "rows"
    assert objects["Service"]["metadata"]["annotations"] == {"a": "b"}
    left = render()
    for spec in (pod(left), left["Pod"]["spec"]):
        assert not spec.keys() & {"imagePullSecrets", "priorityClassName"}


@pytest.mark.parametrize(
    ("tag", "digest", "name"),
    [
        ("", "", "a.test/b:0.1.0"),
        ("1.2", "", "a.test/b:1.2"),
        ("", DIGEST, f"a.test/b@{DIGEST}"),
        ("1.2", DIGEST, f"a.test/b:1.2@{DIGEST}"),
    ],
)
def test_an_image_is_named_by_its_digest_if_there_is_one(tag: str, digest: str, name: str) -> None:
    objects = render(values=f"image: {{repository: a.test/b, tag: '{tag}', digest: '{digest}'}}")
    assert pod(objects)["containers"][0]["image"] == name


def test_a_new_version_of_the_chart_alone_replaces_no_pod(tmp_path: Path) -> None:
    """Its objects have the version among their labels, the pods have not."""
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    file = chart / "Chart.yaml"
    file.write_text(file.read_text().replace("\nversion: 0.1.0\n", "\nversion: 0.2.0\n"))
    before, after = (render(chart=each)["Deployment"] for each in ("chart", str(chart)))
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    assert before["spec"] == after["spec"]


def test_only_gthread_has_threads_and_a_bound_below_them() -> None:
    for worker in ("gthread", "asgi", "sync"):
        objects = render(values=f"gunicorn: {{workerClass: {worker}}}")
        assert environment(objects)["WORKER_CLASS"] == worker
        assert ("--threads=16" in pod(objects)["containers"][0]["args"]) is (worker == "gthread")
    many = render(values="{gunicorn: {workerClass: asgi}, streaming: {perWorker: 5000}}")
    assert environment(many)["STREAMS_PER_WORKER"] == "5000"


def test_pods_are_spread_even_where_the_selector_was_left_out() -> None:
    constraint = "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway%s}"
    mine = constraint % ", labelSelector: {matchLabels: {a: b}}"
    objects = render(values=f"topologySpreadConstraints: [{constraint % ''}, {mine}]")
    selectors = [each["labelSelector"] for each in pod(objects)["topologySpreadConstraints"]]
    assert selectors == [objects["Deployment"]["spec"]["selector"], {"matchLabels": {"a": "b"}}]


def test_everything_but_cpu_is_requested_and_limited() -> None:
    resources = pod(render())["containers"][0]["resources"]
    assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert set(resources["limits"]) == {"memory", "ephemeral-storage"}


def test_metrics_and_uploads_have_a_folder_in_memory_each_and_nothing_else_can_be_written_to() -> None:
    found = pod(render(values="uploads: 64Mi"))
    sizes = {each["name"]: each["emptyDir"] for each in found["volumes"]}
    assert sizes == {
        "metrics": {"medium": "Memory", "sizeLimit": "16Mi"},
        "tmp": {"medium": "Memory", "sizeLimit": "64Mi"},
    }
    (container,) = found["containers"]
    folders = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert folders == {"metrics": "/run/metrics", "tmp": "/tmp"}  # noqa: S108
    assert {"name": "METRICS_FOLDER", "value": folders["metrics"]} in container["env"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_metrics_have_a_service_without_an_address_that_no_route_names() -> None:
    objects = render(values="httpRoute: {enabled: true}")
    service = objects["Headless"]["spec"]
    assert objects["Headless"]["metadata"]["name"] == "x-streaming-metrics"
    assert service["publishNotReadyAddresses"] is True
    assert service["selector"] == objects["Deployment"]["spec"]["selector"]["matchLabels"]
    (port,) = service["ports"]
    assert {"name": port["targetPort"], "containerPort": 9000} in pod(objects)["containers"][0]["ports"]
    for kind in ("Ingress", "HTTPRoute"):
        assert "metrics" not in str(objects[kind]["spec"])


@pytest.fixture
def part(tmp_path: Path) -> Callable[[str], str]:
    """Make a chart that has this one as a part, under an alias; return its folder."""

    def make(alias: str) -> str:
        shutil.copytree(CHART, tmp_path / "charts" / "streaming")
        dependency = {"name": "streaming", "version": "0.1.0", "alias": alias}
        chart = {"apiVersion": "v2", "name": "whole", "version": "0.1.0", "dependencies": [dependency]}
        (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
        values = {"global": {"a": "b"}, alias: {"replicaCount": 3}}
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
        return str(tmp_path)

    return make


def test_the_chart_can_be_a_part_of_another(part: Callable[[str], str]) -> None:
    """Helm hands a part the values under `global`, which the schema must let pass."""
    assert render(chart=part("streaming"))["Deployment"]["spec"]["replicas"] == 3


def test_a_name_is_cut_where_a_label_would_be_too_long(part: Callable[[str], str]) -> None:
    """Helm lets a release have 53 characters. The name of a Service may have 63, the last of them no hyphen."""
    release, alias = "r" * 53, "rows-in-time-x"
    objects = render(chart=part(alias), release=release)
    name = f"{release}-rows-in-t"
    assert len(name) == 63
    assert {each["metadata"]["name"] for kind, each in objects.items() if kind not in ("Pod", "Headless")} == {name}
    assert objects["Headless"]["metadata"]["name"] == f"{release}-r-metrics"
    assert objects["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == name


def test_a_name_that_is_cut_does_not_end_in_a_hyphen(part: Callable[[str], str]) -> None:
    objects = render(chart=part("streamed-x"), release="r" * 53)
    assert objects["Service"]["metadata"]["name"] == f"{'r' * 53}-streamed"
