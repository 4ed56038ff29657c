"""Log lines, request ids, and whom a request came from."""

import contextvars
import io
import ipaddress
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client, RequestFactory, override_settings
from django_streamproof.logs import Formatter, config
from django_streamproof.requests import client_of
from hypothesis import given
from hypothesis import strategies as st


def _record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    record = logging.LogRecord("gunicorn.error", logging.WARNING, "", 0, message, args, None)
    record.__dict__.update(attributes)
    return record


@given(message=st.text(), path=st.text())
def test_a_record_is_one_line_of_json_whatever_is_in_it(message: str, path: str) -> None:
    line = Formatter().format(_record("%s", message, fields={"path": path}))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    parsed = json.loads(line)
    assert (parsed["message"], parsed["path"]) == (message, path)


@given(message=st.text(), value=st.text())
def test_a_record_is_one_line_of_text_too(message: str, value: str) -> None:
    assert len(Formatter("text").format(_record("%s", message, fields={"client": value})).splitlines()) == 1


def test_fields_of_a_line() -> None:
    record = _record("Booting", created=1_700_000_000.25, msecs=250.0, process=7)
    # Outside of any request that another test has made in this thread.
    line = json.loads(contextvars.Context().run(Formatter().format, record))
    assert line == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "gunicorn.error",
        "message": "Booting",
        "pid": 7,
    }


def test_an_exception_is_a_field() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = _record("Oops", exc_info=sys.exc_info())
    line = Formatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: first\nsecond\n")
    assert Formatter("text").format(record).endswith("\n  ValueError: first\n  second")


def test_all_loggers_have_the_one_form() -> None:
    named = config()
    used = {logger: how["handlers"] for logger, how in named["loggers"].items() if how["handlers"]}
    assert used == {
        "django": ["stderr", "mail_admins"],
        "django.request": ["stderr", "mail_admins"],
        "django.security": ["mail_admins", "brief"],
        "gunicorn.error": ["stderr"],
    }
    assert named["root"]["handlers"] == ["stderr"]
    assert {handler.get("formatter") for handler in config(mail=False)["handlers"].values()} == {"line"}


def test_what_any_client_can_cause_is_logged_without_a_traceback(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    # Django has configured the loggers; only where they write to is changed, and changed back.
    for name in (None, *config()["loggers"]):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler.formatter, Formatter):
                monkeypatch.setattr(handler, "stream", written)
    assert client.get("/measure", headers={"host": "elsewhere.example"}).status_code == 400
    assert "Invalid HTTP_HOST header" in written.getvalue()
    assert "Traceback" not in written.getvalue()


