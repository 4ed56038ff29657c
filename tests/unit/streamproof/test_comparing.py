"""The command with --baseline, --repeat, --times and limits for the pace, against servers of its own."""

import json
import socket
import time

import pytest
from streamproof.cli import main

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def event(number=0):
    data = b"data: %03d\n\n" % number
    return b"%x\r\n%b\r\n" % (len(data), data)


ONE_BY_ONE = [SSE, *[step for number in range(6) for step in (event(number), 0.25)], LAST]
AT_ONCE = [SSE, 1.5, *[event(number) for number in range(6)], LAST]
SHORT = [SSE, *[event(number) for number in range(6)], LAST]


@pytest.fixture
def verify(capsys):
    def run(*arguments):
        status = main(["verify", *arguments])
        out, err = capsys.readouterr()
        return status, " ".join((out + err).split())

    return run


def test_a_baseline_tells_the_app_from_the_path(serve, verify):
    status, said = verify(serve(AT_ONCE), "--baseline", serve(ONE_BY_ONE))
    assert (status, "this path holds events back: " in said) == (1, True)
    status, said = verify(serve(AT_ONCE), "--baseline", serve(AT_ONCE))
    assert (status, "so they do at the baseline: the app does that" in said) == (0, True)


def test_both_are_asked_twice_and_each_of_them_first_in_turn(server, verify):
    here, there = server(ONE_BY_ONE), server(ONE_BY_ONE)
    verify(f"http://127.0.0.1:{here.port}/a", "--baseline", f"http://127.0.0.1:{there.port}/b")
    assert (len(here.requests), len(there.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("options", "times"), [(["-X", "POST"], 1), (["-d", "{}"], 1), (["-d", "{}", "--repeat", "3"], 3)]
)
def test_what_may_cost_money_is_asked_once(server, verify, options, times):
    here, there = server(SHORT), server(SHORT)
    verify(f"http://127.0.0.1:{here.port}/a", "--baseline", f"http://127.0.0.1:{there.port}/b", *options)
    assert (len(here.requests), len(there.requests)) == (times, times)
    assert all(request.startswith(b"POST ") for request in there.requests)


def test_the_baseline_has_a_route_and_headers_of_its_own(server, verify):
    here, there = server(SHORT), server(SHORT)
    verify(
        *["http://edge.test:80/a", "--connect-to", f"::127.0.0.1:{here.port}", "-H", "A: 1", "-H", "B: 2"],
        *["--baseline", "http://app.test/a", "--baseline-connect-to", f"::127.0.0.1:{there.port}"],
        *["--baseline-header", "A: 3"],
    )
    assert all(b"\r\nA: 1\r\n" in one and b"\r\nHost: edge.test" in one for one in here.requests)
    assert all(
        b"\r\nA: 3\r\n" in one and b"\r\nB: 2\r\n" in one and b"A: 1" not in one and b"Host: app.test" in one
        for one in there.requests
    )


def test_an_app_that_serves_one_at_a_time_is_asked_in_turn(server, verify):
    """Both addresses are one server here, which answers one connection after the other."""
    one = server([*ONE_BY_ONE, "close"])
    url = f"http://127.0.0.1:{one.port}/"
    status, said = verify(url, "--baseline", url)
    assert (status, len(one.requests)) == (0, 8), said


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (
            [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"],
            "the baseline gave nothing to compare: the response is 404",
        ),
        (
            [SSE.replace(b"text/event-stream", b"text/html"), event(), LAST],
            "the baseline is another stream: its content type is text/html, and here it is text/event-stream",
        ),
    ],
)
def test_a_baseline_that_is_none_leaves_it_open(serve, verify, baseline, words):
    status, said = verify(serve(ONE_BY_ONE), "--baseline", serve(baseline))
    assert (status, words in said) == (2, True), said


def test_a_baseline_that_is_down_leaves_it_open(serve, verify):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        status, said = verify(serve(ONE_BY_ONE), "--baseline", f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert (status, "the baseline gave nothing to compare: there is no response to judge: no connection" in said) == (
        2,
        True,
    )


def test_times_of_a_stream_are_found(serve, capsys):
    stamped = [SSE]
    for _ in range(6):
        stamped += [lambda: _stamped(time.time()), 0.25]
    status = main(["verify", serve([*stamped, LAST]), "--times", r"^data: (?P<time>\d+)", "--ask", "timing", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert (found["numbers"]["evidence"], found["numbers"]["rows_judged"]) == ("production times", 6)
    assert status in (0, 2), found  # a busy machine is told from a hop elsewhere


def _stamped(at):
    data = b"data: %d\n\n" % round(at * 1e9)
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_an_expression_that_matches_nothing_is_inconclusive(serve, verify):
    status, said = verify(serve(ONE_BY_ONE), "--times", r"ts=(?P<time>\d+)")
    assert (status, "--times ts=(?P<time>\\d+) found a time in none of 12 rows" in said) == (2, True), said


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--max-gap-p99", "0.1"], 1, "longer than --max-gap-p99 0.1 s"),
        (["--max-first-event", "20", "--max-gap-p99", "20"], 0, "PASS pace first event after"),
        (["--repeat", "2"], 0, "events a second"),
    ],
)
def test_the_pace_has_limits(serve, verify, options, status, words):
    found, said = verify(serve(ONE_BY_ONE), "--ask", "pace", *options)
    assert (found, words in said) == (status, True), said


def test_the_pace_is_in_the_json_and_on_the_page_and_of_several_runs_the_medians(serve, capsys, tmp_path):
    page = tmp_path / "page.html"
    assert main(["verify", serve(ONE_BY_ONE), "--json", "--repeat", "2", "--html", str(page)]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = {verdict["question"]: verdict["numbers"] for verdict in answer["verdicts"]}["pace"]
    assert found["runs"] == 2
    for numbers in (found, answer["observations"][0]["pace"]):
        assert 200 < numbers["gap_p50_ms"] < 2000
        assert numbers["events_per_second"] < 5
    assert "6 events: first event after " in page.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--times", "("], "is not a regular expression"),
        (["--times", "[0-9]+"], "no group named time"),
        (["--times", "(?P<time>x{99999999999})"], "is not a regular expression"),
        (["--times", "(" * 3000 + "(?P<time>x)" + ")" * 3000], "is not a regular expression"),
        (["--times", "(?P<time>1)", "--ask", "framing"], "--ask timing"),
        (["--baseline", "ftp://app.test/"], "does not begin with http"),
        (["--baseline", "http://app.test/", "--ask", "framing"], "--ask timing"),
        (["--baseline", "http://app.test/", "--baseline-connect-to", "app"], "HOST1:PORT1:HOST2:PORT2"),
        (["--baseline-connect-to", "::127.0.0.1:1"], "--baseline-connect-to requires --baseline"),
        (["--baseline-header", "A: 1"], "--baseline-header requires --baseline"),
        (["--baseline", "http://app.test/", "--baseline-header", "A"], "is not a name, a colon and a value"),
        (["--repeat", "0"], "1<=x<=100"),
        (["--max-gap-p99", "0"], "0<x"),
        (["--max-first-event", "soon"], "not a valid float"),
    ],
)
def test_wrong_values_are_wrong_usage(verify, options, words):
    status, said = verify("http://127.0.0.1:1/", *options)
    assert (status, words in said) == (3, True), said
