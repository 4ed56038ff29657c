import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from streamcheck.cli import main
from streamcheck.observation import Observation
from streamcheck.report import as_text

CHUNKED = "Transfer-Encoding: chunked"


def paced(stream, pause=0.1):
    steps = []
    for row in range(1, stream.rows + 1):
        steps += [lambda row=row: stream.chunk(stream.row(row)), pause]
    return [stream.header(CHUNKED), *steps, stream.chunk(b"")]


def plain(*lines, body=b"", status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@pytest.fixture
def good(stream, serve):
    return serve(paced(stream))


@pytest.fixture
def untouched():
    """Give a URL that must not be asked: nothing listens there."""
    return "http://127.0.0.1:1/"


def test_a_good_stream_ends_with_0(good, capsys):
    assert main(["verify", good]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == good
    assert lines[1].startswith("HTTP/1.1 200 OK, chunked, 768 bytes, 12 rows, TTFB ")
    assert lines[3] == "PASS          framing       chunked, 12 chunks, terminating chunk seen"
    assert [line.split()[:2] for line in lines[3:6]] == [["PASS", q] for q in ("framing", "completeness", "timing")]
    assert lines[-1] == "verdict: PASS"
    assert max(map(len, lines)) <= 100


def test_a_bad_stream_ends_with_1(stream, serve, capsys):
    assert main(["verify", serve([stream.chunked()[:700], 0.02, "close"])]) == 1
    assert capsys.readouterr().out.endswith("\nverdict: FAIL\n")


def test_what_cannot_be_told_ends_with_2(serve, capsys):
    assert main(["verify", serve([plain("Content-Length: 0", status="404 Not Found")])]) == 2
    assert capsys.readouterr().out.endswith("\nverdict: INCONCLUSIVE\n")


def test_no_connection_ends_with_2_and_one_sentence(untouched, capsys, tmp_path):
    assert main(["verify", untouched, "--save", str(tmp_path / "seen.json")]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "streamcheck: no connection to 127.0.0.1 port 1: Connection refused\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Missing command"),
        (["bogus"], "bogus"),
        (["--bogus"], "--bogus"),
        (["verify"], "Missing argument"),
        (["judge"], "Missing argument"),
        (["verify", "URL", "--bogus"], "--bogus"),
        (["verify", "URL", "URL"], "unexpected extra argument"),
        (["verify", "example.org"], "does not begin with http"),
        (["verify", "http://host:port/"], "not a URL"),
        (["verify", "URL", "--header", "no colon"], "a name, a colon and a value"),
        (["verify", "URL", "--header", ": value"], "a name, a colon and a value"),
        (["verify", "URL", "--header", "a b: c"], "cannot be sent"),
        (["verify", "URL", "--timeout", "0"], "timeout"),
        (["verify", "URL", "--timeout", "-1"], "timeout"),
        (["verify", "URL", "--timeout", "inf"], "timeout"),
        (["verify", "URL", "--timeout", "soon"], "timeout"),
        (["verify", "URL", "--max-bytes", "0"], "max-bytes"),
        (["verify", "URL", "--expect-bytes", "-1"], "expect-bytes"),
        (["verify", "URL", "--expect-sha256", "abc"], "64 hex digits"),
        (["verify", "URL", "--save", "/"], "directory"),
        (["verify", "URL", "--save", "/nowhere/seen.json"], "cannot write /nowhere/seen.json"),
        (["judge", "/nowhere/seen.json"], "cannot read /nowhere/seen.json"),
        (["judge", "/"], "cannot read /"),
        (["judge", __file__], "not JSON"),
    ],
)
def test_wrong_usage_ends_with_3_and_one_sentence(untouched, capsys, args, words):
    assert main([untouched if arg == "URL" else arg for arg in args]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamcheck: ")
    assert words in err
    assert err.count("\n") == 1


def test_what_is_saved_is_judged_alike(stream, serve, capsys, tmp_path):
    path = tmp_path / "seen.json"
    url = serve([plain("Content-Length: 3", body=b"abc")])
    assert main(["verify", url, "--expect-bytes", "4", "--save", str(path)]) == 1
    said = capsys.readouterr().out
    assert main(["judge", str(path)]) == 1
    assert capsys.readouterr().out == said


def test_json(good, capsys):
    assert main(["verify", good, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "PASS"
    assert [verdict["question"] for verdict in answer["verdicts"]] == ["framing", "completeness", "timing"]
    assert answer["verdicts"][2]["numbers"]["rows_judged"] == 12
    assert answer["observation"]["bytes"] == 768
    assert answer["observation"]["framing"] == "chunked"
    assert 0 <= answer["observation"]["ttfb_ms"] < answer["observation"]["duration_ms"]


def test_expectations_and_limits_are_passed_on(serve, capsys):
    url = serve([plain("Content-Length: 3", body=b"abc")])
    digest = hashlib.sha256(b"abc").hexdigest().upper()
    main(["verify", url, "--expect-bytes", "3", "--expect-sha256", digest])
    assert "3 of 3 bytes arrived, and the digest is right" in capsys.readouterr().out
    main(["verify", url, "--max-bytes", "2"])
    assert "the size limit of 2 bytes" in capsys.readouterr().out
    main(["verify", serve([plain("Content-Length: 3")]), "--timeout", "0.2"])
    assert "the time limit of 0.2 s" in capsys.readouterr().out


def test_headers_are_sent(server, capsys):
    one = server([plain("Content-Length: 0")])
    main(["verify", f"http://127.0.0.1:{one.port}/", "--header", "Host: demo.local", "--header", "X-A:b:c"])
    assert b"\r\nHost: demo.local\r\n" in one.requests[0]
    assert b"\r\nX-A: b:c\r\n" in one.requests[0]
    assert one.requests[0].lower().count(b"\r\nhost:") == 1


def test_a_server_cannot_steer_the_terminal(record):
    seen = record([b"HTTP/1.1 302 \x9b31mFound\r\nLocation: \x9b2J\r\nContent-Length: 0\r\n\r\n"])
    text = as_text(seen, [])
    assert "\x9b" not in text
    assert "\\x9b31mFound" in text


@pytest.mark.parametrize("args", [["--help"], ["verify", "--help"], ["judge", "--help"]])
def test_the_module_is_a_command_that_helps(args):
    run = subprocess.run(
        [sys.executable, "-m", "streamcheck", *args],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("Usage: streamcheck")
    assert "3 wrong usage" in run.stdout


def test_an_interrupt_ends_with_130_and_no_traceback(server):
    one = server([plain(CHUNKED)])
    run = subprocess.Popen(
        [sys.executable, "-m", "streamcheck", "verify", f"http://127.0.0.1:{one.port}/"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not one.requests and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert "Traceback" not in run.communicate(timeout=10)[1]
    assert run.returncode == 130


def test_a_saved_file_is_an_observation(good, tmp_path, capsys):
    path = tmp_path / "seen.json"
    path.write_text("something old and much longer " * 1000)
    assert main(["verify", good, "--save", str(path)]) == 0
    assert Observation.load(path).url == good
