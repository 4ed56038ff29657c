from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from download.params import MAX_BYTES, MAX_DURATION_MS, BadParameter, MeasureParams, parse
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("rows", "size", "delay_ms", "fail_after")
NOT_NUMBERS = [
    "", " ", " 5", "5 ", "+5", "-5", "-0", "5.0", "5e0", "1_000", "0x5", "five", "NaN", "inf", "٣", "\uff15", "²",
    "5\n", "\n5", "5\x00", "\x00", "<script>", "9" * 5000, "1" * 7, "0" * 8 + "5", "5,6", "5;6", "\ud800", "🦄",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=ascii)
def test_what_is_not_a_plain_number_is_answered_by_400_and_a_sentence(client: Client, name: str, value: str) -> None:
    _assert_refused(client, f"{name}={quote(value, errors='surrogatepass')}", name)


OUT_OF_RANGE = ["rows=0", "rows=100001", "size=0", "size=31", "size=65537", "delay_ms=60001", "fail_after=100000"]
FAIL_AFTER_ALL_ROWS = ["fail_after=20", "rows=5&fail_after=5", "rows=1&fail_after=1"]


@pytest.mark.parametrize("query", OUT_OF_RANGE + FAIL_AFTER_ALL_ROWS)
def test_out_of_range_is_refused(client: Client, query: str) -> None:
    _assert_refused(client, query, query.rpartition("&")[2].partition("=")[0])


@pytest.mark.parametrize("query", ["rows=100000&size=672&delay_ms=0", "rows=1025&size=65536&delay_ms=0"])
def test_more_than_64_mib_is_refused(client: Client, query: str) -> None:
    _assert_refused(client, query, "rows times size is ")


@pytest.mark.parametrize("query", ["rows=100000&delay_ms=10", "rows=16&delay_ms=60000", "rows=9001"])
def test_more_than_15_minutes_are_refused(client: Client, query: str) -> None:
    _assert_refused(client, query, "rows times delay_ms is ")


@pytest.mark.parametrize("name", ["Rows", "rows ", "", "row", "__class__", "rows\x00", "<b>", "a" * 3000, "数"])
def test_unknown_parameter_is_refused(client: Client, name: str) -> None:
    _assert_refused(
        client, urlencode({name: "5"}), "is not a parameter here, only rows, size, delay_ms, fail_after are"
    )


@pytest.mark.parametrize("name", NAMES)
def test_repeated_parameter_is_refused(client: Client, name: str) -> None:
    _assert_refused(client, f"{name}=5&{name}=5", f"{name} is given 2 times")


def test_more_parameters_than_django_reads_are_refused(client: Client) -> None:
    assert client.get("/measure?" + "a&" * 2000).status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, MeasureParams(rows=20, size=64, delay_ms=100, fail_after=None)),
        ({"rows": "100000", "size": "671", "delay_ms": "0"}, MeasureParams(100_000, 671, 0, None)),
        ({"rows": "1024", "size": "65536", "delay_ms": "0"}, MeasureParams(1024, 65_536, 0, None)),
        ({"rows": "15", "delay_ms": "60000", "fail_after": "14"}, MeasureParams(15, 64, 60_000, 14)),
        ({"rows": "1", "size": "32", "fail_after": "0"}, MeasureParams(1, 32, 100, 0)),
        ({"rows": "007"}, MeasureParams(rows=7)),
    ],
)
def test_limits_themselves_are_allowed(query: dict[str, str], expected: MeasureParams) -> None:
    assert parse((name, [value]) for name, value in query.items()) == expected


values = st.one_of(st.integers(-10, 200_000).map(str), st.text(max_size=12))


@given(st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), st.lists(values, max_size=3)))
def test_whatever_is_accepted_is_within_all_limits(query: dict[str, list[str]]) -> None:
    try:
        params = parse(query.items())
    except BadParameter as refused:
        assert str(refused).isascii()
        assert str(refused).isprintable()
        assert len(str(refused)) < 600
        return
    assert set(query) <= set(NAMES)
    assert params.rows * params.size <= MAX_BYTES
    assert params.rows * params.delay_ms <= MAX_DURATION_MS
    assert 1 <= params.rows <= 100_000
    assert 32 <= params.size <= 65_536
    assert 0 <= params.delay_ms <= 60_000
    assert params.fail_after is None or 0 <= params.fail_after < params.rows


@given(st.binary(max_size=60))
def test_no_query_string_is_answered_by_a_server_error(raw: bytes) -> None:
    response = Client(headers={"host": "localhost"}).generic(
        "HEAD", "/measure", QUERY_STRING=raw.decode("latin-1").replace("\r", "").replace("\n", "")
    )
    assert response.status_code in (200, 400)


def _assert_refused(client: Client, query: str, words: str) -> None:
    response = client.get(f"/measure?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    sentence = response.content.decode("ascii")
    assert words in sentence
    assert sentence.endswith(".\n")
    assert sentence.count("\n") == 1
    assert len(sentence) < 600
