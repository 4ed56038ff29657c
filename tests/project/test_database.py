"""Logins, transactions and the ORM on PostgreSQL, which has fewer connections than there are streams."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.local.service import Service, until
from tests.project.conftest import FORM, Start, ask, connect, login

STREAMS = 4
JSON = {"Content_Type": "application/json"}


def count(database: Path) -> int:
    with connect(database) as connection:
        (number,) = connection.execute("select count(*) from ordinary_order").fetchone() or ()
        return int(number)


@contextlib.contextmanager
def all_slots(service: Service, path: str = "/rows?rows=600&delay=0.1", **headers: str) -> Iterator[None]:
    """Have as many streams open as there may be, each with its first row."""
    with contextlib.ExitStack() as stack:
        for _ in range(STREAMS):
            connection, response = service.open(path, **headers)
            stack.callback(connection.close)
            stack.callback(response.close)
            assert response.readline()
        yield
    until(lambda: service.metric("streams_open") == 0)


def test_people_log_in_and_write_in_the_admin(service: Service, database: Path) -> None:
    assert service.get("/admin/ordinary/order/")[0] == 302
    person = login(service)
    before = count(database)
    form = urlencode({"customer": "grace", "_save": "Save"})
    assert ask(service.port, "POST", "/admin/ordinary/order/add/", form, Content_Type=FORM, **person)[0] == 302
    assert count(database) == before + 1
    status, page = ask(service.port, "GET", "/admin/ordinary/order/", **person)
    assert status == 200
    assert b"Select order to change" in page
    assert ask(service.port, "POST", "/admin/logout/", "", **person)[0] == 200
    assert service.get("/admin/ordinary/order/", Cookie=person["Cookie"])[0] == 302


@pytest.mark.parametrize("path", ["/private?rows=600&delay=0.1", "/polled?rows=300"])
def test_open_streams_hold_no_connection_to_the_database(service: Service, path: str) -> None:
    person = login(service)
    before = int(service.get("/threads")[1])
    with all_slots(service, path, Cookie=person["Cookie"]):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(service.port, "GET", "/admin/", **person)[0], range(8)))
        assert answers == [200] * 8, "people find one"
        if service.worker_class == "asgi" and "private" in path:
            # Nor a thread.
            until(lambda: int(service.get("/threads")[1]) < before + STREAMS)


def test_a_stream_of_rows_is_read_from_the_database_as_it_is_sent(service: Service, database: Path) -> None:
    with connect(database) as connection:
        connection.execute("insert into ordinary_order (customer) select 'c' || n from generate_series(1, 5000) n")
        connection.execute("commit")
    status, text = service.get("/exported", timeout=30)
    assert status == 200
    assert text.count("\n") == count(database)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: service.get("/exported", timeout=30), range(2)))
    assert both == [(200, text)] * 2
    assert service.get("/orders") == (200, str(count(database)))


def test_a_stream_that_is_refused_or_breaks_leaves_no_row_and_no_connection(service: Service, database: Path) -> None:
    person = login(service)
    before = count(database)
    order = json.dumps({"customer": "ada"})
    with all_slots(service):
        assert ask(service.port, "POST", "/marked-order", "customer=ada", Content_Type=FORM)[0] == 503
        assert ask(service.port, "POST", "/rest/export", order, **JSON, **person)[0] == 503
        assert ask(service.port, "POST", "/ninja/export", order, **JSON)[0] == 503
    assert count(database) == before
    assert not [line for line in service.lines if "has run before its stream was refused" in line["message"]]
    for _ in range(3):
        connection, response = service.open("/exported")
        response.read(10)
        response.close()
        connection.close()
    until(lambda: service.metric("streams_open") == 0)
    assert service.get("/orders") == (200, str(before))


def test_rest_framework_reads_writes_and_streams(service: Service, database: Path) -> None:
    person = login(service)
    before = count(database)
    assert ask(service.port, "GET", "/rest/orders")[0] == 403
    status, made = ask(service.port, "POST", "/rest/orders", json.dumps({"customer": "rest"}), **JSON, **person)
    assert (status, json.loads(made)["customer"]) == (201, "rest")
    assert ask(service.port, "POST", "/rest/orders", "{", **JSON, **person)[0] == 400
    status, listed = ask(service.port, "GET", "/rest/orders", **person)
    assert len(json.loads(listed)) == before + 1
    status, streamed = ask(service.port, "POST", "/rest/export", json.dumps({"customer": "rest"}), **JSON, **person)
    assert (status, streamed.count(b"\n")) == (200, before + 2)


def test_ninja_reads_writes_and_streams(service: Service, database: Path) -> None:
    before = count(database)
    assert ask(service.port, "POST", "/ninja/orders", json.dumps({"customer": "ninja"}), **JSON)[0] == 200
    assert ask(service.port, "POST", "/ninja/orders", "{}", **JSON)[0] == 422
    assert json.loads(service.get("/ninja/orders")[1]) == {"count": before + 1}
    status, streamed = ask(service.port, "POST", "/ninja/export", json.dumps({"customer": "ninja"}), **JSON)
    assert (status, streamed.count(b"\n")) == (200, before + 2)


def test_asynchronous_views_share_the_pool(start: Start, database: Path) -> None:
    service = start(worker="asgi", streams=STREAMS)
    with all_slots(service), ThreadPoolExecutor(12) as pool:
        gate = threading.Barrier(12)

        def at_once(_: int) -> int:
            gate.wait(30)
            return service.get("/orders", timeout=30)[0]

        assert list(pool.map(at_once, range(12))) == [200] * 12