def test_request_has_one_line_with_its_id(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = client.get("/nowhere?a=%0Ab", headers={"x-request-id": "edge-1"})
    assert response["X-Request-ID"] == "edge-1"
    (record,) = caplog.records
    assert record.getMessage() == "GET /nowhere?a=%0Ab 404"
    fields = _fields(record)
    assert fields.pop("duration_s") >= 0
    assert fields == {
        "request_id": "edge-1",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/nowhere?a=%0Ab",
        "status": 404,
    }


def test_a_long_path_is_cut_so_that_the_line_is_not_torn_apart(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/" + "a" * 9000)
        client.get("/download_csv_streaming?" + "a" * 9000)
        client.get("/measure?" + "&" * 900 + "rows=1" + "&" * 99).getvalue()
    assert len(caplog.records) == 4
    for record in caplog.records:
        assert len(_fields(record)["path"]) == 1000
        assert len(Formatter().format(record)) < 4096


def test_refused_stream_is_told_in_the_line_of_its_request(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_streamproof.registry.registry.limit", 0)
    with caplog.at_level(logging.INFO):
        assert client.get("/measure").status_code == 503
    assert [(record.name, _fields(record)["outcome"]) for record in caplog.records] == [("streams.requests", "refused")]


def test_lines_of_a_stream_carry_the_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = client.get("/measure?rows=2&delay_ms=0", headers={"x-request-id": "edge-2"})
        response.getvalue()
    assert [record.getMessage() for record in caplog.records] == [
        "GET /measure?rows=2&delay_ms=0 200 stream started",
        "GET /measure?rows=2&delay_ms=0 200 stream completed",
    ]
    assert {_fields(record)["request_id"] for record in caplog.records} == {"edge-2"}


@pytest.mark.parametrize(("path", "port"), [("/livez", 80), ("/readyz", 80), ("/metrics", 9000)])
def test_probes_and_scrapes_do_not_flood(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, port: int
) -> None:
    with caplog.at_level(logging.INFO):
        assert client.get(path, SERVER_PORT=str(port)).status_code == 200
    assert caplog.records == []


@pytest.mark.parametrize("sent", ["", "a b", "a\tb", 'a"b', "é", "x" * 101, "\x7f", "{}"])
def test_an_id_that_is_not_sane_is_replaced(client: Client, sent: str) -> None:
    made = client.get("/livez", headers={"x-request-id": sent})["X-Request-ID"]
    assert len(made) == 32
    assert made != client.get("/livez", headers={"x-request-id": sent})["X-Request-ID"]


def test_an_id_is_believed_from_a_trusted_edge_alone(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    asked = {"path": "/nowhere", "headers": {"x-request-id": "edge-1"}}
    with caplog.at_level(logging.INFO):
        made = client.get(**asked, REMOTE_ADDR="10.0.0.7")["X-Request-ID"]
        with override_settings(STREAMPROOF={"TRUSTED_EDGES": ["10.0.0.0/8"]}):
            assert client.get(**asked, REMOTE_ADDR="10.0.0.7")["X-Request-ID"] == "edge-1"
        client.get(**(asked | {"headers": {"x-request-id": "a b"}}), REMOTE_ADDR="10.0.0.7")
    assert len(made) == 32
    ids = [(_fields(record)["request_id"], _fields(record).get("client_request_id")) for record in caplog.records]
    assert ids[:2] == [(made, "edge-1"), ("edge-1", None)]
    assert ids[2][1] is None, "what is not sane is shown nowhere"


TORN = """
import logging, logging.config, os, sys
from django_streamproof import logs
logging.config.dictConfig(logs.config("json", mail=False))
processes = []
for number in range(4):
    if (pid := os.fork()) == 0:
        try:
            for _ in range(100):
                try:
                    raise ValueError("y" * 20_000)
                except ValueError:
                    logging.getLogger("some").exception("x" * 100)
                    logging.getLogger("django.security").warning("short")
        finally:
            os._exit(0)
    processes.append(pid)
for pid in processes:
    os.waitpid(pid, 0)
"""


def test_long_lines_of_several_processes_on_one_pipe_stay_whole() -> None:
    done = subprocess.run([sys.executable, "-c", TORN], capture_output=True, timeout=120)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) == 4 * 100 * 2
    assert max(map(len, done.stderr.splitlines())) > 4096


EDGES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.9,198.51.100.7,10.9.9.9", "198.51.100.7"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "203.0.113.9, <script>", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9,", "10.1.2.3"),
        ("", "198.51.100.7", ""),
    ],
)
def test_client_is_whom_the_last_trusted_edge_was_asked_by(peer: str, said: str | None, client: str) -> None:
    headers = {"x-forwarded-for": said} if said is not None else {}
    assert client_of(RequestFactory(headers=headers).get("/", REMOTE_ADDR=peer), EDGES) == client


@override_settings(STREAMPROOF={"METRICS_PORT": 9100})
def test_metrics_have_a_port_of_their_own_and_nothing_else_is_there(client: Client) -> None:
    own, host = {"SERVER_PORT": "9100"}, {"host": "10.244.0.7:9100"}
    assert b"streams_open" in client.get("/metrics", headers=host, **own).content
    assert client.get("/metrics").status_code == 404
    assert {client.get(path, headers=host, **own).status_code for path in ("/livez", "/", "/measure")} == {404}
    assert client.post("/metrics", headers=host, **own).status_code == 405


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = record.__dict__["fields"]
    return dict(fields)
