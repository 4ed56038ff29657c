"""On what the workers refuse to run."""

import subprocess
import sys

import pytest
from django_streamproof import support
from gunicorn.asgi.protocol import ASGIProtocol


@pytest.mark.parametrize("version", [(3, 13, 0), (3, 13, 1)])
def test_asgi_is_refused_on_a_python_without_backpressure(version: tuple[int, ...]) -> None:
    with pytest.raises(ImportError, match=r"^Python 3.13.[0-9] has no backpressure .*CVE-2024-12254.*\.$"):
        support.check_backpressure(version)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 2), (3, 13, 15)])
def test_asgi_runs_on_the_others(version: tuple[int, ...]) -> None:
    support.check_backpressure(version)


@pytest.mark.parametrize("version", ["23.0.0", "26.1.2", "27.0.0", "27.1.0", "28.0.0"])
def test_a_gunicorn_that_is_not_tested_is_refused(version: str) -> None:
    sentence = rf"^gunicorn {version} is not supported by django-streamproof: install gunicorn~=27\.0\.1\.$"
    with pytest.raises(ImportError, match=sentence):
        support.check_versions(of_gunicorn=version)


@pytest.mark.parametrize(
    ("name", "version"), [("python", (3, 12, 9)), ("python", (3, 14, 0)), ("of_django", (6, 0, 9))]
)
def test_a_python_or_a_django_that_is_not_tested_is_refused(name: str, version: tuple[int, ...]) -> None:
    sentence = r"^(Python|Django) [0-9.]+ is not supported by django-streamproof: use [0-9.]+ or [0-9.]+\.$"
    with pytest.raises(ImportError, match=sentence):
        support.check_versions(**{name: version})  # type: ignore[arg-type]


def test_another_version_is_refused_at_import() -> None:
    code = "import django; django.VERSION = (4, 2, 0, 'final', 0); import django_streamproof.batching"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Django 4.2.0 is not supported by django-streamproof: use 5.2 or 6.1." in done.stderr


def test_this_gunicorn_has_all_private_names() -> None:
    support.check_versions()
    support.check_names()


@pytest.mark.parametrize("name", ["_send_body", "_safe_write"])
def test_a_private_name_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(ASGIProtocol, name)
    with pytest.raises(ImportError, match=rf"^gunicorn has no ASGIProtocol\.{name}"):
        support.check_names()


def test_a_class_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gunicorn.arbiter.Arbiter")
    with pytest.raises(ImportError, match=r"^gunicorn has no gunicorn\.arbiter\.Arbiter, which"):
        support.check_names()


def test_an_attribute_that_is_no_longer_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ASGIProtocol, "__init__", lambda self, worker: None)
    with pytest.raises(ImportError, match=r"^gunicorn has no ASGIProtocol\.worker"):
        support.check_names()
