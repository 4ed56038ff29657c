"""What an install tells in the end, warnings among it."""

from __future__ import annotations

import pytest

from tests.chart.rendering import NGINX, notes, render


def test_the_users_annotation_wins_and_the_notes_say_so() -> None:
    values = f'ingress: {{annotations: {{{NGINX}proxy-buffering: "on", {NGINX}proxy-read-timeout: "120", a: b}}}}'
    annotations = render(values=values)["Ingress"]["metadata"]["annotations"]
    assert annotations[f"{NGINX}proxy-buffering"] == "on"
    assert annotations["a"] == "b"
    told = notes(values)
    wins = f'ingress.annotations sets {NGINX}proxy-buffering to "on", and the chart would set it to "off": yours is in'
    assert wins in told
    assert told.count("WARNING") == 1  # the others contradict nothing


def test_an_annotation_that_is_set_to_nothing_is_in_force() -> None:
    values = f'ingress: {{annotations: {{{NGINX}proxy-buffering: ""}}}}'
    assert render(values=values)["Ingress"]["metadata"]["annotations"][f"{NGINX}proxy-buffering"] == ""
    assert f'ingress.annotations sets {NGINX}proxy-buffering to ""' in notes(values)


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ("streaming: {}", []),
        ("streaming: {maxDuration: 100, drainSeconds: 60}", ["a stream that has more than 60 s to go"]),
        ("streaming: {maxDuration: 900, drainSeconds: 900}", ["gets 910 s to end", "worker-shutdown-timeout, 240s"]),
        ("{streaming: {maxDuration: 590, drainSeconds: 590}, ingress: {enabled: false}}", []),
        ("{streaming: {maxDuration: 590, drainSeconds: 591}, ingress: {enabled: false}}", ["a pod gets 601 s"]),
        ("streaming: {drainSeconds: 476, preStopSeconds: 120}", ["a pod gets 601 s to end"]),
        ("streaming: {maxDuration: 900}", ["a stream that has more than 240 s to go", "See that it says 900s or more"]),
        ("{httpRoute: {enabled: true}, streaming: {buffering: on}}", ["no HTTPRoute can say so"]),
        ("{httpRoute: {enabled: true}, streaming: {buffering: 'on'}}", ["no HTTPRoute can say so"]),
        ("{httpRoute: {enabled: true}, streaming: {buffering: off}}", []),
        ("streaming: {buffering: on}", []),
    ],
)
def test_the_notes_warn_of_what_breaks_streams_off_or_holds_the_app_back(values: str, warnings: list[str]) -> None:
    told = notes(values)
    assert told.count("WARNING") == len(warnings)
    for warning in warnings:
        assert warning in told


def test_a_pod_without_an_image_says_what_to_do() -> None:
    told = notes("image: {tag: missing}")
    assert "no image streaming-demo:missing" in told
    assert "`make image` builds and loads it" in told
