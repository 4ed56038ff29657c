"""What programs get: the JSON and its schema, an assertion for tests, and the Action."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml
from cluster.run import ROOT
from streamproof import report
from streamproof.cli import main
from streamproof.diagnose import Hop, Means, Name, diagnose
from streamproof.edges.facts import Ingress
from streamproof.expected import Expected
from streamproof.observation import Role
from streamproof.probe import Task, measure
from streamproof.run import QUESTIONS
from streamproof.testing import assert_streams

SOURCE = ROOT / "scripts" / "streamproof"
SCHEMA = json.loads((SOURCE / "streamproof" / "report.schema.json").read_text())
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"


@pytest.fixture
def answer(capsys):
    """Run the command with --json, and return its status and the object, which the schema must allow."""

    def run(*arguments):
        status = main(["verify", *arguments, "--json"])
        found = json.loads(capsys.readouterr().out)
        jsonschema.validate(found, SCHEMA)
        return status, found

    return run


def test_the_schema_is_one_and_knows_every_question_and_role():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = SCHEMA["$defs"]
    assert found["report"]["properties"]["schema"]["const"] == report.SCHEMA
    assert found["diagnosis"]["properties"]["schema"]["const"] == report.DIAGNOSIS_SCHEMA
    assert found["hop"]["properties"]["hop"]["enum"] == list(get_args(Name))
    assert found["hop"]["properties"]["means"]["enum"] == list(get_args(Means))
    assert set(found["verdict"]["properties"]["question"]["enum"]) == set(QUESTIONS)
    assert found["observation"]["properties"]["role"]["enum"] == list(get_args(Role))


def test_every_observation_is_in_the_json(serve, answer):
    url = serve([WHOLE, "close"])
    _, found = answer(url, "--all", "--stall", "1", "--streams", "2", "--timeout", "5", "--baseline", url)
    roles = [one["role"] for one in found["observations"]]
    assert roles.count("concurrent") == 2
    assert {"stream", "baseline", "stalled", "HTTP/1.1", "HTTP/1.0", "as a browser", "short alone"} <= set(roles)
    assert [one["question"] for one in found["verdicts"]] == list(QUESTIONS)


def test_a_diagnosis_has_a_schema_too(serve):
    """Of a hop that was measured, one that was cut, and one that was not."""
    url = serve([CUT, "close"])
    whole, cut = measure(Task(serve([WHOLE]), None, None, 5)), measure(Task(url, url, None, 5))
    hops = [
        Hop("pod", "web-1:8000", "port-forward", whole.stream),
        Hop("Service", "web:80", "port-forward", reason="not reached"),
        Hop("edge", "http://shop.test", "from here", cut.stream, cut.large),
    ]
    found = json.loads(report.diagnosis_as_json("the Ingress web", hops, diagnose(hops, Ingress("shop/web", ""))))
    jsonschema.validate(found, SCHEMA)
    assert (found["verdict"], found["first"]) == ("FAIL", 2)
    assert [len(hop["observations"]) for hop in found["hops"]] == [1, 0, 2]


def test_what_is_no_stream_is_in_the_json_too(serve, answer):
    for steps, ended in (
        ([b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"], "terminated"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "close"], "protocol_error"),
        (["reset"], "truncated"),
    ):
        status, found = answer(serve(steps))
        assert status in (1, 2)
        assert found["observations"][0]["ended"] == ended


def test_where_no_connection_comes_about_the_json_says_so(answer):
    status, found = answer("http://127.0.0.1:1/")
    assert (status, found["verdict"], found["verdicts"]) == (2, "INCONCLUSIVE", [])
    (tried,) = found["observations"]
    assert tried["ended"] == "no_connection"
    assert "Connection refused" in tried["error"]


def test_the_assertion_passes_and_hands_the_run_back(serve):
    run = assert_streams(serve([WHOLE]), questions=["framing", "completeness"], expected=Expected(bytes=3))
    assert run.observations[0].byte_count == 3


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([CUT, "close"], "FAIL"),
        ([b"HTTP/1.1 200 OK\r\n\r\nabc", "close"], "INCONCLUSIVE"),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], "404 Not Found"),
    ],
)
def test_the_assertion_fails_with_the_report(serve, steps, words):
    url = serve(steps)
    with pytest.raises(AssertionError) as caught:
        assert_streams(url, questions=["framing"])
    assert url in str(caught.value)
    assert words in str(caught.value)


def test_the_assertion_fails_without_a_connection_and_refuses_what_is_no_url():
    with pytest.raises(AssertionError, match=r"no connection to 127\.0\.0\.1 port 1"):
        assert_streams("http://127.0.0.1:1/")
    with pytest.raises(ValueError, match="does not begin with http"):
        assert_streams("ftp://127.0.0.1/")


def run_step(number, environment):
    """Run a step of the Action as a runner does."""
    action = yaml.safe_load((SOURCE / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    step = action["runs"]["steps"][number]
    assert step["shell"] == "bash"
    given = {name: environment.pop(value) for name, value in step.get("env", {}).items()}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, env=os.environ | environment | given, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Run the Action's first step, and return the environment for the second."""
    folder = tmp_path_factory.mktemp("runner")
    environment = {
        "GITHUB_ACTION_PATH": str(folder / "checkout"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        # Without a network: what would be fetched is in the environment of these tests.
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "RUNNER_TEMP": str(folder),
    }
    shutil.copytree(SOURCE, folder / "checkout", ignore=shutil.ignore_patterns("__pycache__"))
    installed = run_step(0, environment)
    assert installed.returncode == 0, installed.stderr
    return environment


@pytest.mark.parametrize(
    ("steps", "arguments", "status"),
    [
        ([WHOLE], "--ask=framing\n--header\nX-Told: two words; $(echo run)\n", 0),
        ([CUT, "close"], "--ask=framing", 1),
        ([WHOLE], "", 0),
    ],
)
def test_the_action_takes_an_argument_a_line_and_has_the_status_of_the_verdict(
    server, installed, steps, arguments, status
):
    one = server(steps)
    inputs = {"${{ inputs.url }}": f"http://127.0.0.1:{one.port}/", "${{ inputs.arguments }}": arguments}
    verified = run_step(1, installed | inputs)
    assert verified.returncode == status, verified.stdout + verified.stderr
    if "X-Told" in arguments:
        assert b"X-Told: two words; $(echo run)\r\n" in one.requests[0]
