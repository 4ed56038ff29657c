import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from tests.endpoints import DOWNLOADS, PAGE, PROBES

APP = Path(__file__).parents[3] / "app"
NAMES = (
    "DJANGO_ALLOWED_HOSTS",
    "DJANGO_DEBUG",
    "DJANGO_SECRET_KEY",
)


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("host", ["localhost", "10.244.0.7:8000", "[fd00::7]:8000", "not a host"])
def test_probes_are_answered_whatever_the_host_is(client: Client, path: str, host: str) -> None:
    response = client.get(path, headers={"host": host})
    assert (response.status_code, response.content) == (200, b"ok\n")


@pytest.mark.parametrize("path", [*PAGE, *DOWNLOADS, "/nowhere"])
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


@pytest.mark.parametrize("worker", ["gthread", "asgi"])
def test_manage_check_deploy_is_clean_but_for_what_the_edge_does(worker: str) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(
        command, cwd=APP, env=env | {"WORKER_CLASS": worker}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (2 silenced).\n"), done.stderr


def _settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(APP / "streaming" / "settings.py"))
