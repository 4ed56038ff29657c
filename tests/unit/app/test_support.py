"""On what the workers refuse to run."""

import gunicorn
import pytest
from django_streamproof import support
from gunicorn.asgi.protocol import ASGIProtocol


@pytest.mark.parametrize("version", [(3, 12, 0), (3, 12, 8), (3, 13, 0), (3, 13, 1)])
def test_asgi_is_refused_on_a_python_without_backpressure(version: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match=r"^Python 3.1[23].[0-9] has no backpressure .*CVE-2024-12254.*\.$"):
        support.check_backpressure(version)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 2), (3, 14, 0)])
def test_asgi_runs_on_the_others(version: tuple[int, ...]) -> None:
    support.check_backpressure(version)


@pytest.mark.parametrize("version", ["23.0.0", "26.1.2", "27.1.0", "28.0.0"])
def test_a_gunicorn_that_is_not_tested_is_refused(version: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^gunicorn {version} is not supported: install gunicorn~=27\.0\.1\.$"):
        support.check_gunicorn(version)


def test_this_gunicorn_has_all_private_names() -> None:
    support.check_gunicorn(gunicorn.__version__)
    support.check_names()


@pytest.mark.parametrize("name", ["_send_body", "_safe_write"])
def test_a_private_name_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(ASGIProtocol, name)
    with pytest.raises(RuntimeError, match=rf"^gunicorn has no ASGIProtocol\.{name}"):
        support.check_names()


def test_an_attribute_that_is_no_longer_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ASGIProtocol, "__init__", lambda self, worker: None)
    with pytest.raises(RuntimeError, match=r"^gunicorn has no ASGIProtocol\.worker"):
        support.check_names()
