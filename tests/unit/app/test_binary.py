import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from download import binary
from download.binary import binary_chunks, binary_promise
from hypothesis import given, settings
from hypothesis import strategies as st
from streamproof.promise import Promise, parse_promise


def test_defaults(client: Client) -> None:
    response = client.get("/binary")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Cache-Control"] == "no-store"
    assert "Content-Length" not in response
    assert len(response.getvalue()) == 1 << 20


def test_chunks_are_written_as_asked_for(wsgi: Callable[..., Any]) -> None:
    chunks = wsgi("GET", "/binary?size=1000&chunk_bytes=300").chunks
    assert [len(chunk) for chunk in chunks] == [300, 300, 300, 100]


@settings(max_examples=50)
@given(size=st.one_of(st.integers(1, 300_000), st.integers(1, 5 << 20)), chunk_bytes=st.integers(64, 1 << 20))
def test_body_is_as_promised_however_it_is_cut(size: int, chunk_bytes: int) -> None:
    chunks = list(binary_chunks(size=size, chunk_bytes=max(chunk_bytes, size // 1000)))
    body = b"".join(chunks)
    assert len(body) == size
    assert parse_promise([("X-Stream-Promise", binary_promise(size))]) == Promise(
        bytes=size, sha256=hashlib.sha256(body).hexdigest()
    )


@pytest.mark.parametrize("chunk_bytes", [64, 4096, 65_536, 1 << 20])
def test_no_two_chunks_in_a_row_are_the_same(chunk_bytes: int) -> None:
    chunks = list(binary_chunks(size=chunk_bytes * 60, chunk_bytes=chunk_bytes))
    assert len(set(chunks)) == 60


def test_digest_is_told_in_advance_and_not_computed_twice(client: Client) -> None:
    promised = client.head("/binary?size=8388608")["X-Stream-Promise"]
    states = len(binary._states)
    assert states >= 9
    response = client.get("/binary?size=8388608")
    assert response["X-Stream-Promise"] == promised
    assert promised == f"bytes=8388608, sha256={hashlib.sha256(response.getvalue()).hexdigest()}"
    assert len(binary._states) == states
