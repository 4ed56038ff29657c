"""What the client says of a stream, for each way in which one can end."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import time

import pytest
from faults.client import Account, Load, follow

ROWS = 6
ZEROED = "0000000000.000000000"


def row(number: int, when: str = "1700000000.123456789") -> bytes:
    return f"{number:08d} {when} filler-{number}\n".encode()


BODY = [row(number) for number in range(1, ROWS + 1)]
DIGEST = hashlib.sha256(b"".join(row(number, ZEROED) for number in range(1, ROWS + 1))).hexdigest()
PROMISE = f"X-Stream-Promise: rows={ROWS}, bytes={len(b''.join(BODY))}, sha256={DIGEST}, times=zeroed\r\n".encode()
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + PROMISE + b"\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


LAST = b"0\r\n\r\n"
RESET, STALL = "reset", "stall"


def ask(*script: bytes | str) -> Account:
    """Return the account of a stream from a server that sends these bytes, and then closes, resets or stalls."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in script:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.02)
            elif part == RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                await asyncio.sleep(60)
        writer.transport.abort() if RESET in script else writer.close()

    async def both() -> Account:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        account = Account(0, "any.test", "one", time.monotonic())
        await follow(account, server.sockets[0].getsockname(), "/measure", silence=2)
        server.close()
        return account

    return asyncio.run(both())


def test_a_stream_is_completed_where_framing_count_and_digest_are_right() -> None:
    account = ask(HEAD, chunked(*BODY), LAST)
    assert (account.outcome, account.how, account.rows) == ("completed", "", ROWS)


def test_where_rows_are_cut_into_chunks_does_not_matter() -> None:
    body = b"".join(BODY)
    assert ask(HEAD, chunked(body[:7], body[7:100], body[100:]), LAST).outcome == "completed"


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ((HEAD, chunked(*BODY[:3])), "no terminating chunk"),
        ((HEAD, chunked(*BODY)), "no terminating chunk"),
        ((HEAD, chunked(*BODY[:3]), RESET), "ConnectionResetError"),
        ((HEAD, chunked(*BODY[:3]), STALL), "silent for 2 s"),
        ((HEAD, chunked(*BODY[:3]), LAST), "too few rows, and the framing called it complete"),
        ((HEAD, LAST), "too few rows, and the framing called it complete"),
    ],
)
def test_a_part_of_a_stream_is_truncated(script: tuple[bytes | str, ...], how: str) -> None:
    account = ask(*script)
    assert (account.outcome, account.how) == ("truncated", how)


@pytest.mark.parametrize(
    "body",
    [
        [*BODY[:2], *BODY[3:], BODY[2]],
        [*BODY, row(ROWS + 1)],
        [*BODY[:5], BODY[5].replace(b"filler", b"killer")],
        [*BODY[:2], *BODY[3:]],
    ],
    ids=["in another order", "one more", "another filler", "one missing in the middle"],
)
def test_rows_that_were_not_promised_are_wrong(body: list[bytes]) -> None:
    assert ask(HEAD, chunked(*body), LAST).outcome == "wrong"


def test_a_stream_without_a_promise_is_wrong() -> None:
    assert ask(HEAD.replace(PROMISE, b""), chunked(*BODY), LAST).outcome == "wrong"


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ((b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n",), "503"),
        ((), "closed before the answer"),
        ((HEAD[:20],), "closed before the answer"),
        ((RESET,), "closed before the answer"),
        ((STALL,), "closed before the answer"),
    ],
)
def test_no_stream_is_refused(script: tuple[bytes | str, ...], how: str) -> None:
    account = ask(*script)
    assert (account.outcome, account.how) == ("refused", how)


def test_a_port_where_nobody_listens_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        account = Account(0, "any.test", "one", time.monotonic())
        asyncio.run(follow(account, taken.getsockname(), "/measure"))
    assert (account.outcome, account.how) == ("refused", "connect: ConnectionRefusedError")


def test_a_load_begins_a_stream_where_one_has_ended_and_accounts_for_all() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + chunked(*BODY))
        await asyncio.sleep(0.1)
        writer.write(LAST)
        writer.close()

    async def run() -> Load:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        load = Load(server.sockets[0].getsockname()[1], ("a.test", "b.test"), iter([5] * 1000), lanes=4)
        load.start()
        async with asyncio.timeout(60):
            while len({account.lane for account in load.accounts}) < 4 or len(load.accounts) <= 8 or not load.open():
                await asyncio.sleep(0.01)
        await load.finish()
        server.close()
        return load

    load = asyncio.run(run())
    assert {account.outcome for account in load.accounts} == {"completed"}
    assert len(load.accounts) > 8
    assert load.open() == 0
    assert {(account.lane, account.host) for account in load.accounts} == {
        (0, "a.test"),
        (1, "b.test"),
        (2, "a.test"),
        (3, "b.test"),
    }
