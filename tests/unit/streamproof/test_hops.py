"""Where is asked, and what is made of a probe's output; the cluster is one that only says what it is told to."""

import json

import pytest
from streamproof.diagnose import Ingress
from streamproof.hops import Wanted, measure_hops
from streamproof.kubernetes import Path
from streamproof.probe import Task, answers, as_argument


def way(addresses=(), edge=("controller.edge.svc", 80, 443), tls=False):
    pods = [("web-1", "10.0.0.1", 8000), ("web-2", "10.0.0.2", 8000)]
    return Path(Ingress("shop/web", "", {}), "shop.test", tls, list(addresses), ("web", 80), pods, edge)


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
