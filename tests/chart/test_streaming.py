"""What a stream needs: what follows from `streaming.*`, and how a pod with streams in it comes and goes."""

from __future__ import annotations

import pytest

from tests.chart.rendering import NGINX, pod, render


def test_the_edge_is_told_what_streaming_says() -> None:
    def annotations(values: str) -> dict[str, str]:
        all_of_them = render(values=values)["Ingress"]["metadata"]["annotations"]
        return {name.removeprefix(NGINX): value for name, value in all_of_them.items()}

    expected = {"proxy-http-version": "1.1", "proxy-read-timeout": "120", "proxy-send-timeout": "120"}
    assert annotations("streaming: {}") == expected | {"proxy-buffering": "off"}
    timeouts = {"proxy-read-timeout": "7", "proxy-send-timeout": "7"}
    changed = annotations('streaming: {buffering: "on", readTimeout: 7}')
    assert changed == expected | timeouts | {"proxy-buffering": "on"}
    # Without quotes, YAML makes booleans of them.
    assert annotations("streaming: {buffering: off}")["proxy-buffering"] == "off"
    assert annotations("streaming: {buffering: on}")["proxy-buffering"] == "on"


def test_a_route_is_told_what_streaming_says() -> None:
    """The app ends a stream by itself before the edge does: then it is logged."""
    objects = render(values="{httpRoute: {enabled: true}, streaming: {maxDuration: 86400, readTimeout: 7}}")
    assert objects["HTTPRoute"]["spec"]["rules"][0]["timeouts"] == {"request": "86405s"}
    policy = objects["BackendTrafficPolicy"]["spec"]
    assert policy["timeout"] == {"http": {"streamIdleTimeout": "7s"}}
    assert policy["targetRefs"][0]["name"] == objects["HTTPRoute"]["metadata"]["name"]
    objects = render(values="httpRoute: {enabled: true, envoyGateway: false}")
    assert "HTTPRoute" in objects
    assert "BackendTrafficPolicy" not in objects


@pytest.mark.parametrize("drain", [1, 50, 3600, 86400])
def test_a_pod_ends_in_an_order_that_no_value_can_upset(drain: int) -> None:
    """preStop, then the drain, then the app's two seconds to break off, then gunicorn's end, then SIGKILL."""
    spec = pod(render(values=f"streaming: {{drainSeconds: {drain}}}"))
    stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    (graceful,) = [each for each in spec["containers"][0]["args"] if each.startswith("--graceful-timeout=")]
    assert stop == 5
    assert int(graceful.partition("=")[2]) == drain + 2
    assert spec["terminationGracePeriodSeconds"] == stop + (drain + 2) + 3


@pytest.mark.parametrize("seconds", [1, 5, 600])
def test_a_pod_serves_on_for_as_long_as_the_edge_needs_to_learn_of_its_end(seconds: int) -> None:
    spec = pod(render(values=f"streaming: {{preStopSeconds: {seconds}, drainSeconds: 100}}"))
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": seconds}}}
    assert spec["terminationGracePeriodSeconds"] == seconds + 100 + 5


def test_a_pod_that_need_not_serve_on_has_no_pre_stop() -> None:
    """Kubernetes before 1.33 refuses a sleep of 0 s."""
    spec = pod(render(values="streaming: {preStopSeconds: 0, drainSeconds: 100}"))
    assert "lifecycle" not in spec["containers"][0]
    assert spec["terminationGracePeriodSeconds"] == 105


def test_a_pod_goes_only_when_its_successor_serves() -> None:
    assert render()["Deployment"]["spec"]["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_a_pod_that_stops_or_is_busy_gets_no_streams_and_is_left_alive() -> None:
    """/readyz is refused from SIGTERM on, /livez as long as the app runs never."""
    container = pod(render())["containers"][0]
    ready, alive = container["readinessProbe"], container["livenessProbe"]
    assert ready["httpGet"] == {"path": "/readyz", "port": "http"}
    assert alive["httpGet"] == {"path": "/livez", "port": "http"}
    # A restart costs the pod all of its streams, being passed over costs none.
    assert alive["periodSeconds"] * alive["failureThreshold"] == 60
    assert ready["periodSeconds"] * ready.get("failureThreshold", 3) == 15
