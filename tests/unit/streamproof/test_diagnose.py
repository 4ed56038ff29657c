"""Which hop is blamed, and for which setting, given what was seen at each."""

from dataclasses import replace

import pytest
from streamproof.diagnose import Hop, diagnose
from streamproof.edges.facts import Ingress
from streamproof.observation import Row
from streamproof.run import DEFAULT_QUESTIONS, Run

from tests.unit.streamproof.recorded import SENT, recorded

PREFIX = "nginx.ingress.kubernetes.io/"
REMEDY = f'set {PREFIX}proxy-buffering: "off", or have the app send X-Accel-Buffering: no'
CHUNKED = ("Transfer-Encoding", "chunked")


def observed(delays=(0.001,) * 12, *, pause=0.25, framing=CHUNKED, promised=None, **changes):
    """Make an observation of rows that arrive by so many seconds after their production; a promise of as many rows."""
    made = [SENT + 0.01 + pause * number for number in range(len(delays))]
    rows = [Row(at + delay, at, 64) for at, delay in zip(made, delays, strict=True)]
    headers = [("X-Stream-Promise", f"rows={promised or len(rows)}, times=zeroed")]
    return recorded(
        rows, url="http://demo.test/", **{"headers": [framing, *headers] if framing else headers, **changes}
    )


GOOD = observed()
ITERATOR = (
    ". Usually a synchronous iterator under ASGI, all of which Django consumes before the first byte: stream an "
    "asynchronous one there. Or a middleware that collects the body, as GZipMiddleware does with gzip"
)
AT_THE_END = observed([0.25 * (11 - number) + 0.01 for number in range(12)])


def refused(status, reason="", after=0.01):
    return observed([], status=status, reason=reason, header_at=SENT + after, ended_at=SENT + after, headers=[])


def cut(after_rows=4, silence=3.0, **changes):
    last = SENT + 0.01 + 0.25 * (after_rows - 1)
    changes = {"ended": "truncated", "error": "the peer closed", **changes}
    return observed([0.001] * after_rows, promised=12, ended_at=last + silence, **changes)


def hop(name, observation, means="in the cluster"):
    run = observation and Run(list(DEFAULT_QUESTIONS), [observation])
    return Hop(name, f"{name}:80", means, run, reason="" if run else "no connection")


def ingress(controller="k8s.io/ingress-nginx", **settings):
    annotations = {PREFIX + name.replace("_", "-"): value for name, value in settings.items()}
    return Ingress("shop/web", controller, annotations)


def blame(pod, service, edge, about=None, outside=None):
    hops = [hop("pod", pod), hop("Service", service), hop("edge", edge)]
    if outside:
        hops.append(hop("edge", outside, "from here"))
    return diagnose(hops, about or ingress())


def test_nothing_is_blamed_where_every_hop_is_in_order():
    found = blame(GOOD, GOOD, GOOD)
    assert (found.result, found.first) == ("PASS", None)
    assert found.sentence == "the stream is in order at every hop that was measured"


def test_an_edge_that_buffers_over_http_1_0_is_blamed_for_both_settings():
    found = blame(GOOD, GOOD, AT_THE_END, ingress(proxy_buffering="on", proxy_http_version="1.0"))
    assert (found.result, found.first and found.first.name) == ("FAIL", "edge")
    assert "proxy-buffering on and proxy-http-version 1.0" in found.sentence
    assert "at the edge (in the cluster), and not yet at the Service (in the cluster): 11 of 12 rows" in found.sentence
    assert found.sentence.endswith(f"without chunks then, and nginx waits for a full buffer; {REMEDY}")


def test_buffering_is_blamed_with_a_body_that_is_not_chunked():
    sized = observed(framing=("Content-Length", "768"))
    # So short a timeout is as long as the silence before the end, but nothing was cut.
    found = blame(sized, sized, AT_THE_END, ingress(proxy_buffering="on", proxy_read_timeout="1"))
    assert "proxy-buffering on, and the app's body is not chunked (content-length)" in found.sentence


def test_buffering_alone_is_not_all_that_a_chunked_body_is_delayed_by():
    found = blame(GOOD, GOOD, AT_THE_END, ingress(proxy_buffering="on"))
    assert "alone delays no chunked body" in found.sentence
    assert found.sentence.endswith(f"in the controller's ConfigMap too; {REMEDY}")


