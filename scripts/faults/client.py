"""A well-behaved client of the measuring stream: what became of each stream that it asked for."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import h11
from cluster.run import Trouble
from streamproof.promise import Promise, parse_promise

Outcome = Literal["completed", "truncated", "refused", "wrong"]

# Without a byte for so long, where a row comes each second: whoever cut the stream did not say so.
SILENCE = 30.0
_CONNECT = 10.0
# A refused client asks again, but not at once.
_PATIENCE = 0.5


@dataclass
class Account:
    """What became of one stream. Times are by the monotonic clock.

    Attributes:
        lane: the place among those that are open at a time.
        host: the Ingress that was asked.
        identity: sent as X-Request-ID, and so in the app's log.
        began: when it was asked for.
        ended: when its outcome was known.
        rows: how many came whole.
        promised: how many were to come; 0 while there is no answer.
        outcome: completed: the framing, the count and the digest are right. truncated: a part came. refused: no
            stream began. wrong: rows that were not promised. None while it is open.
        how: the end as the client saw it, where it was not completed.
        longest_wait: the most seconds from one part of the body to the next.
    """

    lane: int
    host: str
    identity: str
    began: float
    ended: float = 0.0
    rows: int = 0
    promised: int = 0
    outcome: Outcome | None = None
    how: str = ""
    longest_wait: float = 0.0

    def end(self, outcome: Outcome, how: str = "") -> None:
        """Close the account."""
        self.outcome, self.how, self.ended = outcome, how, time.monotonic()


class Rows:
    """Checks rows as they arrive: their numbers one by one, and at the end their count and digest.

    The form of a row and of its promise is in `streamproof.promise`.
    """

    def __init__(self, promise: Promise) -> None:
        """Expect what was promised."""
        self.count = 0
        self.promised = promise.rows or 0
        self._promise = promise
        self._rest = b""
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._in_order = True

    def feed(self, data: bytes) -> None:
        """Take a part of the body, cut anywhere."""
        self._bytes += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.count += 1
            self._in_order &= line.startswith(b"%08d " % self.count)
            self._digest.update(line[:9] + b"0000000000.000000000" + line[29:] + b"\n")

    def verdict(self, framing: str) -> tuple[Outcome, str]:
        """Tell what came.

        Args:
            framing: how the response broke off; empty if its framing says that it is complete.
        """
        promise = self._promise
        if not self._in_order or self.count > self.promised:
            return "wrong", "rows that were not promised"
        if framing:
            return "truncated", framing
        if self.count < self.promised:
            return "truncated", "too few rows, and the framing called it complete"
        if (self._bytes, self._digest.hexdigest()) != (promise.bytes, promise.sha256):
            return "wrong", "count right, bytes or digest not"
        return "completed", ""


async def follow(account: Account, address: tuple[str, int], path: str, silence: float = SILENCE) -> None:
    """Ask for a stream, read it to its end whatever that is, and close its account."""
    try:
        async with asyncio.timeout(_CONNECT):
            reader, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError) as error:
        account.end("refused", f"connect: {type(error).__name__}")
        return
    try:
        await _read(account, reader, writer, path, silence)
    finally:
        # At once: what is left in a socket is of no interest, and to wait for its end may take long.
        writer.transport.abort()


async def _read(
    account: Account, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, silence: float
) -> None:
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", account.host), ("X-Request-ID", account.identity), ("Connection", "close")]
    writer.write(connection.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    rows: Rows | None = None
    latest = 0.0
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(silence):
                    connection.receive_data(await reader.read(1 << 16))
                continue
        except h11.RemoteProtocolError:
            broke = "no terminating chunk"
        except TimeoutError:
            broke = f"silent for {silence:g} s"
        except OSError as error:
            broke = type(error).__name__
        else:
            if isinstance(event, h11.Response):
                if event.status_code != 200:
                    account.end("refused", str(event.status_code))
                    return
                promise = parse_promise((name.decode(), value.decode()) for name, value in event.headers)
                if promise is None or None in (promise.rows, promise.bytes, promise.sha256):
                    account.end("wrong", "no promise of rows, bytes and digest")
                    return
                rows = Rows(promise)
                account.promised = rows.promised
                continue
            if isinstance(event, h11.Data) and rows is not None:
                rows.feed(bytes(event.data))
                now = time.monotonic()
                account.longest_wait = max(account.longest_wait, now - latest if latest else 0.0)
                latest = now
                account.rows = rows.count
                continue
            broke = "" if isinstance(event, h11.EndOfMessage) else "no answer"
        if rows is None:
            account.end("refused", broke and "closed before the answer")
        else:
            account.end(*rows.verdict(broke))
        return


@dataclass
class Load:
    """So many streams open at all times: a new one begins as soon as one has ended.

    Attributes:
        port: of the edge, on 127.0.0.1.
        hosts: which Ingresses to ask, one lane after the other.
        lengths: seconds that each stream shall last, as many rows.
        lanes: how many are open at a time.
        query: further parameters of each stream.
        accounts: of all streams so far, those that are open among them.
    """

    port: int
    hosts: Sequence[str]
    lengths: Iterator[int]
    lanes: int = 100
    query: str = ""
    accounts: list[Account] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    def start(self) -> None:
        """Open them; to be called in an event loop."""
        hosts = itertools.cycle(self.hosts)
        self._tasks = [asyncio.create_task(self._lane(number, next(hosts))) for number in range(self.lanes)]

    async def finish(self) -> None:
        """Begin no more, and wait until those that are open have ended."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def leave(self) -> None:
        """Leave those that are open; their accounts stay open."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def fill(self, within: float) -> None:
        """Wait until nearly all lanes have a stream open; one or another is always between two.

        Args:
            within: so many seconds.

        Raises:
            Trouble: they have not.
        """
        until = time.monotonic() + within
        while self.open() < self.lanes * 0.95:
            if time.monotonic() > until:
                raise Trouble(f"only {self.open()} of {self.lanes} streams were open after {within:.0f} s")
            await asyncio.sleep(0.5)

    def open(self) -> int:
        """Return how many streams have begun to arrive and not ended."""
        return sum(account.outcome is None and account.rows > 0 for account in self.accounts)

    async def _lane(self, number: int, host: str) -> None:
        # Not all in the same moment: a hundred connections at once are no load that anybody has.
        await asyncio.sleep(number / self.lanes * 2)
        while not self._stopping:
            account = Account(number, host, f"fault-{uuid.uuid4()}", time.monotonic())
            self.accounts.append(account)
            rows = next(self.lengths) + 1
            await follow(account, ("127.0.0.1", self.port), f"/measure?rows={rows}&delay_ms=1000{self.query}")
            if account.outcome == "refused":
                await asyncio.sleep(_PATIENCE)
