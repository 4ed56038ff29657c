from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from download import views

BODY = b"One,Two,Three\r\n" + b"".join(b"Hello,world,%d\r\n" % number for number in range(1, 100))


@pytest.mark.parametrize("path", ["/download_csv", "/download_csv_streaming"])
def test_bytes_and_headers_are_those_of_streaming_django(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.getvalue() == BODY
    assert response["Content-Type"] == "text/csv"
    assert response["Content-Disposition"] == "attachment; filename=big.csv"


def test_plain_csv_says_its_length(client: Client) -> None:
    assert client.get("/download_csv")["Content-Length"] == str(len(BODY))


def test_length_counts_bytes_and_not_characters(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "csv_rows", lambda: iter(["häßlich\r\n"]))
    response = client.get("/download_csv")
    assert response["Content-Length"] == str(len(response.content)) == "11"


def test_streamed_csv_is_one_write_for_each_row(wsgi: Callable[..., Any]) -> None:
    answer = wsgi("GET", "/download_csv_streaming")
    assert answer.chunks == BODY.splitlines(keepends=True)
    assert "Content-Length" not in answer.headers


def test_streamed_csv_is_produced_only_when_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    produced = []

    def rows() -> Iterator[str]:
        for number in range(3):
            produced.append(number)
            yield f"{number}\r\n"

    monkeypatch.setattr(views, "csv_rows", rows)
    stream = iter(client.get("/download_csv_streaming").streaming_content)
    assert produced == []
    assert next(stream) == b"0\r\n"
    assert produced == [0]
