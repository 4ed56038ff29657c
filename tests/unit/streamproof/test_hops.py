"""Where is asked, and what is made of a probe's output; the cluster is one that only says what it is told to."""

import base64
import contextlib
import json
from dataclasses import replace

import pytest
from streamproof.diagnose import diagnose
from streamproof.edges.facts import Ingress
from streamproof.hops import Wanted, measure_hops
from streamproof.kubernetes import Path
from streamproof.probe import Task, answers, as_argument, parse_answer


def way(addresses=(), edge=("controller.edge.svc", 80, 443), tls=False, rewritten="/stream"):
    pods = [("web-1", "10.0.0.1", 8000), ("web-2", "10.0.0.2", 8000)]
    return Path(Ingress("shop/web", "", {}), "shop.test", tls, rewritten, list(addresses), ("web", 80), pods, edge)


def wanted(url=None, image=None, cacert=None):
    return Wanted("/stream", "/large", url, 5, image, cacert)


class Probed:
    """Prints lines, whatever it is asked, and remembers that and whether it was cleared up."""

    namespace = "shop"

    def __init__(self, lines):
        self.lines = lines
        self.cleared = False

    def run_probe(self, image, arguments, limit):
        try:
            command, argument = arguments
            assert command == "probe"
            self.asked = json.loads(argument)
            yield from self.lines
        finally:
            self.cleared = True


def answer(url):
    (line,) = answers(as_argument([Task(url, None, None, 5)]))
    return line


def test_a_probe_asks_pod_service_and_edge_for_the_host_of_the_ingress():
    cluster = Probed([])
    measure_hops(cluster, way(), wanted(image="i"), lambda _: None)
    assert [task["url"] for task in cluster.asked] == ["http://shop.test/stream"] * 3
    assert [task["large"] for task in cluster.asked] == ["http://shop.test/large"] * 3
    assert [task["address"] for task in cluster.asked] == [
        ["10.0.0.1", 8000],
        ["web.shop.svc", 80],
        ["controller.edge.svc", 80],
    ]


def test_a_probe_asks_by_tls_the_edge_alone_and_where_the_ingress_has_it():
    cluster = Probed([])
    measure_hops(cluster, way(tls=True), wanted(image="i", cacert="CERTIFICATE"), lambda _: None)
    assert [task["url"].partition(":")[0] for task in cluster.asked] == ["http", "http", "https"]
    assert [task["cacert"] for task in cluster.asked] == [None, None, "CERTIFICATE"]
    assert cluster.asked[2]["address"] == ["controller.edge.svc", 443]


def test_a_pod_that_the_probe_does_not_reach_points_to_a_network_policy(serve, stream):
    cluster = Probed([answer("http://127.0.0.1:1/"), answer(serve([stream.chunked()]))])
    pod, service, edge = measure_hops(cluster, way(), wanted(image="i"), lambda _: None)
    assert pod.stream is None
    assert "no connection" in pod.reason and "NetworkPolicy" in pod.reason
    assert service.stream is not None
    assert edge.stream is None
    assert cluster.cleared


def test_what_a_probe_says_before_it_ends_early_is_the_reason():
    hops = measure_hops(Probed(["No module named streamproof"]), way(), wanted(image="i"), lambda _: None)
    assert [hop.stream for hop in hops] == [None] * 3
    assert all("ended early: No module named streamproof" in hop.reason for hop in hops)


def test_an_edge_whose_service_is_not_found_is_a_hop_that_was_not_measured():
    *_, edge = measure_hops(Probed([]), way(edge=None), wanted(image="i"), lambda _: None)
    assert (edge.name, edge.stream) == ("edge", None)
    assert "no Service was found" in edge.reason


def test_a_probe_is_cleared_up_when_its_reader_is_interrupted(serve, stream):
    cluster = Probed([answer(serve([stream.chunked()]))] * 3)

    def interrupt(step):
        if "Service" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_hops(cluster, way(), wanted(image="i"), interrupt)
    assert cluster.cleared


def test_more_certificates_than_a_probe_can_take_are_refused():
    Wanted("/", None, None, 5, None, "x" * 200_000)
    with pytest.raises(ValueError, match="at most 32 KiB of certificates"):
        Wanted("/", None, None, 5, "i", "x" * 200_000)


def test_without_any_address_the_edge_is_asked_for():
    with pytest.raises(ValueError, match=r"give the edge's URL with --url; on kind .*127.0.0.1:8080"):
        measure_hops(Probed([]), way(), wanted(), lambda _: None)


def test_the_edge_of_the_status_is_asked_from_here_and_its_failure_says_what_to_give():
    *_, edge = measure_hops(Probed([]), way(addresses=["127.0.0.1"], tls=True), wanted(image="i"), lambda _: None)
    assert (edge.means, edge.where, edge.stream) == ("from here", "https://127.0.0.1", None)
    assert "--url http://127.0.0.1:8080" in edge.reason


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"
ONE_BY_ONE = [SSE, *[EVENT, 0.3] * 6, LAST]
IN_PAIRS = [SSE, *[EVENT + EVENT, 0.6] * 3, LAST]
AT_ONCE = [SSE, 1.8, 6 * EVENT + LAST]


