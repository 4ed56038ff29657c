"""Where an Ingress leads, rule by rule."""

import pytest
from streamproof.ingress import ready_pods, route, service_port

NGINX = "nginx.ingress.kubernetes.io/"
REGEX = {f"{NGINX}use-regex": "true"}


def ingress(*rules, default=None, tls=(), annotations=None):
    """Make one of rules given as host, path, pathType and Service."""
    spec = {
        "tls": list(tls),
        "rules": [
            {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend(name)}]}}
            for host, path, kind, name in rules
        ],
    }
    if default:
        spec["defaultBackend"] = backend(default)
    return {"metadata": {"name": "web", "annotations": annotations or {}}, "spec": spec}


def backend(name):
    return {"service": {"name": name, "port": {"number": 80}}}


def led(rules, path, host=None, **how):
    found = route(ingress(*rules, **how), path, host)
    return found.host, found.backend["name"], found.path


ROOT, API, EXACT = (
    ("shop.test", "/", "Prefix", "root"),
    ("shop.test", "/api", "Prefix", "api"),
    ("shop.test", "/api", "Exact", "exact"),
)
ANY, WILD = ("", "/", "Prefix", "any"), ("*.shop.test", "/", "Prefix", "wild")


@pytest.mark.parametrize(
    ("rules", "path", "host", "led_to"),
    [
        # The longest path, wherever it stands; a prefix ends at a slash, and its own slash does not count.
        ([ROOT, API], "/api/1", None, ("shop.test", "api")),
        ([API, ROOT], "/api", None, ("shop.test", "api")),
        ([ROOT, API], "/apiary", None, ("shop.test", "root")),
        ([ROOT, ("shop.test", "/api/", "Prefix", "api")], "/api", None, ("shop.test", "api")),
        # Exact before Prefix of the same length, and for itself alone.
        ([API, EXACT], "/api", None, ("shop.test", "exact")),
        ([EXACT, API], "/api", None, ("shop.test", "exact")),
        ([EXACT, API], "/api/1", None, ("shop.test", "api")),
        # As nginx and Traefik have it.
        ([ROOT, ("shop.test", "/api", "ImplementationSpecific", "own")], "/apiary", None, ("shop.test", "own")),
        # The most specific host alone, in any case and with any port.
        ([ANY, WILD, ROOT], "/", "shop.test", ("shop.test", "root")),
        ([ANY, WILD, ROOT], "/", "SHOP.test:8080", ("shop.test", "root")),
        ([ANY, WILD, ROOT], "/", "a.shop.test", ("a.shop.test", "wild")),
        ([ANY, WILD, ROOT], "/", "b.a.shop.test", ("b.a.shop.test", "any")),
        ([WILD], "/", None, ("streamproof.shop.test", "wild")),
        ([("a.test", "/a", "Prefix", "a"), ("b.test", "/b", "Prefix", "b")], "/b", None, ("b.test", "b")),
        # Several hosts that lead to the same.
        ([("a.test", "/", "Prefix", "one"), ("b.test", "/", "Prefix", "one")], "/", None, ("a.test", "one")),
    ],
)
def test_a_request_is_led_as_the_specification_has_it(rules, path, host, led_to):
    assert led(rules, path, host)[:2] == led_to


def test_what_no_rule_fits_goes_to_the_default_backend():
    assert led([API], "/other", default="rest") == ("", "rest", "/other")
    assert led([API], "/other", "other.test", default="rest") == ("other.test", "rest", "/other")


@pytest.mark.parametrize(
    ("rules", "host", "said"),
    [
        ([API], None, "routes /api, not /measure: give another --path or --host"),
        ([], None, "routes no path, not /measure"),
        ([ROOT], "other.test", "routes no path for other.test, not /measure"),
        ([ROOT, WILD], None, "shop.test, *.shop.test to different backends: say which with --host"),
    ],
)
def test_where_nothing_is_led_to_a_sentence_says_what_to_give(rules, host, said):
    with pytest.raises(ValueError) as error:
        route(ingress(*rules), "/measure", host)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("path", "target", "asked", "rewritten"),
    [
        ("/api(/|$)(.*)", "/$2", "/api/events?limit=2", "/events?limit=2"),
        ("/api(/|$)(.*)", "/$2", "/API/events", "/events"),
        ("/api(/|$)(.*)", "/$2", "/api", "/"),
        ("/api", "/", "/api/events", "/"),
        ("/(v1|v2)/(.*)", "/$2?version=$1", "/v2/a?b=c", "/a?version=v2&b=c"),
        ("/api(.*)", "/x$3$1", "/api/a", "/x/a"),
    ],
)
def test_a_pod_is_asked_for_the_path_that_the_edge_makes(path, target, asked, rewritten):
    annotations = {f"{NGINX}rewrite-target": target}
    rule = ("shop.test", path, "ImplementationSpecific", "api")
    assert led([rule], asked, annotations=annotations) == ("shop.test", "api", rewritten)


