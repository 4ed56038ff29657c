import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streamproof.cli import main
from streamproof.run import QUESTIONS, Run

CHUNKED = "Transfer-Encoding: chunked"


def paced(stream, pause):
    steps = []
    for row in range(1, stream.rows + 1):
        steps += [lambda row=row: stream.chunk(stream.row(row)), pause]
    return [stream.header(CHUNKED), *steps[:-1], stream.chunk(b"")]


def plain(*lines, body=b"", status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@pytest.fixture
def good(stream, serve):
    """Give a URL whose rows come on time: they are a second apart, by which no busy machine delays one."""
    return serve(paced(type(stream)(3), 1))


@pytest.fixture
def whole(stream, serve):
    """Give a URL whose rows come at once, for what is not about timing."""
    return serve([stream.chunked()])


FRAMING = ("--ask", "framing")


@pytest.fixture
def untouched():
    """Give a URL that must not be asked: nothing listens there."""
    return "http://127.0.0.1:1/"


def test_a_good_stream_ends_with_0(good, capsys):
    assert main(["verify", good]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == good
    assert lines[1].startswith("HTTP/1.1 200 OK, chunked, 192 bytes, 3 rows")
    assert lines[4].startswith("produced  ") and lines[5].startswith("arrived   ")
    assert lines[4].count("|") == lines[5].count("|") == 3
    assert lines[8] == "PASS          framing       chunked, 3 chunks, terminating chunk seen"
    assert [line.split()[:2] for line in lines[8:11]] == [["PASS", q] for q in ("framing", "completeness", "timing")]
    assert lines[-1] == "verdict: PASS"
    assert max(map(len, lines)) <= 100


def test_a_bad_stream_ends_with_1(stream, serve, capsys):
    assert main(["verify", serve([stream.chunked()[:700], 0.02, "close"])]) == 1
    assert capsys.readouterr().out.endswith("\nverdict: FAIL\n")


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("steps", "status", "words"),
    [
        ([EVENT, 0.3, EVENT, 0.3, EVENT, 0.3, EVENT, LAST], 0, "4 events came one by one"),
        ([1.2, 4 * EVENT + LAST], 1, "4 events came at once"),
        ([0.7, 2 * EVENT + LAST], 2, "too few, or too early"),
        ([4 * EVENT + LAST], 0, "too short to tell"),
    ],
)
def test_a_stream_that_promises_nothing_is_judged_by_its_arrivals(serve, capsys, steps, status, words):
    assert main(["verify", serve([SSE, *steps])]) == status
    assert words in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_told_ends_with_2(serve, capsys):
    assert main(["verify", serve([plain("Content-Length: 0", status="404 Not Found")])]) == 2
    assert capsys.readouterr().out.endswith("\nverdict: INCONCLUSIVE\n")


def test_no_connection_ends_with_2_and_one_sentence(untouched, capsys, tmp_path):
    assert main(["verify", untouched, "--save", str(tmp_path / "seen.json")]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "streamproof: no connection to 127.0.0.1 port 1: Connection refused\n")
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
        (["verify", "URL", "--expect-events", "-1"], "expect-events"),
        (["verify", "URL", "--expect-last", " "], "expect-last"),
        (["verify", "URL", "--events", "0"], "events"),
        (["verify", "URL", "--for", "0"], "--for"),
        (["verify", "URL", "--for", "60"], "--for 60 does not fit into the time limit of 60 s"),
        (["verify", "URL", "--read-rate", "0"], "read-rate"),
        (["verify", "URL", "--read-rate", "9"], "makes events late by itself"),
        (["verify", "URL", "-X", "G T"], "'G T' is not a method"),
        (["verify", "URL", "-X", ""], "'' is not a method"),
        (["verify", "URL", "-X", "HEAD"], "HEAD has no body"),
        (["verify", "URL", "-d", "@"], "'@' names no file"),
        (["verify", "URL", "-d", "@/dev/zero"], "/dev/zero holds more than 16 MiB"),
        (["verify", "URL", "-H", "@/dev/zero"], "/dev/zero holds more than 16 MiB"),
        (["verify", "URL", "--unix-socket", ""], "unix-socket"),
        (["verify", "URL", "-d", "@/nowhere/body"], "cannot read /nowhere/body: No such file"),
        (["verify", "URL", "-H", "@/nowhere/headers"], "cannot read /nowhere/headers: No such file"),
        (["verify", "URL", "--connect-to", "a_b"], "is not HOST1:PORT1:HOST2:PORT2"),
        (["verify", "URL", "--resolve", "a_b"], "is not HOST:PORT:ADDRESS"),
        (["verify", "URL", "--proxy", "socks5://127.0.0.1"], "are not supported"),
        (
            ["verify", "URL", "--proxy", "127.0.0.1", "--connect-to", "::b:1"],
            "requires an https URL",
        ),
        (["verify", "URL", "--unix-socket", "/a", "--proxy", "127.0.0.1"], "excludes --proxy"),
        (["verify", "URL", "--http1.1", "--http1.0"], "exclude each other"),
        (["verify", "URL", "--expect-sha256", "abc"], "64 hex digits"),
        (["verify", "URL", "--save", "/"], "directory"),
        (["verify", "URL", "--html", "/"], "directory"),
        (["verify", "URL", "--ask", "weather"], "is not one of 'framing'"),
        (["verify", "URL", "--ask", "timing", "--expect-bytes", "1"], "--expect-bytes takes --ask completeness"),
        (["verify", "URL", "--ask", "timing", "--expect-sha256", "0" * 64], "--expect-sha256 takes --ask completeness"),
        (["verify", "URL", "--ask", "idle", "--expect-events", "1"], "--expect-events takes --ask completeness"),
        (["verify", "URL", "--ask", "pace", "--expect-last", "x"], "--expect-last takes --ask completeness"),
        (["verify", "URL", "--stall", "2"], "--stall takes --ask backpressure"),
        (["verify", "URL", "--expect", "absorb"], "--expect takes --ask backpressure"),
        (["verify", "URL", "--ask", "idle", "--expect", "absorb"], "--expect takes --ask backpressure"),
        (["verify", "URL", "--read-timeout", "60"], "--read-timeout takes --ask idle"),
        (["verify", "URL", "--streams", "3"], "--streams takes --ask concurrency"),
        (["verify", "URL", "--short", "/"], "--short takes --ask concurrency"),
        (["verify", "URL", "--rounds", "2"], "--rounds takes --ask concurrency"),
        (["verify", "URL", "--ask", "concurrency", "--rounds", "0"], "rounds"),
        (["verify", "URL", "--ask", "concurrency", "--pause", "0"], "pause"),
        (["verify", "URL", "--ask", "backpressure", "--expect", "both"], "is not one of"),
        (["verify", "URL", "--ask", "backpressure", "--stall", "0"], "stall"),
        (["verify", "URL", "--ask", "backpressure", "--stall", "60"], "does not fit into the time limit of 60 s"),
        (["verify", "URL", "--ask", "concurrency", "--streams", "1"], "streams"),
        (["verify", "URL", "--ask", "concurrency", "--streams", "101"], "streams"),
        (["verify", "URL", "--ask", "concurrency", "--short", "https://other.example/"], "is not a path"),
        (["verify", "URL", "--ask", "concurrency", "--short", "//other.example/"], "is not a path"),
        (["verify", "URL", "--ask", "idle", "--read-timeout", "0"], "read-timeout"),
        (["verify", "URL", "--ask", "idle", "--read-timeout", "60"], "does not fit into the time limit of 60 s"),
        (["verify", "URL", "--http1.0", "--http2"], "exclude each other"),
        (["verify", "URL", "--http2"], "requires an https URL"),
        (["verify", "https://127.0.0.1:1/", "--http2", "--header", "Connection: close"], "cannot be sent over HTTP/2"),
        (["verify", "URL", "--cacert", "/nowhere/ca.pem"], "cacert"),
        (["verify", "https://127.0.0.1:1/", "--cacert", __file__], "is not a file with certificates in PEM"),
        (["verify", "https://127.0.0.1:1/", "--cacert", "/dev/zero"], "/dev/zero holds more than 16 MiB"),
        (["judge", "/nowhere/seen.json"], "cannot read /nowhere/seen.json"),
        (["judge", "/"], "cannot read /"),
        (["judge", __file__], "not JSON"),
        # No comparison says of this that it is out of a range.
        *(
            (["verify", "URL", *asked, option, "nan"], f"'{option}': 'nan' is not a number of seconds")
            for option, *asked in (
                ("--timeout",),
                ("--for",),
                ("--max-first-event",),
                ("--max-gap-p99",),
                ("--read-timeout", "--ask", "idle"),
                ("--stall", "--ask", "backpressure"),
                ("--pause", "--ask", "concurrency"),
            )
        ),
        (["diagnose", "web", "--timeout", "nan"], "'nan' is not a number of seconds"),
    ],
)
def test_wrong_usage_ends_with_3_and_one_sentence(untouched, capsys, args, words):
    assert main([untouched if arg == "URL" else arg for arg in args]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamproof: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["verify", "URL", "--save", "/nowhere/seen.json"], "cannot write /nowhere/seen.json"),
        (["verify", "URL", "--html", "/nowhere/page.html"], "cannot write /nowhere/page.html"),
        (["verify", "URL", "--html", "/dev/null"], "not a regular file"),
        (["judge", __file__, "--html", "/nowhere/page.html"], "cannot write /nowhere/page.html"),
    ],
)
def test_a_file_that_cannot_be_written_ends_with_4_and_one_sentence(untouched, capsys, args, words):
    assert main([untouched if arg == "URL" else arg for arg in args]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_a_full_disk_ends_with_4_and_a_closed_pipe_quietly(whole):
    reader, closed = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for output, status, said in (
        (full, 4, "streamproof: cannot write to standard output: No space left on device\n"),
        (closed, 0, ""),
    ):
        command = [sys.executable, "-m", "streamproof", whole, "--ask", "framing"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
        os.close(output)
        assert (done.returncode, done.stderr) == (status, said)


def test_a_fault_of_streamproofs_own_ends_with_4_and_no_traceback(whole, capsys, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by mistake")

    monkeypatch.setattr("streamproof.cli.verify.ask", fail)
    assert main(["verify", whole]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "please report it: ZeroDivisionError: by mistake (test_cli.py line " in err


def test_what_is_saved_is_judged_alike(stream, serve, capsys, tmp_path):
    path = tmp_path / "seen.json"
    url = serve([plain("Content-Length: 3", body=b"abc")])
    assert main(["verify", url, "--expect-bytes", "4", "--save", str(path)]) == 1
    said = capsys.readouterr().out
    assert main(["judge", str(path)]) == 1
    assert capsys.readouterr().out == said


def test_only_what_is_asked_is_answered_in_the_order_of_the_questions(whole, capsys):
    assert main(["verify", whole, "--ask", "idle", "--ask", "framing", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [verdict["question"] for verdict in answer["verdicts"]] == ["framing", "idle"]


def test_one_request_answers_the_first_three_and_idle(stream, server):
    one = server(paced(stream, 0.01))
    questions = [word for question in ("framing", "completeness", "timing", "idle") for word in ("--ask", question)]
    main(["verify", f"http://127.0.0.1:{one.port}/", *questions])
    assert len(one.requests) == 1


def test_nobody_there_is_told_once_whatever_was_asked(untouched, capsys):
    assert main(["verify", untouched, "--all"]) == 2
    planned, said = capsys.readouterr().err.splitlines()
    assert planned.startswith("protocols makes 8 requests")
    assert said == "streamproof: no connection to 127.0.0.1 port 1: Connection refused"


def test_a_file_of_another_format_is_refused(tmp_path, capsys):
    path = tmp_path / "seen.json"
    path.write_text('{"format": "streamproof observation 1"}')
    assert main(["judge", str(path)]) == 3
    assert "its format is not 'streamproof run 3'; observe it anew" in capsys.readouterr().err


def test_the_help_names_every_question(capsys):
    assert main(["verify", "--help"]) == 0
    out = capsys.readouterr().out
    for question in QUESTIONS:
        assert f"\n  {question} " in out
    assert "--read-timeout" in out


def test_json(good, capsys):
    assert main(["verify", good, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "PASS"
    assert [verdict["question"] for verdict in answer["verdicts"]] == ["framing", "completeness", "timing"]
    assert answer["verdicts"][2]["numbers"]["rows_judged"] == 3
    assert answer["observations"][0]["bytes"] == 192
    assert answer["observations"][0]["framing"] == "chunked"
    assert 0 <= answer["observations"][0]["ttfb_ms"] < answer["observations"][0]["duration_ms"]


def test_expectations_and_limits_are_passed_on(serve, capsys):
    url = serve([plain("Content-Length: 3", body=b"abc")])
    digest = hashlib.sha256(b"abc").hexdigest().upper()
    main(["verify", url, "--expect-bytes", "3", "--expect-sha256", digest])
    assert "3 of 3 bytes arrived, and the digest is right" in capsys.readouterr().out
    main(["verify", url, "--max-bytes", "2"])
    assert "the size limit of 2 bytes" in capsys.readouterr().out
    main(["verify", serve([plain("Content-Length: 3")]), "--timeout", "1"])
    assert "the time limit of 1 s" in capsys.readouterr().out


def test_headers_are_sent(server, capsys):
    one = server([plain("Content-Length: 0")])
    main(["verify", f"http://127.0.0.1:{one.port}/", "--header", "Host: demo.local", "--header", "X-A:b:c"])
    assert b"\r\nHost: demo.local\r\n" in one.requests[0]
    assert b"\r\nX-A: b:c\r\n" in one.requests[0]
    assert one.requests[0].lower().count(b"\r\nhost:") == 1


@pytest.mark.parametrize("args", [["--help"], ["verify", "--help"], ["judge", "--help"]])
def test_the_module_is_a_command_that_helps(args):
    run = subprocess.run(
        [sys.executable, "-m", "streamproof", *args],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("Usage: streamproof")
    assert "3 wrong usage" in run.stdout


def test_an_interrupt_ends_with_130_and_no_traceback(server):
    one = server([plain(CHUNKED)])
    run = subprocess.Popen(
        [sys.executable, "-m", "streamproof", "verify", f"http://127.0.0.1:{one.port}/"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not one.requests and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert "Traceback" not in run.communicate(timeout=10)[1]
    assert run.returncode == 130


def test_a_saved_file_is_an_observation(whole, tmp_path, capsys):
    path = tmp_path / "seen.json"
    path.write_text("something old and much longer " * 1000)
    assert main(["verify", whole, *FRAMING, "--save", str(path)]) == 0
    assert [one.url for one in Run.load(path).observations] == [whole]


# The page


def test_a_page_is_written_and_judging_again_writes_the_same(whole, tmp_path, capsys):
    first, again, saved = tmp_path / "first.html", tmp_path / "again.html", tmp_path / "seen.json"
    first.write_text("something old and much longer " * 10_000)
    assert main(["verify", whole, *FRAMING, "--html", str(first), "--save", str(saved)]) == 0
    assert main(["judge", str(saved), "--html", str(again)]) == 0
    assert first.read_text() == again.read_text()
    assert first.read_text().startswith("<!DOCTYPE html>\n<html")
    assert {path.name for path in tmp_path.iterdir()} == {"first.html", "again.html", "seen.json"}


def test_a_page_that_cannot_be_written_whole_leaves_the_old_one(whole, tmp_path, capsys, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fill_the_disk(self, target):
        assert target == path
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fill_the_disk)
    assert main(["verify", whole, "--html", str(path)]) == 4
    assert capsys.readouterr().err.startswith(f"streamproof: cannot write {path}: No space left on device")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("page.html", "old")]


def test_a_link_at_the_name_of_the_temporary_file_is_not_written_through(whole, tmp_path):
    """It was the page's name with the process' number, which others in a shared folder can guess."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / f".page.html.{os.getpid()}").symlink_to(mine)
    assert main(["verify", whole, *FRAMING, "--html", str(tmp_path / "page.html")]) == 0
    assert mine.read_text() == "mine"
    assert (tmp_path / f".page.html.{os.getpid()}").is_symlink()


def test_a_page_is_not_written_through_a_link_of_somebody_else_in_a_folder_of_all(whole, tmp_path, capsys, monkeypatch):
    """Only root could make such a link."""
    mine, page = tmp_path / "mine", tmp_path / "shared" / "page.html"
    mine.write_text("mine")
    page.parent.mkdir()
    page.symlink_to(mine)
    page.parent.chmod(0o1777)
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda path: os.stat_result([*lstat(path)[:4], 12345, *lstat(path)[5:10]]))
    assert main(["verify", whole, *FRAMING, "--html", str(page)]) == 4
    assert "a link of somebody else's" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    monkeypatch.undo()
    assert main(["verify", whole, *FRAMING, "--html", str(page)]) == 0
    assert page.is_symlink() and mine.read_text().startswith("<!DOCTYPE html>")


def test_what_is_said_of_a_wrong_usage_or_a_broken_connection_cannot_steer_a_terminal(capsys, tmp_path):
    assert main(["judge", str(tmp_path / "a\x1b[2J\u202eb")]) == 3
    said = capsys.readouterr().err
    assert "a\\x1b[2J\\u202eb" in said
    assert said.replace("\n", "").isprintable()


@pytest.mark.parametrize("how", [(), ("--json",), ("--html",)])
def test_what_a_server_says_is_bounded(how, serve, capsys, tmp_path):
    """A header of 60 KB, and a chunk's header that is none and as long."""
    long = b"x" * 60_000
    page = tmp_path / "page.html"
    for answer in (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + long + b"\r\n",
        b"HTTP/1.1 200 " + long + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /" + long + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: " + long + b"\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX-Stream-Promise: rows=" + long + b"\r\nContent-Length: 3\r\n\r\nabc",
    ):
        main(["verify", serve([answer]), *how, *([str(page)] if how == ("--html",) else [])])
        captured = capsys.readouterr()
        assert len(captured.out) < 15_000
        assert "x" * 3_000 not in captured.out + (page.read_text() if page.exists() else "")


def test_without_a_response_there_is_no_page_and_an_old_one_stays(untouched, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["verify", untouched, "--html", str(path)]) == 2
    assert not list(tmp_path.iterdir())
    path.write_text("old")
    assert main(["verify", untouched, "--html", str(path)]) == 2
    assert path.read_text() == "old"


# Where the output goes to


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "streamproof", *args],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def on_a_terminal(*args, **environment):
    """Run the command with standard output and error on a terminal of their own; return what it wrote to each."""
    pairs = [pty.openpty(), pty.openpty()]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamproof", *args],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "100"} | environment,
        stdout=pairs[0][1],
        stderr=pairs[1][1],
    )
    for _, end in pairs:
        os.close(end)
    written = []
    for controller, _ in pairs[::-1]:  # standard error first: standard output is short enough to wait
        got = b""
        while True:
            try:
                piece = os.read(controller, 65536)
            except OSError:  # Linux says so when the last writer has gone
                break
            if not piece:
                break
            got += piece
        os.close(controller)
        written.append(got.decode())
    process.wait(10)
    return written[1], written[0]


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_what_the_output_cannot_express_is_escaped(serve, environment):
    url = serve([plain("Content-Length: 3", body=b"abc", status="200 Grün")])
    done = run("verify", url, **environment)
    assert done.stderr == ""
    assert done.stdout.isascii()
    assert "HTTP/1.1 200 Gr\\xc3\\xbcn, " in done.stdout


def test_where_the_output_is_no_terminal_there_are_no_codes_and_no_progress_and_the_width_is_fixed(whole):
    done = run("verify", whole, FORCE_COLOR="1", CLICOLOR_FORCE="1", TERM="xterm-256color", COLUMNS="70")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert done.stderr == ""


def test_a_terminal_shows_colours_and_meanwhile_a_line_that_goes_again(good):
    out, err = on_a_terminal("verify", good, NO_COLOR="")
    assert "\x1b[1;32mPASS\x1b[0m" in out
    assert without_colours(out).rstrip().endswith("verdict: PASS")
    assert re.search(r"\d+ rows, \d+ bytes, \d+\.\d s, last byte \d+\.\d s ago", err)
    # What stands after the last line was erased.
    assert re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\s", "", err.rpartition("\x1b[2K")[2]) == ""


def test_no_colour_is_honoured(whole):
    out, _ = on_a_terminal("verify", whole, *FRAMING, NO_COLOR="1")
    assert "\x1b" not in out
    assert "verdict: PASS" in out


def test_json_is_never_disturbed(whole):
    out, err = on_a_terminal("verify", whole, *FRAMING, "--json")
    assert json.loads(out)["verdict"] == "PASS"
    assert err == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--in-cluster"], "--in-cluster takes --image"),
        (["--image", "streamproof:0.1.0"], "neither alone"),
        (["--path", "measure"], "not a path"),
        (["-X", "HEAD"], "has no body"),
        (["--host", "a b"], "is not a URL"),
        (["-d", "{}", "--in-cluster", "--image", "i"], "would stand in the Job"),
        (["-H", "Authorization: Bearer 1", "--in-cluster", "--image", "i"], "would stand in the Job"),
        (["--url", "http://127.0.0.1:8080/measure"], "has a path"),
        (["--url", "127.0.0.1:8080"], "does not begin with http:// or https://"),
    ],
)
def test_a_diagnosis_asked_for_wrongly_ends_with_3_before_a_cluster_is_asked(options, said, capsys, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    assert main(["diagnose", "web", "--path", "/events", *options]) == 3
    assert said in capsys.readouterr().err


def test_a_diagnosis_has_no_path_of_its_own(capsys):
    assert main(["diagnose", "web"]) == 3
    assert "'--path'" in capsys.readouterr().err


def test_without_the_kubernetes_client_a_diagnosis_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "kr8s", None)
    monkeypatch.delitem(sys.modules, "streamproof.kubernetes", raising=False)
    assert main(["diagnose", "web", "--path", "/"]) == 3
    assert "pip install './scripts/streamproof[kubernetes]'" in capsys.readouterr().err
