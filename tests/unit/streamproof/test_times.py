import pytest
from streamproof.http1 import Http1Recorder
from streamproof.judge import judge
from streamproof.request import Request
from streamproof.times import parse_times, unix_time

AT = 1_700_000_000.25


@pytest.mark.parametrize(
    "text",
    [
        "1700000000.25",
        "1700000000250",
        "1700000000250000",
        "1700000000250000000",
        "2023-11-14T22:13:20.25Z",
        "2023-11-14 22:13:20.250",
        "2023-11-15T00:13:20.25+02:00",
    ],
)
def test_a_time_is_told_by_its_size_or_is_a_date(text):
    assert unix_time(text) == pytest.approx(AT, abs=1e-6)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1" * 40, "2023-14-14", "-", "0x10"])
def test_what_is_no_time_is_none(text):
    assert unix_time(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("(", "not a regular expression"), ("[0-9]+", "no group named time"), ("(?P<at>[0-9]+)", "no group named time")],
)
def test_an_expression_that_cannot_find_a_time_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_times(text)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def seen(times, reads):
    """Record reads that came so many seconds after the request."""
    recorder = Http1Recorder(Request("http://test/", times=times))
    recorder.sent(AT)
    recorder.feed(HEAD, AT, 0.0)
    for at, data in reads:
        recorder.feed(data, AT + at, 0.1)
    recorder.closed(AT + 9)
    return recorder.observation()


def event(at):
    return b'event: token\ndata: {"ts": %d, "text": "word"}\n\n' % round((AT + at) * 1e3)


def timing(times, reads):
    (verdict,) = judge(seen(times, reads), ["timing"])
    return verdict.result, verdict.sentence


PACED = [0.5 * number for number in range(1, 7)]
TIMES = r'"ts": (?P<time>\d+)'


def test_times_that_a_stream_carries_tell_what_arrivals_alone_do_not():
    at_once = [(3.1, b"".join(map(event, PACED)))]
    result, sentence = timing(TIMES, at_once)
    assert (result, "5 of 6 rows were late, largest lag 2600 ms" in sentence) == ("FAIL", True)
    late_by_two = [(at + 1.2, event(at)) for at in PACED]
    assert (timing(TIMES, late_by_two)[0], timing(None, late_by_two)[0]) == ("FAIL", "PASS")
    assert timing(TIMES, [(at + 0.002, event(at)) for at in PACED])[0] == "PASS"


@pytest.mark.parametrize("times", [r"created=(?P<time>\d+)", r"text(?P<time>x)?"])
def test_an_expression_that_matches_nothing_is_told(times):
    result, sentence = timing(times, [(at, event(at)) for at in PACED])
    assert result == "INCONCLUSIVE"
    assert sentence.startswith(f"--times {times} found a time in none of 18 rows")
