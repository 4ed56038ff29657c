from dataclasses import asdict, fields
from unittest.mock import patch
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from download.formats import FORMATS, Format
from download.params import BadParameter, MeasureParams, parse
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoints import DOWNLOADS, PARAMETERS

NAMES = ("rows", "size", "delay_ms", "fail_after")
NOT_NUMBERS = [
    "", " ", " 5", "5 ", "+5", "-5", "-0", "5.0", "5e0", "1_000", "0x5", "five", "NaN", "inf", "٣", "\uff15", "²",
    "5\n", "\n5", "5\x00", "\x00", "<script>", "9" * 5000, "1" * 7, "0" * 8 + "5", "5,6", "5;6", "\ud800", "🦄",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=ascii)
def test_what_is_not_a_plain_number_is_answered_by_400_and_a_sentence(client: Client, name: str, value: str) -> None:
    _assert_refused(client, f"{name}={quote(value, errors='surrogatepass')}", name)


OUT_OF_RANGE = ["rows=0", "rows=100001", "size=0", "size=31", "size=65537", "delay_ms=300001", "fail_after=100000"]
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
        client, urlencode({name: "5"}), "is not a parameter here, only rows, size, delay_ms, fail_after, format, "
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
    assert parse(MeasureParams, ((name, [value]) for name, value in query.items())) == expected


values = st.one_of(st.integers(-10, 200_000).map(str), st.text(max_size=12))


@given(st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), st.lists(values, max_size=3)))
def test_whatever_is_accepted_is_within_all_limits(query: dict[str, list[str]]) -> None:
    try:
        params = parse(MeasureParams, query.items())
    except BadParameter as refused:
        assert str(refused).isascii()
        assert str(refused).isprintable()
        assert len(str(refused)) < 600
        return
    assert set(query) <= set(NAMES)
    assert params.rows * params.size <= 64 << 20
    assert params.rows * params.delay_ms <= 15 * 60_000
    assert 1 <= params.rows <= 100_000
    assert 32 <= params.size <= 65_536
    assert 0 <= params.delay_ms <= 300_000
    assert params.fail_after is None or 0 <= params.fail_after < params.rows


BOUNDS = [
    ("/download_csv", "rows", 1, 100_000),
    ("/download_csv", "delay_ms", 0, 60_000),
    ("/download_csv_streaming", "rows", 1, 10_000_000),
    ("/download_csv_streaming", "delay_ms", 0, 60_000),
    ("/measure", "rows", 1, 100_000),
    ("/measure", "size", 32, 65_536),
    ("/measure", "delay_ms", 0, 300_000),
    ("/measure", "fail_after", 0, 99_999),
    ("/measure", "heartbeat_ms", 0, 60_000),
    ("/binary", "size", 1, 4_294_967_296),
    ("/binary", "chunk_bytes", 64, 1_048_576),
]
# What leaves a bound alone to decide.
BESIDE = {
    "rows": {"delay_ms": "0"},
    "delay_ms": {"rows": "1"},
    "fail_after": {"rows": "100000", "delay_ms": "0"},
    "heartbeat_ms": {"format": "sse"},
}


@pytest.mark.parametrize(("path", "name", "lowest", "highest"), BOUNDS)
def test_each_bound_is_accepted_and_what_is_beyond_it_is_refused(
    path: str, name: str, lowest: int, highest: int
) -> None:
    def asked(value: int) -> object:
        beside = {**BESIDE.get(name, {}), name: str(value)}
        if path == "/measure" and name == "rows":
            beside["size"] = "32"
        return getattr(parse(DOWNLOADS[path], ((each, [text]) for each, text in beside.items())), name)

    assert [asked(lowest), asked(highest)] == [lowest, highest]
    for beyond in (lowest - 1, highest + 1):
        with pytest.raises(BadParameter, match=f"^{name} is "):
            asked(beyond)


def test_the_bounds_are_of_all_numbers() -> None:
    numbers = {(path, one.name) for path, kind in DOWNLOADS.items() for one in fields(kind) if "int" in str(one.type)}
    assert numbers == {(path, name) for path, name, _, _ in BOUNDS}


# Around every bound, and each of the words.
TELLING = sorted(
    {str(edge + step) for _, _, *edges in BOUNDS for edge in edges for step in (-1, 0, 1)}
    | {"row", "batch", "text", "sse", "ndjson", "no", "yes", "100", "1000"}
)
queries = st.one_of(
    st.dictionaries(
        st.sampled_from(PARAMETERS), st.one_of(st.sampled_from(TELLING), st.text(max_size=8)), max_size=5
    ).map(urlencode),
    st.binary(max_size=60).map(lambda raw: raw.decode("latin-1").replace("\r", "").replace("\n", "")),
)


