"""The page's files, as a browser is sent them. What it shows is tested in one: tests/local/test_page.py."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

FILES = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}


@pytest.mark.parametrize("path", FILES)
def test_browser_asks_each_time_and_is_sent_the_file_once(client: Client, path: str) -> None:
    first = client.get(path)
    assert first.status_code == 200
    assert first["Content-Type"] == f"{FILES[path]}; charset=utf-8"
    assert first["Cache-Control"] == "no-cache"
    assert first.content
    again = client.get(path, headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"if-none-match": '"another"'}).content == first.content


@pytest.mark.parametrize("path", FILES)
def test_head_is_answered_with_the_header_alone(wsgi: Callable[..., Any], path: str) -> None:
    get, head = wsgi("GET", path), wsgi("HEAD", path)
    assert (head.status, head.headers) == (get.status, get.headers)
    assert b"".join(head.chunks) == b""
    assert int(head.headers["Content-Length"]) == len(b"".join(get.chunks)) > 0


@pytest.mark.parametrize("path", FILES)
def test_other_methods_are_refused(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_policy_allows_nothing_but_this_origin(client: Client) -> None:
    policy = dict(part.split(" ", 1) for part in client.get("/")["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}


def test_page_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/")
    assert [record.getMessage() for record in caplog.records] == ["GET / 200"]
