"""STREAMPROOF and the environment on top of it, and what Django's system checks say of them."""

import re
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from django_streamproof import conf

CONF = conf.conf
SECONDS = 'STREAMPROOF["STREAM_SECONDS"]'
FIRST = list(conf.MIDDLEWARE)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("FORWARDED_ALLOW_IPS", "LOG_FORMAT", "STREAM_SECONDS", "STREAMS_PER_WORKER"):
        monkeypatch.delenv(name, raising=False)
    CONF.cache_clear()
    yield
    CONF.cache_clear()


def test_each_key_may_be_left_out() -> None:
    assert (CONF().log_format, CONF().stream_seconds, CONF().streams_per_worker) == ("json", 960, None)
    assert [str(network) for network in CONF().trusted_edges] == ["127.0.0.1/32", "::1/128"]


def test_the_environment_is_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.244.0.0/16, fd00::7")
    monkeypatch.setenv("STREAM_SECONDS", "7")
    with override_settings(STREAMPROOF={"STREAM_SECONDS": 5, "STREAMS_PER_WORKER": 3, "TRUSTED_EDGES": "*"}):
        assert (CONF().stream_seconds, CONF().streams_per_worker) == (7, 3)
        assert [str(network) for network in CONF().trusted_edges] == ["10.244.0.0/16", "fd00::7/128"]


def test_override_settings_holds_for_the_block(client: Client) -> None:
    assert CONF().stream_seconds == 960
    with override_settings(STREAMPROOF={"STREAM_SECONDS": 5}):
        assert CONF().stream_seconds == 5
    assert CONF().stream_seconds == 960


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_FORMAT", value) for value in ("", "JSON", "xml")]
    + [("STREAM_SECONDS", value) for value in ("", "0", "-1", "1.5", "86401", "\u0663", "1" * 5000)]
    + [("STREAMS_PER_WORKER", value) for value in ("", "0", "-1", "1.5", "100001", "many", "\u0663", "9" * 5000)]
    + [("FORWARDED_ALLOW_IPS", value) for value in ("", "edge", "10.0.0.1,", "10.0.0.1/8", "*,10.0.0.1")],
)
def test_a_wrong_variable_is_one_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is .*\.$"):
        CONF()
    assert len(run_checks()) == 1


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ([], "STREAMPROOF is [], but must be a dict."),
        ({"STREAM_SECOND": 5}, "STREAMPROOF has an unknown key 'STREAM_SECOND': did you mean 'STREAM_SECONDS'?"),
        ({"stream_seconds": 5}, "STREAMPROOF has an unknown key 'stream_seconds': did you mean 'STREAM_SECONDS'?"),
        (
            {1: 5},
            "STREAMPROOF has an unknown key 1: its keys are LOG_FORMAT, METRICS_PORT, STREAM_SECONDS, "
            "STREAMS_PER_WORKER, TRUSTED_EDGES.",
        ),
        (
            {"STREAM_SECONDS": "5"},
            "STREAMPROOF[\"STREAM_SECONDS\"] is '5', but must be a whole number from 1 to 86400.",
        ),
        (
            {"STREAM_SECONDS": True},
            'STREAMPROOF["STREAM_SECONDS"] is True, but must be a whole number from 1 to 86400.',
        ),
        (
            {"STREAM_SECONDS": None},
            'STREAMPROOF["STREAM_SECONDS"] is None, but must be a whole number from 1 to 86400.',
        ),
        (
            {"STREAMS_PER_WORKER": 0},
            'STREAMPROOF["STREAMS_PER_WORKER"] is 0, but must be a whole number from 1 to 100000.',
        ),
        ({"LOG_FORMAT": "xml"}, "STREAMPROOF[\"LOG_FORMAT\"] is 'xml', but must be json or text."),
        (
            {"TRUSTED_EDGES": "10.0.0.1"},
            "STREAMPROOF[\"TRUSTED_EDGES\"] is '10.0.0.1', but must be addresses and networks, or *: it is no list.",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting: object, sentence: str) -> None:
    with override_settings(STREAMPROOF=setting):
        with pytest.raises(ImproperlyConfigured, match=f"^{re.escape(sentence)}$"):
            CONF()
        assert [(each.id, each.msg) for each in run_checks()] == [("django_streamproof.E001", sentence)]


GZIP = "django.middleware.gzip.GZipMiddleware"


@pytest.mark.parametrize(
    ("middleware", "sentence"),
    [
        ([*FIRST, GZIP], None),
        (["sentry.middleware.Sentry", *FIRST], None),
        ([FIRST[1]], None),
        ([FIRST[1], FIRST[0]], f"MIDDLEWARE has {FIRST[1]} before {FIRST[0]}: it must come after it."),
        ([*FIRST[1:], FIRST[1]], f"MIDDLEWARE has {FIRST[3]} before {FIRST[1]}: it must come after it."),
        ([FIRST[0], FIRST[0]], f"MIDDLEWARE has {FIRST[0]} before {FIRST[0]}: it must come after it."),
        ([GZIP, FIRST[1]], f"MIDDLEWARE has {GZIP} before {FIRST[1]}: those of django_streamproof must come first."),
    ],
)
def test_middleware_in_the_wrong_order_is_one_sentence(middleware: list[str], sentence: str | None) -> None:
    with override_settings(MIDDLEWARE=middleware):
        told = [(each.id, each.msg) for each in run_checks()]
    assert told == ([("django_streamproof.E002", sentence)] if sentence else [])
