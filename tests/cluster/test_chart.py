"""The chart as Helm renders it, and as the API server takes it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import release, tools
from cluster.kind import Cluster
from cluster.run import ROOT

PROD = ("--values", "chart/values-prod.yaml")
NGINX = "nginx.ingress.kubernetes.io/"


def helm(cluster: Cluster, *arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run a helm command from the root of the project, with values as one writes them into a file."""
    command = release.helm(cluster, *arguments, *(("--values", "-") if values else ()))
    return subprocess.run(command, input=values, capture_output=True, text=True, cwd=ROOT, timeout=60)


def text(cluster: Cluster, *options: str, values: str = "") -> str:
    """Return what the chart renders to."""
    done = helm(cluster, "template", "x", "chart", *options, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(cluster: Cluster, *options: str, values: str = "") -> dict[str, Any]:
    """Return the objects that the chart renders to, by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(text(cluster, *options, values=values))}


def notes(cluster: Cluster, values: str) -> str:
    """Return the notes that an install with these values would end with."""
    done = helm(cluster, "install", "x", "chart", "--dry-run=server", values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def pod(objects: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def environment(objects: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each) for each in pod(objects)["containers"][0]["env"]}


# Each object


def test_the_defaults_bring_these_objects_and_production_these_more(cluster: Cluster) -> None:
    always = {"Deployment", "Service", "Ingress", "ServiceAccount", "Secret", "PodDisruptionBudget", "Pod"}
    assert set(render(cluster)) == always
    assert set(render(cluster, *PROD)) == always | {"HorizontalPodAutoscaler", "NetworkPolicy"}


def test_each_object_can_be_told_to_be_of_the_release(cluster: Cluster) -> None:
    for each in render(cluster, *PROD).values():
        assert each["metadata"]["name"] == ("x-streaming-test" if each["kind"] == "Pod" else "x-streaming")
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "x"


def test_the_service_leads_to_the_pods(cluster: Cluster) -> None:
    objects = render(cluster, values="service: {port: 8080}")
    service, template = objects["Service"]["spec"], objects["Deployment"]["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    assert pod(objects)["containers"][0]["ports"] == [{"name": "http", "containerPort": 8000}]


def test_the_ingress_leads_to_the_service(cluster: Cluster) -> None:
    ingress = render(cluster, values="ingress: {host: a.test, className: other}")["Ingress"]["spec"]
    backend = {"service": {"name": "x-streaming", "port": {"name": "http"}}}
    rule = {"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    assert ingress == {"ingressClassName": "other", "rules": [rule]}
    assert "host" not in render(cluster)["Ingress"]["spec"]["rules"][0]
    assert "Ingress" not in render(cluster, values="ingress: {enabled: false}")


def test_the_ingress_has_the_certificate_for_its_host(cluster: Cluster) -> None:
    ingress = render(cluster, values="ingress: {host: a.test, tls: {secretName: a-tls}}")["Ingress"]["spec"]
    assert ingress["tls"] == [{"secretName": "a-tls", "hosts": ["a.test"]}]


def test_no_token_is_mounted(cluster: Cluster) -> None:
    objects = render(cluster)
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(objects)["serviceAccountName"] == "x-streaming"
    assert pod(objects)["automountServiceAccountToken"] is False


def test_the_autoscaler_takes_the_number_of_pods_over(cluster: Cluster) -> None:
    assert render(cluster, values="replicaCount: 3")["Deployment"]["spec"]["replicas"] == 3
    objects = render(cluster, values="autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 7, targetCPU: 60}")
    assert "replicas" not in objects["Deployment"]["spec"]
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x-streaming"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 7)
    target = {"type": "Utilization", "averageUtilization": 60}
    assert scaler["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def test_the_disruption_budget_is_for_the_pods(cluster: Cluster) -> None:
    objects = render(cluster, values="podDisruptionBudget: {maxUnavailable: 2}")
    budget = objects["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 2
    assert budget["selector"] == objects["Deployment"]["spec"]["selector"]
    assert "PodDisruptionBudget" not in render(cluster, values="podDisruptionBudget: {enabled: false}")


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        ("networkPolicy: {enabled: true}", ["ingress-nginx"]),
        ("networkPolicy: {enabled: true, edgeNamespace: a, scraperNamespace: b}", ["a", "b"]),
        ("networkPolicy: {enabled: true, edgeNamespace: a, scraperNamespace: a}", ["a"]),
    ],
)
def test_only_the_edge_and_the_scraper_get_in_and_nothing_but_dns_gets_out(
    cluster: Cluster, values: str, namespaces: list[str]
) -> None:
    objects = render(cluster, values=values)
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == objects["Deployment"]["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    peers = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in (*namespaces, "kube-system")
    ]
    assert policy["ingress"] == [{"from": peers[:-1], "ports": [{"protocol": "TCP", "port": 8000}]}]
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert policy["egress"] == [{"to": peers[-1:], "ports": dns}]


def test_without_an_ingress_the_pod_of_helm_test_gets_in_too(cluster: Cluster) -> None:
    objects = render(cluster, values="{networkPolicy: {enabled: true}, ingress: {enabled: false}}")
    _, peer = objects["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"] == objects["Pod"]["metadata"]["labels"]


EDGE = "ingress-nginx-controller.ingress-nginx.svc"


@pytest.mark.parametrize(
    ("values", "origin", "address"),
    [
        ("{}", f"http://{EDGE}", None),
        ("{test: {edge: 'edge.a.svc:8080'}, ingress: {host: a.test}}", "http://a.test", "edge.a.svc:8080"),
        ("ingress: {host: '*.a.test'}", "http://test.a.test", EDGE),
        ("ingress: {host: a.test, tls: {secretName: a-tls}}", "https://a.test", EDGE),
        ("django: {allowedHosts: '.a.test,b.test'}", "http://a.test", EDGE),
        (
            "{ingress: {enabled: false, host: a.test, tls: {secretName: b}}, service: {port: 81}}",
            "http://x-streaming:81",
            None,
        ),
        ("{ingress: {enabled: false}, django: {allowedHosts: b.test}}", "http://b.test", "x-streaming:80"),
    ],
)
def test_helm_test_asks_the_edge_or_the_service_under_a_host_that_is_answered(
    cluster: Cluster, values: str, origin: str, address: str | None
) -> None:
    spec = render(cluster, values=values)["Pod"]["spec"]
    assert {each["name"] for each in spec["containers"]} == {"timing", "backpressure"}
    for container in spec["containers"]:
        assert container["args"][1].partition("/measure?")[0] == origin
        addresses = [each for each in container["args"] if each.startswith("--address=")]
        assert addresses == ([f"--address={address}"] if address else [])
        trusts = "--cacert=/tls/tls.crt" in container["args"]
        assert trusts == origin.startswith("https:") == ("volumes" in spec) == ("volumeMounts" in container)


def test_the_pod_of_helm_test_gets_none_of_the_streams(cluster: Cluster) -> None:
    objects = render(cluster, values="test: {image: {repository: a.test/b, tag: '1.2'}}")
    selector, labels = objects["Service"]["spec"]["selector"], objects["Pod"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()
    assert objects["Pod"]["spec"]["containers"][0]["image"] == "a.test/b:1.2"


def test_a_secret_key_is_made_or_taken_from_an_existing_secret(cluster: Cluster) -> None:
    made = [render(cluster) for _ in range(2)]
    keys = {base64.b64decode(each["Secret"]["data"]["DJANGO_SECRET_KEY"]) for each in made}
    assert len(keys) == 2  # `helm template` sees no cluster
    assert all(len(key) == 64 for key in keys)
    assert environment(made[0])["DJANGO_SECRET_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "x-streaming"
    taken = render(cluster, values="django: {existingSecret: mine}")
    assert "Secret" not in taken
    reference = {"name": "mine", "key": "DJANGO_SECRET_KEY"}
    assert environment(taken)["DJANGO_SECRET_KEY"]["valueFrom"] == {"secretKeyRef": reference}


def test_the_values_reach_the_container(cluster: Cluster) -> None:
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
    objects = render(cluster, values=values)
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
    assert "STREAMS_PER_WORKER" not in environment(render(cluster))


def test_only_gthread_has_threads_and_a_bound_below_them(cluster: Cluster) -> None:
    for worker in ("gthread", "asgi", "sync"):
        objects = render(cluster, values=f"gunicorn: {{workerClass: {worker}}}")
        assert environment(objects)["WORKER_CLASS"] == worker
        assert ("--threads=16" in pod(objects)["containers"][0]["args"]) is (worker == "gthread")
    many = render(cluster, values="{gunicorn: {workerClass: asgi}, streaming: {perWorker: 5000}}")
    assert environment(many)["STREAMS_PER_WORKER"] == "5000"


def test_pods_are_spread_even_where_the_selector_was_left_out(cluster: Cluster) -> None:
    constraint = "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway%s}"
    mine = constraint % ", labelSelector: {matchLabels: {a: b}}"
    objects = render(cluster, values=f"topologySpreadConstraints: [{constraint % ''}, {mine}]")
    selectors = [each["labelSelector"] for each in pod(objects)["topologySpreadConstraints"]]
    assert selectors == [objects["Deployment"]["spec"]["selector"], {"matchLabels": {"a": "b"}}]


# What a stream needs


def test_the_edge_is_told_what_streaming_says(cluster: Cluster) -> None:
    def annotations(values: str) -> dict[str, str]:
        all_of_them = render(cluster, values=values)["Ingress"]["metadata"]["annotations"]
        return {name.removeprefix(NGINX): value for name, value in all_of_them.items()}

    expected = {"proxy-http-version": "1.1", "proxy-read-timeout": "120", "proxy-send-timeout": "120"}
    # Buffers that hold back are not made larger.
    assert annotations("streaming: {}") == expected | {"proxy-buffering": "off", "proxy-buffer-size": "64k"}
    timeouts = {"proxy-read-timeout": "7", "proxy-send-timeout": "7"}
    changed = annotations('streaming: {buffering: "on", readTimeout: 7}')
    assert changed == expected | timeouts | {"proxy-buffering": "on"}
    # Without quotes, YAML makes booleans of them.
    assert annotations("streaming: {buffering: off}")["proxy-buffering"] == "off"
    assert annotations("streaming: {buffering: on}")["proxy-buffering"] == "on"


@pytest.mark.parametrize("drain", [1, 50, 3600, 86400])
def test_a_pod_ends_in_an_order_that_no_value_can_upset(cluster: Cluster, drain: int) -> None:
    """preStop, then the drain, then the app's two seconds to break off, then gunicorn's end, then SIGKILL."""
    spec = pod(render(cluster, values=f"streaming: {{drainSeconds: {drain}}}"))
    stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    (graceful,) = [each for each in spec["containers"][0]["args"] if each.startswith("--graceful-timeout=")]
    assert stop == 5
    assert int(graceful.partition("=")[2]) == drain + 2
    assert spec["terminationGracePeriodSeconds"] == stop + (drain + 2) + 3


def test_the_users_annotation_wins_and_the_notes_say_so(cluster: Cluster) -> None:
    values = f'ingress: {{annotations: {{{NGINX}proxy-buffering: "on", {NGINX}proxy-read-timeout: "120", a: b}}}}'
    annotations = render(cluster, values=values)["Ingress"]["metadata"]["annotations"]
    assert annotations[f"{NGINX}proxy-buffering"] == "on"
    assert annotations["a"] == "b"
    told = notes(cluster, values)
    wins = f'ingress.annotations sets {NGINX}proxy-buffering to "on", and the chart would set it to "off": yours is in'
    assert wins in told
    assert told.count("WARNING") == 1  # the others contradict nothing


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ("streaming: {}", []),
        ("streaming: {maxDuration: 100, drainSeconds: 60}", ["a stream that has more than 60 s to go"]),
        ("streaming: {maxDuration: 900, drainSeconds: 900}", ["its worker-shutdown-timeout, 240s unless"]),
        ("{streaming: {maxDuration: 900, drainSeconds: 900}, ingress: {enabled: false}}", []),
        ("streaming: {maxDuration: 900}", ["a stream that has more than 240 s to go", "See that it says 900s or more"]),
    ],
)
def test_the_notes_warn_of_what_breaks_long_streams_off(cluster: Cluster, values: str, warnings: list[str]) -> None:
    told = notes(cluster, values)
    assert told.count("WARNING") == len(warnings)
    for warning in warnings:
        assert warning in told


# Wrong values

WRONG = [
    ("replicaCount: two", "at '/replicaCount': got string, want integer"),
    ('replicaCount: "2"', "at '/replicaCount': got string, want integer"),
    ("replicaCount: 0", "at '/replicaCount': minimum: got 0, want 1"),
    ("replicas: 3", "additional properties 'replicas' not allowed"),
    ("terminationGracePeriodSeconds: 30", "additional properties 'terminationGracePeriodSeconds' not allowed"),
    ("streaming: {drain: 30}", "at '/streaming': additional properties 'drain' not allowed"),
    ("streaming: {drainSeconds: -1}", "at '/streaming/drainSeconds': minimum: got -1, want 1"),
    ("streaming: {drainSeconds: 90000}", "at '/streaming/drainSeconds': maximum: got 90,000, want 86,400"),
    ("streaming: {maxDuration: 15m}", "at '/streaming/maxDuration': got string, want integer"),
    ("streaming: {readTimeout: 1.5}", "at '/streaming/readTimeout': got number, want integer"),
    ("streaming: {readTimeout: 0}", "at '/streaming/readTimeout': minimum: got 0, want 1"),
    ("streaming: {buffering: none}", "at '/streaming/buffering': value must be one of 'off', 'on', false, true"),
    ("streaming: {buffering: 0}", "at '/streaming/buffering': value must be one of 'off', 'on', false, true"),
    ("streaming: {perWorker: 16}", "streaming.perWorker is 16, but must be less than gunicorn.threads (16)"),
    ("streaming: {perWorker: 0}", "at '/streaming/perWorker': minimum: got 0, want 1"),
    ("streaming: {perWorker: 100001}", "at '/streaming/perWorker': maximum: got 100,001, want 100,000"),
    ("gunicorn: {workerClass: gevent}", "at '/gunicorn/workerClass': value must be one of 'gthread', 'asgi', 'sync'"),
    ("extraEnv: [{name: WORKER_CLASS, value: asgi}]", "extraEnv sets WORKER_CLASS: set gunicorn.workerClass instead"),
    ("gunicorn: {workers: 0}", "at '/gunicorn/workers': minimum: got 0, want 1"),
    ("gunicorn: {threads: 1}", "at '/gunicorn/threads': minimum: got 1, want 2"),
    ("image: {tag: 1.10}", "at '/image/tag': got number, want string"),
    ("image: {tag: 'demo:1'}", 'image.tag is "demo:1", but must be a tag alone, such as 1.2.3'),
    ("image: {repository: 'demo:1'}", 'image.repository is "demo:1", but must be the name of an image without scheme'),
    ("image: {repository: 'https://a.test/b'}", 'image.repository is "https://a.test/b", but must be the name'),
    ("image: {repository: ''}", 'image.repository is "", but must be the name of an image'),
    ("image: {pullPolicy: always}", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("image: streaming-demo:0.1.0", "at '/image': got string, want object"),
    ("ingress: {host: 'http://a.test'}", 'ingress.host is "http://a.test", but must be a host name in lower case'),
    ("ingress: {host: 'a.test:8080'}", 'ingress.host is "a.test:8080", but must be a host name in lower case, without'),
    ("ingress: {host: a.test/path}", 'ingress.host is "a.test/path", but must be a host name'),
    ("ingress: {host: A.test}", 'ingress.host is "A.test", but must be a host name in lower case'),
    ("ingress: {host: 10.0.0.1}", 'ingress.host is "10.0.0.1", but must be a host name'),
    ("ingress: {host: [a.test]}", "at '/ingress/host': got array, want string"),
    ("ingress: {hosts: [a.test]}", "at '/ingress': additional properties 'hosts' not allowed"),
    ("ingress: {tls: {secretName: a}}", 'ingress.tls.secretName is "a", but there is no ingress.host'),
    ("ingress: {host: a.test, tls: true}", "at '/ingress/tls': got boolean, want object"),
    ("ingress: {host: a.test, tls: {secretName: My_Secret}}", "at '/ingress/tls/secretName': 'My_Secret' does not"),
    ("test: {edge: 'http://edge.test'}", 'test.edge is "http://edge.test", but must be a host name in lower case'),
    ("test: {image: {tag: 'a:b'}}", 'test.image.tag is "a:b", but must be a tag alone'),
    ("test: {image: {tag: 1.10}}", "at '/test/image/tag': got number, want string"),
    ("ingress: {enabled: 'yes'}", "at '/ingress/enabled': got string, want boolean"),
    ("ingress: {annotations: {a: 120}}", "at '/ingress/annotations/a': got number, want string"),
    ("ingress: {annotations: {a: off}}", "at '/ingress/annotations/a': got boolean, want string"),
    ("django: {allowedHosts: 'https://a.test'}", 'django.allowedHosts contains "https://a.test", but must be host'),
    ("django: {allowedHosts: 'a.test,'}", 'django.allowedHosts contains "", but must be host names'),
    ("django: {allowedHosts: [a.test]}", "at '/django/allowedHosts': got array, want string"),
    ("{ingress: {host: a.test}, django: {allowedHosts: b.test}}", 'ingress.host is "a.test", but django.allowedHosts'),
    ("django: {existingSecret: My_Secret}", "at '/django/existingSecret': 'My_Secret' does not match pattern"),
    ("django: {allowedHosts: }", "at '/django': missing property 'allowedHosts'"),
    ("ingress:", "at '': missing property 'ingress'"),
    ("trustedEdges: edge.test", 'trustedEdges contains "edge.test", but must be addresses and networks'),
    ("logFormat: yaml", "at '/logFormat': value must be one of 'json', 'text'"),
    ("service: {port: 80800}", "at '/service/port': maximum: got 80,800, want 65,535"),
    ("autoscaling: {enabled: true, minReplicas: 11}", "autoscaling.minReplicas is 11, but must not be more than"),
    ("autoscaling: {targetCPU: 80%}", "at '/autoscaling/targetCPU': got string, want integer"),
    ("podDisruptionBudget: {maxUnavailable: 0}", "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1"),
    ("networkPolicy: {edgeNamespace: ''}", "at '/networkPolicy/edgeNamespace': '' does not match pattern"),
    ("resources: {limit: {memory: 1Gi}}", "at '/resources': additional properties 'limit' not allowed"),
    ("resources: {limits: {memroy: 1Gi}}", "at '/resources/limits': additional properties 'memroy' not allowed"),
    ("resources: {limits: {memory: 128MB}}", "at '/resources/limits/memory': '128MB' does not match pattern"),
    ("extraEnv: {A: '1'}", "at '/extraEnv': got object, want array"),
    ("extraEnv: [{name: A, value: 1}]", "at '/extraEnv/0/value': got number, want string"),
    ("extraEnv: [{name: STREAM_SECONDS, value: '1'}]", "extraEnv sets STREAM_SECONDS: set streaming.maxDuration"),
    ("podAnnotations: {a: true}", "at '/podAnnotations/a': got boolean, want string"),
    ("tolerations: {key: gpu}", "at '/tolerations': got object, want array"),
    ("topologySpreadConstraints: [{maxSkew: 1}]", "missing properties 'topologyKey', 'whenUnsatisfiable'"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG, ids=[values for values, _ in WRONG])
def test_a_wrong_value_is_refused_by_a_sentence_that_names_it(cluster: Cluster, values: str, sentence: str) -> None:
    done = helm(cluster, "template", "x", "chart", values=values)
    assert done.returncode == 1
    assert sentence in done.stderr, done.stderr


def test_all_wrong_values_are_named_at_once(cluster: Cluster) -> None:
    done = helm(cluster, "template", "x", "chart", values="{image: {tag: 'a:b'}, trustedEdges: x, ingress: {host: A}}")
    assert [name in done.stderr for name in ("image.tag is", "trustedEdges contains", "ingress.host is")] == [True] * 3


@pytest.mark.parametrize(
    "values",
    [
        "{ingress: {host: a.b.test}, django: {allowedHosts: 'c.test, .b.test'}}",
        "{ingress: {host: b.test}, django: {allowedHosts: '.b.test'}}",
        "{ingress: {host: '*.b.test'}, django: {allowedHosts: '.b.test'}}",
        "django: {allowedHosts: '[::1],127.0.0.1'}",
        "trustedEdges: '*'",
        "trustedEdges: '10.0.0.0/8, fd00::/8'",
        "resources: {requests: {cpu: 0.5, memory: 134217728}}",
        "streaming: {perWorker: null}",
        "{resources: null, extraEnv: null, nodeSelector: null, topologySpreadConstraints: null}",
    ],
)
def test_what_is_right_is_not_refused(cluster: Cluster, values: str) -> None:
    text(cluster, values=values)


# The API server and the linters


@pytest.mark.parametrize(
    "values",
    [
        "{}",
        "ingress: {enabled: false}",
        "{replicaCount: 1, ingress: {host: '*.a.test', annotations: {a: b}}, service: {port: 8080}}",
        "autoscaling: {enabled: true}",
        "podDisruptionBudget: {enabled: false}",
        "ingress: {host: a.test, tls: {secretName: a-tls}}",
        "{networkPolicy: {enabled: true}, ingress: {enabled: false}}",
        "networkPolicy: {enabled: true, scraperNamespace: monitoring}",
        "django: {existingSecret: mine}",
        "streaming: {buffering: on, readTimeout: 1, maxDuration: 86400, drainSeconds: 86400, perWorker: 3}",
        """
        extraEnv: [{name: A, value: "1"}]
        podAnnotations: {a: b}
        nodeSelector: {disk: fast}
        tolerations: [{key: gpu, operator: Exists}]
        affinity: {podAntiAffinity: {}}
        topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
        """,
        (ROOT / "chart" / "values-prod.yaml").read_text(),
    ],
    ids=lambda values: " ".join(values.split())[:40],
)
def test_the_api_server_takes_what_is_rendered_without_a_warning(cluster: Cluster, values: str) -> None:
    """In a namespace that enforces Pod Security's restricted profile, where a workload that breaks it is warned of."""
    release.restrict(cluster, "default")
    rendered = text(cluster, values=values)
    apply = ("apply", "--dry-run=server", "--warnings-as-errors", "-n", "default", "-f", "-")
    applied = cluster.kubectl(*apply, stdin=rendered)
    assert applied.count("(server dry run)") == len(list(yaml.safe_load_all(rendered)))


def test_helms_lint_finds_nothing(cluster: Cluster) -> None:
    for options in ((), PROD):
        done = helm(cluster, "lint", "--strict", "chart", *options)
        assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout, done.stdout


# kube-score's findings that are left as they are, and why.
IGNORED = {
    "container-image-pull-policy": "on kind the image is loaded, with nowhere to pull it from; and a tag is a version",
    "container-resources": "asks for a CPU limit, too: a throttled pod holds its rows back. The rest is tested below",
    "deployment-has-host-podantiaffinity": "pods are spread by topologySpreadConstraints, which it does not look at",
}


@pytest.mark.parametrize(
    ("options", "ignored"),
    [(PROD, IGNORED), ((), IGNORED | {"pod-networkpolicy": "off by default, as it names the edge's namespace"})],
    ids=["values-prod.yaml", "values.yaml"],
)
def test_kube_score_finds_nothing_but_what_is_ignored_for_a_reason(
    cluster: Cluster, options: tuple[str, ...], ignored: dict[str, str]
) -> None:
    command = [tools.find("kube-score"), "score", "--kubernetes-version=v1.35", "--output-format=ci", "-"]
    command += [f"--ignore-test={name}" for name in ignored]
    rendered = text(cluster, "--namespace", "streaming", *options)
    done = subprocess.run(command, input=rendered, capture_output=True, text=True, timeout=60)
    found = done.stdout.splitlines()
    assert len([line for line in found if line.startswith("[OK]")]) > 20, done.stdout + done.stderr
    assert [line for line in found if line.startswith(("[CRITICAL]", "[WARNING]"))] == []


def test_everything_but_cpu_is_requested_and_limited(cluster: Cluster) -> None:
    resources = pod(render(cluster))["containers"][0]["resources"]
    assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert set(resources["limits"]) == {"memory", "ephemeral-storage"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod(render(cluster))["volumes"])


def test_the_chart_can_be_a_part_of_another(cluster: Cluster, tmp_path: Path) -> None:
    """Helm hands a part the values under `global`, which the schema must let pass."""
    whole = tmp_path / "whole"
    shutil.copytree(ROOT / "chart", whole / "charts" / "streaming")
    (whole / "Chart.yaml").write_text("{apiVersion: v2, name: whole, version: 0.1.0}")
    (whole / "values.yaml").write_text("{global: {a: b}, streaming: {replicaCount: 3}}")
    done = helm(cluster, "template", "x", str(whole))
    assert done.returncode == 0, done.stderr
    assert "replicas: 3" in done.stdout


def test_a_pod_without_an_image_says_what_to_do(cluster: Cluster) -> None:
    told = notes(cluster, "image: {tag: missing}")
    assert "no image streaming-demo:missing" in told
    assert "`make image` builds and loads it" in told