def test_buffering_alone_is_blamed_over_tls_with_http_1_1_and_not_over_http_2():
    about = ingress(proxy_buffering="on")
    over_tls = replace(AT_THE_END, url="https://demo.test/")
    assert "full TLS buffer" in blame(GOOD, GOOD, over_tls, about).sentence
    assert (
        "full TLS buffer"
        not in blame(GOOD, GOOD, replace(over_tls, http_version="2", protocol="HTTP/2"), about).sentence
    )


def test_an_edge_without_such_annotations_is_not_said_to_have_them():
    found = blame(GOOD, GOOD, AT_THE_END)
    assert found.first and found.first.name == "edge"
    assert found.sentence.endswith(
        ". No annotation of the Ingress shop/web explains it, it has proxy-buffering off (the default, if the "
        "ConfigMap sets no other): look for proxy-buffering and use-gzip in the controller's ConfigMap, and for what "
        "stands in front of the controller"
    )


def test_a_controller_that_is_not_known_may_be_ingress_nginx():
    assert "says proxy-buffering on" in blame(GOOD, GOOD, AT_THE_END, ingress("", proxy_buffering="on")).sentence


def test_annotations_of_ingress_nginx_mean_nothing_to_another_controller():
    found = blame(GOOD, GOOD, AT_THE_END, ingress("example.org/other", proxy_buffering="on", proxy_http_version="1.0"))
    assert found.result == "FAIL"
    assert ". Its controller is example.org/other, whose settings are not known here. Four questions" in found.sentence
    assert "annotation" not in found.sentence


TRAEFIK = "traefik.io/ingress-controller"


def traefik(middlewares=None):
    named = {"traefik.ingress.kubernetes.io/router.middlewares": middlewares} if middlewares else {}
    return Ingress("shop/web", TRAEFIK, named)


def test_traefik_is_asked_for_its_middlewares():
    late = blame(GOOD, GOOD, AT_THE_END, traefik("shop-limit@kubernetescrd"))
    assert late.sentence.endswith(
        ". Traefik collects nothing by itself: look for a middleware with buffering or compress, also at the entry "
        "point (the Ingress shop/web names shop-limit@kubernetescrd)"
    )
    assert "(the Ingress shop/web names none)" in blame(GOOD, GOOD, AT_THE_END, traefik()).sentence


def test_traefik_flushes_a_body_of_known_length_by_a_timer():
    sized = observed(framing=("Content-Length", "768"))
    assert "flushInterval of the service to a negative number" in blame(sized, sized, AT_THE_END, traefik()).sentence


def test_traefik_cuts_by_its_entry_point():
    found = blame(GOOD, GOOD, cut(silence=60), traefik())
    assert "It ended 60.8 s after the request: look at respondingTimeouts.writeTimeout" in found.sentence


def test_the_read_timeout_of_ingress_nginx_explains_no_504_of_another():
    found = blame(GOOD, GOOD, refused(504, "", 60.0), traefik())
    assert "proxy-read-timeout" not in found.sentence


@pytest.mark.parametrize(
    "observation",
    [
        cut(silence=3.02),
        cut(after_rows=1, silence=3.02),
        replace(cut(silence=3.02), rows=[]),
        # What HTTP/1.0 makes of it: an end that looks proper, and rows that came only then.
        observed(
            [0.25 * (3 - row) + 3.0 for row in range(4)],
            promised=12,
            ended_at=SENT + 0.01 + 0.75 + 3.0,
            ended="terminated",
        ),
    ],
    ids=["truncated", "after one row", "without production times", "looks whole"],
)
def test_a_cut_after_the_read_timeout_is_blamed_on_it(observation):
    about = ingress(proxy_read_timeout="3", proxy_buffering="on", proxy_http_version="1.0")
    found = blame(GOOD, GOOD, observation, about)
    assert found.first and found.first.name == "edge"
    assert found.sentence.endswith(
        ". It was cut after 3.0 s without a byte, and the Ingress shop/web says proxy-read-timeout 3 seconds: set "
        f"{PREFIX}proxy-read-timeout above the longest pause, or have the app send heartbeats"
    )


def test_a_cut_at_another_time_is_not_blamed_on_the_read_timeout():
    found = blame(GOOD, GOOD, cut(silence=20), ingress(proxy_read_timeout="60"))
    assert found.first and found.first.name == "edge"
    assert found.sentence.endswith(
        ". The edge cut or changed the response, and no annotation of the Ingress shop/web explains it: look at the "
        "controller's log and ConfigMap"
    )


