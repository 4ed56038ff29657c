"""What a probe is asked and answers crosses as text, and stays what it is."""

import json

import pytest
from streamproof.cli import main
from streamproof.probe import Task, answers, as_argument, measure, parse_answer


@pytest.fixture
def url(stream, serve):
    return serve([stream.chunked()])


def test_an_answer_crosses_as_a_line_and_is_judged_as_here(url):
    task = Task(url, url, None, 5)
    (line,) = answers(as_argument([task]))
    assert "\n" not in line
    there, here = parse_answer(line), measure(task)
    for found in (there, here):
        assert found.stream and found.large
        assert [verdict.question for verdict in found.stream.verdicts()] == ["framing", "completeness", "timing"]
        assert [verdict.question for verdict in found.large.verdicts()] == ["backpressure"]
    assert [one.result for one in there.stream.verdicts()] == [one.result for one in here.stream.verdicts()]


def test_the_address_that_is_asked_may_be_another_than_the_host(server, stream):
    there = server([stream.chunked()])
    (line,) = answers(as_argument([Task("http://shop.test/stream", None, ("127.0.0.1", there.port), 5)]))
    found = parse_answer(line)
    assert found.stream and found.stream.observations[0].status == 200
    assert b"host: shop.test" in there.requests[0].lower()
    assert found.large is None


def test_where_nothing_listens_the_reason_crosses_and_the_next_is_asked(url):
    lines = answers(as_argument([Task("http://127.0.0.1:1/", None, None, 5), Task(url, None, None, 5)]))
    first, second = map(parse_answer, lines)
    assert first.stream is None and "no connection to 127.0.0.1 port 1" in first.reason
    assert second.stream is not None


def test_the_command_prints_a_line_for_each_task(url, capsys):
    assert main(["probe", as_argument([Task(url, None, None, 5)] * 2)]) == 0
    assert [parse_answer(line).stream is not None for line in capsys.readouterr().out.splitlines()] == [True, True]


@pytest.mark.parametrize("text", ["", "{}", "null", '{"stream": 1, "large": null, "reason": ""}', "Traceback …"])
def test_what_is_no_answer_is_not_taken_for_one(text):
    with pytest.raises(ValueError):
        parse_answer(text)


@pytest.mark.parametrize("text", ["", "5", "[5]", json.dumps([{"url": "http://a/"}])])
def test_what_are_no_tasks_is_wrong_usage(text, capsys):
    assert main(["probe", text]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_of_rows_with_times_one_request_is_judged(server, stream):
    """Not "2 of 2 times: …", where the times in it tell it all."""
    url = f"http://127.0.0.1:{server([stream.chunked()]).port}/"
    found = measure(Task(url, None, None, 5), Task(url, None, None, 5)).stream
    assert found and [one.role for one in found.observations] == ["baseline", "stream"]
