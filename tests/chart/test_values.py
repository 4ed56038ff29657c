"""Values that are refused, with which words, and values that are not."""

from __future__ import annotations

import re

import pytest

from tests.chart.rendering import environment, helm, render, text

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
    ("streaming: {preStopSeconds: -1}", "at '/streaming/preStopSeconds': minimum: got -1, want 0"),
    ("streaming: {preStopSeconds: 601}", "at '/streaming/preStopSeconds': maximum: got 601, want 600"),
    ("streaming: {preStopSeconds: 5s}", "at '/streaming/preStopSeconds': got string, want integer"),
    ("streaming: {preStopSeconds: 0.5}", "at '/streaming/preStopSeconds': got number, want integer"),
    ("streaming: {preStopSeconds: off}", "at '/streaming/preStopSeconds': got boolean, want integer"),
    ("streaming: {preStopSeconds: }", "missing property 'preStopSeconds'"),
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
    ("image: {digest: 0a1b}", "at '/image/digest': '0a1b' does not match pattern"),
    ("image: {digest: 'sha256:0A'}", "at '/image/digest': 'sha256:0A' does not match pattern"),
    ("image: {digest: 'md5:0a'}", "at '/image/digest': 'md5:0a' does not match pattern"),
    ("image: {digest: 12}", "at '/image/digest': got number, want string"),
    ("image: {digest: [a]}", "at '/image/digest': got array, want string"),
    ("imagePullSecrets: login", "at '/imagePullSecrets': got string, want array"),
    ("imagePullSecrets: {name: login}", "at '/imagePullSecrets': got object, want array"),
    ("imagePullSecrets: [login]", "at '/imagePullSecrets/0': got string, want object"),
    ("imagePullSecrets: [{secret: login}]", "at '/imagePullSecrets/0': missing property 'name'"),
    ("imagePullSecrets: [{name: My_Login}]", "at '/imagePullSecrets/0/name': 'My_Login' does not match pattern"),
    ("envFrom: keys", "at '/envFrom': got string, want array"),
    ("envFrom: {secretRef: {name: a}}", "at '/envFrom': got object, want array"),
    ("envFrom: [{secretRef: a}]", "at '/envFrom/0/secretRef': got string, want object"),
    ("envFrom: [{secretKeyRef: {name: a}}]", "at '/envFrom/0': additional properties 'secretKeyRef' not allowed"),
    ("envFrom: [{secretRef: {}}]", "at '/envFrom/0/secretRef': missing property 'name'"),
    ("podLabels: [a]", "at '/podLabels': got array, want object"),
    ("podLabels: {a: 1}", "at '/podLabels/a': got number, want string"),
    ("podLabels: {a: true}", "at '/podLabels/a': got boolean, want string"),
    ("podLabels: {a: 'b c'}", "at '/podLabels/a': 'b c' does not match pattern"),
    ("podLabels: {app.kubernetes.io/name: a}", "podLabels sets app.kubernetes.io/name: leave it out"),
    ("podLabels: {app.kubernetes.io/instance: a}", "podLabels sets app.kubernetes.io/instance: leave it out"),
    ("priorityClassName: 1000", "at '/priorityClassName': got number, want string"),
    ("priorityClassName: [high]", "at '/priorityClassName': got array, want string"),
    ("priorityClassName: {name: high}", "at '/priorityClassName': got object, want string"),
    ("priorityClassName: High", "at '/priorityClassName': 'High' does not match pattern"),
    ("priorityClassName: 'a b'", "at '/priorityClassName': 'a b' does not match pattern"),
    ("service: {annotations: [a]}", "at '/service/annotations': got array, want object"),
    ("service: {annotations: a}", "at '/service/annotations': got string, want object"),
    ("service: {annotations: {a: 1}}", "at '/service/annotations/a': got number, want string"),
    ("service: {annotations: {a: on}}", "at '/service/annotations/a': got boolean, want string"),
    ("service: {annotations: {a: {b: c}}}", "at '/service/annotations/a': got object, want string"),
    ("resources: {limits: {nvidia.com: 1}}", "at '/resources/limits': additional properties 'nvidia.com' not allowed"),
    ("resources: {limits: {nvidia.com/gpu: one}}", "at '/resources/limits/nvidia.com~1gpu': 'one' does not match"),
    ("image: {pullPolicy: always}", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("image: streaming-demo:0.1.0", "at '/image': got string, want object"),
    ("test: {timing: measure}", "at '/test/timing': 'measure' does not match pattern"),
    ("test: {backpressure: '/a b'}", "at '/test/backpressure': '/a b' does not match pattern"),
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
    ("httpRoute: {hostnames: ['http://a.test']}", 'httpRoute.hostnames is "http://a.test", but must be a host name in'),
    ("httpRoute: {hostnames: a.test}", "at '/httpRoute/hostnames': got string, want array"),
    ("httpRoute: {parentRefs: [{namespace: a}]}", "at '/httpRoute/parentRefs/0': missing property 'name'"),
    ("httpRoute: {enabled: true, parentRefs: []}", "httpRoute.enabled is true, but httpRoute.parentRefs is empty"),
    ("{httpRoute: {hostnames: [a.test]}, django: {allowedHosts: b.test}}", 'httpRoute.hostnames is "a.test", but dj'),
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
def test_a_wrong_value_is_refused_by_a_sentence_that_names_it(values: str, sentence: str) -> None:
    done = helm("template", "x", "chart", values=values)
    assert done.returncode == 1
    assert sentence in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["my.shop", "1shop"])