class Forwarded:
    """Has one pod, at a port of this machine."""

    namespace = "shop"

    @contextlib.contextmanager
    def forwarded(self, pod, port):
        yield "127.0.0.1", port


def diagnosed(pod, edge, **changes):
    path = replace(way(), pods=[("web-1", "10.0.0.1", pod.port)], tls=changes.pop("tls", False))
    asked = replace(wanted(url=f"http://127.0.0.1:{edge.port}"), large=None, **changes)
    hops = measure_hops(Forwarded(), path, asked, lambda _: None)
    return hops, diagnose(hops, path.facts)


@pytest.mark.parametrize(
    ("pod", "edge", "result", "first", "said"),
    [
        (ONE_BY_ONE, ONE_BY_ONE, "PASS", None, "in order at every hop"),
        (IN_PAIRS, IN_PAIRS, "PASS", None, "events came as long after the request as at the baseline"),
        (ONE_BY_ONE, AT_ONCE, "FAIL", "edge", "and not yet at the pod (port-forward): this path holds events back"),
        (IN_PAIRS, AT_ONCE, "FAIL", "edge", "and not yet at the pod (port-forward): this path holds events back"),
        (AT_ONCE, AT_ONCE, "FAIL", "pod", "in the app itself: 6 events came at once"),
    ],
    ids=["good", "the app batches", "the edge holds back", "the edge holds batches back", "the app collects"],
)
def test_an_app_that_promises_nothing_is_what_the_edge_is_held_against(server, pod, edge, result, first, said):
    hops, found = diagnosed(server(pod), server(edge))
    assert (found.result, found.first and found.first.name) == (result, first), found.sentence
    assert said in found.sentence
    assert [hop.name for hop in hops] == ["pod", "Service", "edge"]


def test_a_pod_that_is_not_reached_leaves_the_edge_to_its_arrivals(server):
    edge = server(ONE_BY_ONE)
    path = replace(way(), pods=[("web-1", "10.0.0.1", 1)])
    pod, _, beyond = measure_hops(
        Forwarded(), path, replace(wanted(url=f"http://127.0.0.1:{edge.port}"), large=None), lambda _: None
    )
    assert pod.stream is None and "no connection" in pod.reason
    assert beyond.stream is not None


def test_pod_and_edge_are_asked_once_each_in_the_words_of_the_user(server):
    pod, edge = server(ONE_BY_ONE), server(ONE_BY_ONE)
    diagnosed(pod, edge, method="POST", body=b'{"stream": true}', headers=[("X-Key", "1")], host="other.test")
    for one in (pod, edge):
        (request,) = one.requests
        assert request.startswith(b"POST /stream HTTP/1.1\r\n") and request.endswith(b'{"stream": true}')
        assert b"x-key: 1" in request.lower() and b"host: other.test" in request.lower()


def test_a_pod_is_asked_for_the_path_that_the_edge_makes_and_told_of_tls(server):
    cluster = Probed([])
    asked = replace(wanted(image="i"), large="/large")
    measure_hops(cluster, way(tls=True, rewritten="/inner"), asked, lambda _: None)
    urls = [task["url"] for task in cluster.asked]
    assert urls == ["http://shop.test/inner", "http://shop.test/inner", "https://shop.test/stream"]
    # What the rewrite makes of the other path is not known.
    assert [task["large"] for task in cluster.asked] == [None, None, "https://shop.test/large"]
    told = [["X-Forwarded-Proto", "https"]]
    assert [task["headers"] for task in cluster.asked] == [told, told, []]


def test_an_address_of_ipv6_stands_in_brackets():
    *_, edge = measure_hops(Probed([]), way(addresses=["::1"], tls=True), wanted(image="i"), lambda _: None)
    assert edge.where == "https://[::1]"


def test_in_the_cluster_the_pod_is_the_baseline_of_all_others(server, stream):
    served = server(ONE_BY_ONE)
    url = f"http://127.0.0.1:{served.port}/"
    first, second = map(parse_answer, answers(as_argument([Task(url, None, None, 9), Task(url, None, None, 9)])))
    assert first.stream and second.stream
    assert not first.stream.observed("baseline") and second.stream.observed("baseline")


def test_a_body_crosses_as_it_is(server):
    served = server(ONE_BY_ONE)
    body = bytes(range(256))
    task = Task(f"http://127.0.0.1:{served.port}/", None, None, 9, body=base64.b64encode(body).decode(), method="PUT")
    assert list(answers(as_argument([task])))
    assert served.requests[0].endswith(body)