@pytest.mark.parametrize("path", [path for path in DOWNLOADS if path != "/download_csv"])
@given(query=queries)
def test_no_query_string_is_answered_by_a_server_error(path: str, query: str) -> None:
    response = Client(headers={"host": "localhost"}).generic("HEAD", path, QUERY_STRING=query)
    assert response.status_code in (200, 400)


@given(query=queries)
def test_no_query_string_for_the_plain_csv_is_answered_by_a_server_error(query: str) -> None:
    # This one is made before its header is known, so all waiting is left out.
    with patch("time.sleep"):
        response = Client(headers={"host": "localhost"}).get("/download_csv", QUERY_STRING=query)
    assert response.status_code in (200, 400)
    assert len(response.content) <= 2 << 20


@pytest.mark.parametrize("path", DOWNLOADS)
@given(st.dictionaries(st.sampled_from(PARAMETERS), st.sampled_from(TELLING), max_size=6))
def test_whatever_any_view_accepts_is_bounded(path: str, query: dict[str, str]) -> None:
    try:
        params = parse(DOWNLOADS[path], ((name, [value]) for name, value in query.items()))
    except BadParameter as refused:
        assert str(refused).isascii()
        assert str(refused).endswith(".")
        return
    asked = asdict(params)
    assert asked.get("rows", 0) * asked.get("delay_ms", 0) <= 15 * 60_000
    if path == "/download_csv":
        assert asked["rows"] <= 100_000
        assert asked["rows"] * asked["delay_ms"] <= 120_000
    if path == "/measure":
        assert asked["rows"] * asked["size"] <= 64 << 20
        if asked["heartbeat_ms"]:
            # So at most 9000 of them.
            assert asked["heartbeat_ms"] >= 100
            assert asked["format"] == "sse"
    if path == "/binary":
        assert asked["size"] <= 4 << 30
        assert 64 <= asked["chunk_bytes"] <= 1 << 20


@pytest.mark.parametrize("form", FORMATS.values())
@pytest.mark.parametrize("number", [1, 100_000])
def test_what_a_format_puts_around_a_row_is_less_than_64_bytes(form: Format, number: int) -> None:
    assert len(form.row(number, b"0000000000.000000000", b"x")) < 32 + 64


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/download_csv?rows=100001", "rows is '100001', but must be a whole number from 1 to 100000"),
        ("/download_csv?rows=3&delay_ms=60000", "must be at most 120000 ms (2 minutes)"),
        ("/download_csv?chunk=batch", "'chunk' is not a parameter here, only rows, delay_ms are."),
        ("/download_csv?accel_buffering=no", "'accel_buffering' is not a parameter here"),
        ("/download_csv_streaming?rows=10000001", "rows is '10000001'"),
        ("/download_csv_streaming?rows=16&delay_ms=60000", "must be at most 900000 ms (15 minutes)"),
        ("/download_csv_streaming?chunk=rows", "chunk is 'rows', but must be row or batch."),
        ("/download_csv_streaming?accel_buffering=yes", "accel_buffering is 'yes', but must be no."),
        ("/measure?format=json", "format is 'json', but must be text or sse or ndjson."),
        ("/measure?format=", "format is '', but must be"),
        ("/measure?format=sse&format=sse", "format is given 2 times"),
        ("/measure?heartbeat_ms=1000", "heartbeat_ms is only for format=sse, and not for format=text."),
        ("/measure?format=sse&heartbeat_ms=99", "heartbeat_ms is 99, but must be 0 for none, or at least 100."),
        ("/measure?chunk=batch", "'chunk' is not a parameter here"),
        ("/binary?size=0", "size is '0', but must be a whole number from 1 to 4294967296"),
        ("/binary?size=4294967297", "size is '4294967297'"),
        ("/binary?chunk_bytes=63", "chunk_bytes is '63', but must be a whole number from 64 to 1048576"),
        ("/binary?chunk_bytes=1048577", "chunk_bytes is '1048577'"),
        ("/binary?rows=5", "'rows' is not a parameter here, only size, chunk_bytes, accel_buffering are."),
    ],
)
def test_each_view_refuses_what_is_not_for_it(client: Client, url: str, words: str) -> None:
    response = client.get(url)
    assert response.status_code == 400
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert words in response.content.decode("ascii")
    assert response.content.endswith(b".\n")


@pytest.mark.parametrize("path", ["/download_csv_streaming", "/measure", "/measure?format=sse", "/binary"])
def test_the_edge_is_told_not_to_buffer_only_where_asked(client: Client, path: str) -> None:
    assert "X-Accel-Buffering" not in client.head(path)
    assert client.head(f"{path}{'&' if '?' in path else '?'}accel_buffering=no")["X-Accel-Buffering"] == "no"


def _assert_refused(client: Client, query: str, words: str) -> None:
    response = client.get(f"/measure?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    sentence = response.content.decode("ascii")
    assert words in sentence
    assert sentence.endswith(".\n")
    assert sentence.count("\n") == 1
    assert len(sentence) < 600