def test_expressions_are_matched_where_the_annotation_says_so_and_ingress_nginx_reads_it():
    rule = ("shop.test", "/(a|b)/[0-9]+$", "ImplementationSpecific", "numbers")
    assert led([rule], "/b/12", annotations=REGEX)[1] == "numbers"
    with pytest.raises(ValueError, match="routes"):
        led([rule], "/b/c", annotations=REGEX)
    with pytest.raises(ValueError, match="routes"):
        route(ingress(rule, annotations=REGEX), "/b/12", nginx=False)


@pytest.mark.parametrize("path", ["/(a+)+$", "/((a|b)c)*$", "/((a*)b)+", "/(a{1,9}){9}", "/" + "a" * 2000])
def test_an_expression_that_could_take_for_ever_is_not_tried(path):
    with pytest.raises(ValueError, match="could take for ever"):
        led([("shop.test", path, "ImplementationSpecific", "api")], "/" + "a" * 60 + "!", annotations=REGEX)


def test_what_is_no_expression_is_said_to_be_none():
    with pytest.raises(ValueError, match="not a regular expression"):
        led([("shop.test", "/(", "ImplementationSpecific", "api")], "/", annotations=REGEX)


@pytest.mark.parametrize(
    ("tls", "host", "on"),
    [
        ([], "a.shop.test", False),
        ([{"secretName": "s"}], "a.shop.test", True),
        ([{"hosts": []}], "a.shop.test", True),
        ([{"hosts": ["b.test", "a.shop.test"]}], "a.shop.test", True),
        ([{"hosts": ["*.shop.test"]}], "a.shop.test", True),
        ([{"hosts": ["*.shop.test"]}], "shop.test", False),
        ([{"hosts": ["*.test"]}], "a.shop.test", False),
    ],
)
def test_tls_is_on_where_an_entry_covers_the_host(tls, host, on):
    assert route(ingress(ANY, tls=tls), "/", host).tls is on


def service(**spec):
    ports = [{"name": "http", "port": 80}, {"name": "", "port": 81}]
    return {"metadata": {"name": "web"}, "spec": {"ports": ports, **spec}}


def test_a_port_is_found_by_number_or_name():
    assert service_port(service(), {"number": 81})["port"] == 81
    assert service_port(service(), {"name": "http"})["port"] == 80
    for wanted in ({"number": 82}, {"name": "https"}, {}):
        with pytest.raises(ValueError, match="the Service web does not have"):
            service_port(service(), wanted)


def test_a_service_that_is_a_name_outside_is_told():
    with pytest.raises(ValueError, match=r"ExternalName, app\.example\.org"):
        service_port(service(type="ExternalName", externalName="app.example.org"), {"number": 80})


def endpoint(name, address, **conditions):
    return {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": name}}


def part(*endpoints, kind="IPv4", port=8000, name="http"):
    return {"addressType": kind, "ports": [{"name": name, "port": port}], "endpoints": list(endpoints)}


def test_each_ready_pod_is_found_once_with_the_port_of_that_name():
    slices = [
        part(endpoint("b", "fd00::2"), endpoint("c", "fd00::3"), kind="IPv6"),
        part(endpoint("b", "10.0.0.2", ready=True), endpoint("gone", "10.0.0.9", ready=False)),
        part(endpoint("a", "10.0.0.1", ready=None), {"addresses": ["10.0.0.8"]}),
        part(endpoint("b", "10.0.0.2"), port=9000, name="metrics"),
        {"addressType": "IPv4", "ports": None, "endpoints": None},
    ]
    assert ready_pods(slices, "http") == [("a", "10.0.0.1", 8000), ("b", "10.0.0.2", 8000), ("c", "fd00::3", 8000)]