def test_a_response_that_ends_before_its_body_is_not_blamed_on_the_read_timeout():
    found = blame(GOOD, GOOD, observed([], promised=12, ended="truncated", error="the peer closed"))
    assert found.sentence.endswith("controller's log and ConfigMap")


@pytest.mark.parametrize(
    ("timeout", "silence", "blamed"),
    [
        ("60", 56.9, False),
        ("60", 57.1, True),
        ("60", 62.9, True),
        ("60", 63.1, False),
        ("5", 4.1, True),
        ("5", 5.9, True),
        ("5", 6.1, False),
        ("5s", 5.0, True),
        ("soon", 60, False),
    ],
)
def test_the_read_timeout_is_met_within_a_second_or_a_twentieth(timeout, silence, blamed):
    found = blame(GOOD, GOOD, cut(silence=silence), ingress(proxy_read_timeout=timeout))
    assert ("proxy-read-timeout above the longest pause" in found.sentence) is blamed


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_cut_that_looks_whole_is_blamed_on_http_1_0_where_the_edge_speaks_it(version):
    found = blame(GOOD, GOOD, cut(silence=20, ended="terminated"), ingress(proxy_http_version=version))
    assert found.first and found.first.name == "edge"
    assert found.sentence.endswith("looks whole: take that annotation away") is (version == "1.0")


def test_the_read_timeout_that_no_annotation_sets_is_known():
    found = blame(GOOD, GOOD, cut(silence=60))
    assert "proxy-read-timeout 60 (the default, if the ConfigMap sets no other) seconds" in found.sentence


def test_an_app_that_is_late_itself_is_blamed_before_any_edge():
    found = blame(AT_THE_END, AT_THE_END, AT_THE_END, ingress(proxy_buffering="on", proxy_http_version="1.0"))
    assert found.first and found.first.name == "pod"
    assert "it first goes wrong in the app itself: 11 of 12 rows were late" in found.sentence
    assert found.sentence.endswith(ITERATOR)


def test_an_app_that_is_late_and_still_running_is_blamed_for_that():
    running = replace(AT_THE_END, ended="timeout")
    assert blame(running, running, running).sentence.endswith(ITERATOR)


@pytest.mark.parametrize("changes", [{}, {"ended": "closed", "framing": None}])
def test_an_app_that_breaks_off_points_to_its_worker(changes):
    found = blame(*[cut(**changes)] * 3)
    assert found.first and found.first.name == "pod"
    assert (
        "Usually a worker that is killed: gunicorn's timeout (30 s by default; it broke off after 3.8 s)"
        in found.sentence
    )
    assert found.sentence.endswith("or an exception while the body is made, which the app's log shows")


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (cut(ended="terminated"), "it sent less than it promised, or other bytes"),
        (refused(500, "Internal Server Error"), "it answered with an error"),
    ],
)
def test_an_app_that_ends_properly_all_the_same_points_to_its_log(observation, words):
    found = blame(*[observation] * 3)
    assert found.first and found.first.name == "pod"
    assert found.sentence.endswith(f". Look at the app's log: {words}")


def test_an_app_whose_header_no_edge_takes_is_told_of_its_header():
    twice = observed([], status=None, http_version=None, ended="protocol_error", error="multiple Transfer-Encoding")
    found = blame(twice, None, refused(502, "Bad Gateway"))
    assert found.first and found.first.name == "pod"
    assert "not an HTTP/1.1 response: multiple Transfer-Encoding. An edge answers 502" in found.sentence
    assert "worker" not in found.sentence


@pytest.mark.parametrize(
    ("server", "told"), [("nginx/1.29.0", True), ("nginx", True), ("gunicorn", False), (None, False)]
)
def test_an_nginx_in_the_pod_keeps_the_header_against_buffering_to_itself(server, told):
    headers = [*GOOD.headers, *([("Server", server)] if server else [])]
    pod = replace(GOOD, headers=headers)
    found = blame(pod, pod, AT_THE_END, ingress(proxy_buffering="on", proxy_http_version="1.0"))
    assert 'proxy-buffering: "off", or have the app send X-Accel-Buffering: no' in found.sentence
    assert ("proxy_pass_header X-Accel-Buffering" in found.sentence) is told


