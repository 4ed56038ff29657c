"""The chart as the API server takes it. What Helm alone can show is in tests/chart."""

from __future__ import annotations

import pytest
import yaml
from cluster import release
from cluster.kind import Cluster
from cluster.run import ROOT

from tests.chart.rendering import text


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> str:
    """One that enforces Pod Security's restricted profile, where a workload that breaks it is warned of."""
    release.restrict(cluster, "default")
    return "default"


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
def test_the_api_server_takes_what_is_rendered_without_a_warning(cluster: Cluster, namespace: str, values: str) -> None:
    rendered = text(values=values)
    apply = ("apply", "--dry-run=server", "--warnings-as-errors", "-n", namespace, "-f", "-")
    applied = cluster.kubectl(*apply, stdin=rendered)
    assert applied.count("(server dry run)") == len(list(yaml.safe_load_all(rendered)))
