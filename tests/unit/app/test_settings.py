import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from download.rows import SourceBroke

APP = Path(__file__).parents[3] / "app"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("host", ["localhost", "10.244.0.7:8000", "[fd00::7]:8000", "not a host"])
def test_probes_are_answered_whatever_the_host_is(client: Client, path: str, host: str) -> None:
    response = client.get(path, headers={"host": host})
    assert (response.status_code, response.content) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/measure", "/download_csv", "/download_csv_streaming", "/nowhere"])
def test_allowed_hosts_are_enforced_elsewhere(client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "10.244.0.7:8000"}).status_code == 400


def test_defaults_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(monkeypatch)
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert len(settings["SECRET_KEY"]) >= 50
    assert settings["SECRET_KEY"] != _settings(monkeypatch)["SECRET_KEY"]


def test_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(
        monkeypatch,
        DJANGO_DEBUG="True",
        DJANGO_ALLOWED_HOSTS="stream.example.com, .example.org,10.0.0.1,*",
        DJANGO_SECRET_KEY="not so random",  # noqa: S106
    )
    assert settings["DEBUG"] is True
    assert settings["ALLOWED_HOSTS"] == ["stream.example.com", ".example.org", "10.0.0.1", "*"]
    assert settings["SECRET_KEY"] == "not so random"  # noqa: S105


@pytest.mark.parametrize(
    ("name", "value"),
    [("DJANGO_DEBUG", value) for value in ("", "yes", "off", "2", " true")]
    + [
        ("DJANGO_ALLOWED_HOSTS", value)
        for value in ("", ",", "a,,b", "http://a", "a:80", "a b", "a/b", "*.example.com", "a..b", "::1")
    ]
    + [("DJANGO_SECRET_KEY", "")],
)
def test_a_wrong_value_stops_the_start_with_a_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} .*\.$"):
        _settings(monkeypatch, **{name: value})


def test_manage_check_is_clean() -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=APP, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (0 silenced).\n")


def test_a_stream_broken_on_purpose_is_logged_in_one_line() -> None:
    import streaming.wsgi  # noqa: F401

    record = _logged(SourceBroke("the stream broke off after 6 of 12 rows"))
    assert record.getMessage() == "Error handling request: the stream broke off after 6 of 12 rows"
    assert record.exc_info is None
    assert _logged(ValueError("a real one")).exc_info, "any other error keeps its traceback"


def _logged(error: Exception) -> logging.LogRecord:
    logger = logging.getLogger("gunicorn.error")
    record = logger.makeRecord(
        logger.name, logging.ERROR, __file__, 1, "Error handling request", (), (type(error), error, None)
    )
    assert logger.filter(record)
    return record


def _settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name in ("DJANGO_DEBUG", "DJANGO_ALLOWED_HOSTS", "DJANGO_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(APP / "streaming" / "settings.py"))