def test_a_service_behind_which_it_goes_wrong_is_not_said_to_buffer():
    found = blame(GOOD, AT_THE_END, AT_THE_END)
    assert found.first and found.first.name == "Service"
    words = "buffers nothing: look for a proxy that a service mesh puts beside the pods"
    assert found.sentence.endswith(
        f". A Service forwards connections and {words}, or another pod than the one measured"
    )
    assert blame(None, AT_THE_END, AT_THE_END).sentence.endswith(words)


def test_what_is_in_front_of_the_controller_is_blamed_where_the_controller_is_in_order():
    found = blame(GOOD, GOOD, GOOD, ingress(proxy_buffering="on", proxy_http_version="1.0"), outside=AT_THE_END)
    assert found.first and found.first.means == "from here"
    assert found.sentence.endswith(
        ". Usually a load balancer, CDN or proxy in front of the controller, or a proxy on this side"
    )


def test_a_late_tunnel_is_not_blamed_on_the_app_where_the_edge_is_in_time():
    hops = [hop("pod", AT_THE_END, "port-forward"), hop("edge", GOOD, "from here")]
    found = diagnose(hops, ingress())
    assert (found.result, found.first) == ("INCONCLUSIVE", None)
    assert "the stream passes the edge (from here), but not the tunnel to pod:80: 11 of 12 rows" in found.sentence
    assert found.sentence.endswith(
        ". Either the tunnel did that, or the edge asked another pod: try again, or with --in-cluster"
    )


@pytest.mark.parametrize(
    "beyond",
    [
        [hop("edge", AT_THE_END, "from here")],
        [hop("Service", GOOD, "port-forward"), hop("edge", None, "from here")],
    ],
)
def test_a_late_tunnel_is_named_beside_the_app_where_no_edge_is_in_time(beyond):
    found = diagnose([hop("pod", AT_THE_END, "port-forward"), *beyond], ingress())
    assert found.first and found.first.name == "pod"
    assert found.sentence.endswith(
        f"{ITERATOR}; the tunnel of a port-forward may delay rows too, which --in-cluster rules out"
    )


def test_an_edge_before_which_nothing_was_measured_is_not_blamed_alone():
    found = blame(None, None, AT_THE_END)
    assert found.result == "FAIL"
    assert "or before it, where nothing could be measured" in found.sentence


def test_an_edge_after_a_hop_that_could_not_be_judged_is_not_blamed_alone():
    found = blame(GOOD, refused(404, "Not Found"), AT_THE_END)
    assert "or before it" in found.sentence


def test_without_the_edge_nothing_can_be_told():
    found = blame(GOOD, GOOD, None)
    assert (found.result, found.first) == ("INCONCLUSIVE", None)
    assert found.sentence == "the edge (in the cluster) could not be measured: no connection"


NO_ANSWER = ". The edge has no answer from a pod: look at the pods, and at the controller's log"


@pytest.mark.parametrize(
    ("status", "after", "hint"),
    [
        *((status, 0.01, ". The edge redirects: give the https URL with --url") for status in (301, 302, 307, 308)),
        (404, 0.01, ". Either the edge does not know that host and path (yet), or the app does not"),
        (403, 0.01, ", not the stream: only a 2xx with a body is judged"),
        (503, 0.01, NO_ANSWER),
        (504, 5.0, ". The Ingress shop/web says proxy-read-timeout 5 seconds: the app sent nothing for that long"),
        (504, 1.0, NO_ANSWER),
        (502, 5.0, NO_ANSWER),
        (500, 0.01, ". The edge answers with an error of its own: look at the controller's log"),
    ],
)
def test_an_edge_that_answers_something_else_is_explained(status, after, hint):
    found = blame(GOOD, GOOD, refused(status, "", after), ingress(proxy_read_timeout="5"))
    assert found.result == ("FAIL" if status >= 500 else "INCONCLUSIVE")
    assert f"the response is {status}, not the stream: " in found.sentence
    assert found.sentence.endswith(hint)


def test_a_hop_that_was_to_be_measured_and_was_not_leaves_it_open():
    found = blame(None, None, GOOD)
    assert (found.result, found.first) == ("INCONCLUSIVE", None)
    assert "the pod (in the cluster) could not be measured: no connection" in found.sentence


def test_a_service_that_a_port_forward_does_not_reach_leaves_nothing_open():
    hops = [hop("pod", GOOD, "port-forward"), hop("Service", None, "port-forward"), hop("edge", GOOD, "from here")]
    assert diagnose(hops, ingress()).result == "PASS"