def test_a_release_whose_service_could_not_have_its_name_is_refused(name: str) -> None:
    done = helm("template", name, "chart")
    assert done.returncode == 1
    assert f'the release is named "{name}", but the name of its Service begins with a letter' in done.stderr


def test_a_large_number_is_written_in_digits() -> None:
    numbers = ("replicaCount", "gunicorn.workers", "gunicorn.threads", "podDisruptionBudget.maxUnavailable")
    scaled = ("autoscaling.minReplicas", "autoscaling.maxReplicas", "autoscaling.targetCPU")
    for more, names in ((), numbers), (("--set=autoscaling.enabled=true",), scaled):
        rendered = text(*more, *(f"--set-json={name}=1e6" for name in names))
        assert rendered.count("1000000") == len(names)
        assert "e+06" not in rendered


def test_all_wrong_values_are_named_at_once() -> None:
    done = helm("template", "x", "chart", values="{image: {tag: 'a:b'}, trustedEdges: x, ingress: {host: A}}")
    assert [name in done.stderr for name in ("image.tag is", "trustedEdges contains", "ingress.host is")] == [True] * 3


def test_no_variable_that_the_chart_sets_can_be_set_twice() -> None:
    names = [*environment(render(values="streaming: {perWorker: 1}")), "METRICS_PORT"]
    values = ", ".join(f"{{name: {name}, value: a}}" for name in names)
    refused = helm("template", "x", "chart", values=f"extraEnv: [{values}]").stderr
    assert len(names) > 5
    assert [name for name in names if not re.search(f"extraEnv sets {name}: (set|leave) ", refused)] == []


@pytest.mark.parametrize(
    "values",
    [
        "{ingress: {host: a.b.test}, django: {allowedHosts: 'c.test, .b.test'}}",
        "{ingress: {host: b.test}, django: {allowedHosts: '.b.test'}}",
        "{ingress: {host: '*.b.test'}, django: {allowedHosts: '.b.test'}}",
        "django: {allowedHosts: '[::1],127.0.0.1'}",
        "{ingress: {host: a.b.test}, django: {allowedHosts: 'A.B.test'}}",
        "trustedEdges: '*'",
        "trustedEdges: '10.0.0.0/8, fd00::/8'",
        "resources: {requests: {cpu: 0.5, memory: 134217728}}",
        "streaming: {perWorker: null}",
        "{resources: null, extraEnv: null, nodeSelector: null, topologySpreadConstraints: null}",
    ],
)
def test_what_is_right_is_not_refused(values: str) -> None:
    text(values=values)
