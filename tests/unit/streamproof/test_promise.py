import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamproof.promise import Promise, parse_promise

DIGEST = "ab" * 32


def test_reads_every_key():
    value = f"rows=20, bytes=1280, sha256={DIGEST.upper()}, times=zeroed, colour=blue"
    assert parse_promise([("x-stream-promise", value)]) == Promise(20, 1280, DIGEST, True)


@pytest.mark.parametrize(
    ("value", "promise"),
    [("rows=20", Promise(rows=20)), ("times=zeroed", Promise(times_zeroed=True)), ("", Promise()), ("a=b,", Promise())],
)
def test_every_key_is_optional(value, promise):
    assert parse_promise([("X-Stream-Promise", value)]) == promise


def test_there_may_be_none():
    assert parse_promise([("Content-Type", "text/plain")]) is None


def test_a_header_that_occurs_twice_is_one_list():
    assert parse_promise([("X-Stream-Promise", "rows=2"), ("X-Stream-Promise", "bytes=5")]) == Promise(rows=2, bytes=5)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("rows", "'rows' is not a key"),
        ("rows=many", "rows='many' is not a number"),
        ("bytes=-1", "bytes='-1' is not a number"),
        ("bytes=\u0663", "is not a number"),
        ("bytes=" + "9" * 5000, "is not a number"),
        ("sha256=abc", "not 64 hex digits"),
        ("times=raw", "times='raw' is not known"),
        ("rows=1, rows=2", "rows is given twice"),
    ],
)
def test_says_what_it_cannot_read(value, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_promise([("X-Stream-Promise", value)])


@given(st.text())
def test_any_value_is_read_or_complained_about(value):
    try:
        parse_promise([("X-Stream-Promise", value)])
    except ValueError as error:
        assert str(error)
