"""gunicorn's workers, for responses that stream: with threads and with an event loop.

Classes and not hooks in gunicorn.conf.py, as there is none for SIGTERM in a worker.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker
from gunicorn.workers.gthread import ThreadWorker

from django_streamproof import bodies, support
from django_streamproof.asgi import refuse_websocket, serve_with_room
from django_streamproof.conf import conf
from django_streamproof.registry import of_request, registry

# Kept free for short requests, the probes among them, as far as there are enough threads.
_FREE_THREADS = 4
# An event loop needs no thread for a stream, but memory: up to 128 KiB each where clients don't read.
_ASYNC_STREAMS = 500
# Before gunicorn's own graceful timeout: it would cut what is left then without a word.
_SECONDS_BEFORE = 2


# Seconds that a connection has at a stop to send the request that it was opened for, and that a request's header may
# take under gthread, where it holds a thread.
_SILENT_SECONDS = 2.0
_HEADER_SECONDS = 10.0
# Threads beside those that serve, for clients that send slowly. When all are taken, a connection that waits for one
# for the first of these seconds takes the place of the client that has been sending the longest, if for the second.
_READING_THREADS = 64
_WAIT_SECONDS = 1.0
_YIELD_SECONDS = 2.0


def _stop_streams(graceful_timeout: int) -> None:
    """Take SIGTERM: /readyz fails from now on, and what still streams shortly before the end is broken off."""
    registry.stop_within(graceful_timeout - min(_SECONDS_BEFORE, graceful_timeout / 2))


@dataclass(eq=False)
class _Coming:
    """A body that is being read: since when, how many bytes of it came, and whether it is to be given up."""

    since: float
    came: int = 0
    closed: bool = False


def _hang_up(conn: Any, how: int) -> None:
    """Wake the thread that reads from a connection."""
    # The client may have been faster.
    with contextlib.suppress(OSError):
        conn.sock.shutdown(how)


class Stopping:
    """What the workers that serve WSGI have in common.

    They take signals as Python does, break off and log what they cannot finish, and lose no slot.
    """

    cfg: Any

    def handle_request(self, *arguments: Any) -> Any:
        """Serve a request in this thread."""
        with of_request():
            return super().handle_request(*arguments)  # type: ignore[misc]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM."""
        _stop_streams(self.cfg.graceful_timeout)
        super().handle_exit(sig, frame)  # type: ignore[misc]

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGQUIT and SIGINT: break off all streams at once, with a log line each."""
        registry.stop_within(0)
        super().handle_quit(sig, frame)  # type: ignore[misc]


class Threads(Stopping, ThreadWorker):  # type: ignore[misc]
    """gthread with a bound on streams."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Stop gunicorn with a sentence when it lacks a name that is used here."""
        support.check_names()
        super().check_config(cfg, log)

    @staticmethod
    def limit(cfg: Any, streams: int | None) -> int:
        """Return how many streams a worker may have open, by gunicorn's settings and STREAMS_PER_WORKER."""
        return bound(cfg.threads, streams)

    def load_wsgi(self) -> None:
        """Load the application, which gets a request when all of it is there, and set the bound by its settings."""
        super().load_wsgi()
        registry.limit = self.limit(self.cfg, conf().streams_per_worker)
        self.application = self.wsgi
        self.wsgi: Any = self._serve

    def init_process(self) -> None:
        """Run."""
        # Connections that wait for a thread, and whose header is being read, each since when.
        self.waiting: dict[Any, float] = {}
        self.reading: dict[Any, float] = {}
        # Connections whose body is being read, each with its progress.
        self.bodies: dict[Any, _Coming] = {}
        self.running = threading.Semaphore(self.cfg.threads)
        self.here = threading.local()
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return threads for as many requests as are served at a time, and for more clients that send slowly."""
        return ThreadPoolExecutor(self.cfg.threads + _READING_THREADS)

    def enqueue_req(self, conn: Any) -> None:
        """Let a connection wait for a thread."""
        self.waiting[conn] = time.monotonic()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read a request and serve it, in a thread."""
        self.waiting.pop(conn, None)
        self.reading[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self.reading.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request whose header was read."""
        self.reading.pop(conn, None)
        unreader = conn.parser.unreader
        if "chunk" not in vars(unreader):
            unreader.chunk = functools.partial(self._receive, conn, unreader.chunk)
        self.here.conn, self.here.runs = conn, False
        try:
            return super().handle_request(req, conn)
        finally:
            if self.here.runs:
                self.running.release()
            self.here.conn = None

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        conn = getattr(self.here, "conn", None)
        if conn is None:
            # HTTP/2, where a project has allowed it, has a connection's thread for all of its requests.
            return self.application(environ, start_response)
        self.bodies[conn] = _Coming(time.monotonic())
        try:
            refusal = bodies.take_in(environ)
        finally:
            self.bodies.pop(conn, None)
        # Only now it is one of those for which there are threads; given back when its answer is sent.
        self.running.acquire()
        self.here.runs = True
        if refusal is not None:
            return bodies.refuse(environ, start_response, refusal)
        return self.application(environ, start_response)

    def _receive(self, conn: Any, chunk: Any, size_hint: int | None = None) -> bytes:
        data: bytes = chunk(size_hint)
        coming = self.bodies.get(conn)
        if coming is not None:
            if coming.closed:
                raise bodies.Late
            coming.came += len(data)
        return data

    def murder_pending(self) -> None:
        """Close connections that say nothing, or that do not send what they have begun, every second or so."""
        super().murder_pending()
        now = time.monotonic()
        self._close_reading(_HEADER_SECONDS)
        coming = list(self.bodies.items())
        for conn, body in coming:
            if now - body.since > bodies.seconds_for(body.came):
                self._close_body(conn, body)
        # Somebody waits for a thread, and those that only read have all that are left.
        late = sum(since < now - _WAIT_SECONDS for since in list(self.waiting.values()))
        if late:
            slow: list[tuple[float, Any, _Coming | None]] = [
                (since, conn, None) for conn, since in list(self.reading.items())
            ]
            slow += [(body.since, conn, body) for conn, body in coming]
            for since, conn, half in sorted(slow, key=lambda one: one[0])[:late]:
                if since > now - _YIELD_SECONDS:
                    break
                if half is None:
                    _hang_up(conn, socket.SHUT_RDWR)
                else:
                    self._close_body(conn, half)

    def _close_body(self, conn: Any, body: _Coming) -> None:
        body.closed = True
        # Only reading: there is an answer.
        _hang_up(conn, socket.SHUT_RD)

    def _close_reading(self, seconds: float) -> None:
        before = time.monotonic() - seconds
        for conn, since in list(self.reading.items()):
            if since < before:
                _hang_up(conn, socket.SHUT_RDWR)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Count a connection off once.

        gunicorn 27.0.1 closes the socket of a response that broke off in its thread. Closing it again, here, fails, and
        it counts the connection off a second time. After some broken streams it takes itself for idle, and after
        SIGTERM it ends its main loop at once, though other streams are in flight.
        """
        if conn.sock.fileno() == -1:
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Refuse new connections once the worker is stopping.

        gunicorn keeps its listening sockets open until the last stream is over. The kernel goes on completing
        connections into them, which nobody accepts: they hang and are reset. Refused at once, the edge takes another
        pod. In the main loop this is called between events, so none of them is for a socket that is closed here.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            # The worker may go without a SIGTERM, as one that has served max_requests.
            _stop_streams(self.cfg.graceful_timeout)
            for listener in self.sockets:
                listener.close()
            soon = time.monotonic() + _SILENT_SECONDS
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, soon)
            timer = threading.Timer(_SILENT_SECONDS, self._close_reading, [0])
            timer.daemon = True
            timer.start()


class EventLoop(ASGIWorker):  # type: ignore[misc]
    """gunicorn's ASGI worker with a bound on streams, which doesn't wait for idle connections when it goes."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Stop gunicorn with a sentence when it or Python lacks what is needed here."""
        support.check_names()
        support.check_backpressure(sys.version_info[:3])
        super().check_config(cfg, log)

    @staticmethod
    def limit(cfg: Any, streams: int | None) -> int:
        """Return how many streams a worker may have open, by STREAMS_PER_WORKER."""
        return _ASYNC_STREAMS if streams is None else streams

    def init_process(self) -> None:
        """Run."""
        self.connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        # The worker makes its connections of a class that it has no setting for.
        gasgi.ASGIProtocol = _Connection
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, set the bound by its settings, and put around it what Django leaves out."""
        super().load_wsgi()
        registry.limit = self.limit(self.cfg, conf().streams_per_worker)
        application: Any = self.asgi  # type: ignore[has-type]

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            with of_request():
                if not isinstance(application, ASGIHandler):
                    await application(scope, receive, send)
                elif scope["type"] == "http":
                    await serve_with_room(application, scope, receive, send)
                else:
                    await refuse_websocket(receive, send)

        self.asgi = serve

    def handle_exit_signal(self) -> None:
        """Take SIGTERM.

        gunicorn waits for connections, not for requests: those that the edge keeps open for a next request would hold
        the worker up until the end of its graceful timeout.
        """
        self._stop()
        super().handle_exit_signal()

    def _stop(self) -> None:
        _stop_streams(self.cfg.graceful_timeout)
        for connection in list(self.connections):
            connection.close_if_idle()
        self.loop.call_later(_SILENT_SECONDS, self._close_silent)

    def _close_silent(self) -> None:
        for connection in list(self.connections):
            connection.close_if_silent()

    async def _shutdown(self) -> None:
        # The worker may go without a SIGTERM, as one that has served max_requests.
        self._stop()
        await super()._shutdown()

    def handle_quit_signal(self) -> None:
        """Take SIGQUIT and SIGINT: break off all streams at once, with a log line each."""
        registry.stop_within(0)
        super().handle_quit_signal()


class _Connection(ASGIProtocol):  # type: ignore[misc]
    """One that its worker can find, and whose requests can hang up on a client that doesn't read."""

    def connection_made(self, transport: Any) -> None:
        """Tell the worker."""
        super().connection_made(transport)
        self.worker.connections.add(self)

    def close_if_idle(self) -> None:
        """Close it between two requests."""
        if self._awaiting_request and self.req_count > 1:
            # As gunicorn does when the time for which an idle connection is kept is over.
            self._keepalive_timeout()

    def close_if_silent(self) -> None:
        """Close it if it has not sent the request that it was opened for."""
        if self._awaiting_request and self.transport is not None:
            self.transport.close()

    def _send_response_start(self, status: int, headers: Any, request: Any, close: bool = False) -> None:
        """Send the header of a stream at once.

        gunicorn keeps it for the first bytes of the body. A stream that breaks off before them would be an answer
        without a header, which the edge makes a 502 of, and an EventSource is open only when its first event comes.
        """
        super()._send_response_start(status, headers, request, close)
        if (b"transfer-encoding", b"chunked") in headers:
            self._safe_write(self._response_buffer)  # type: ignore[has-type]
            self._response_buffer = None

    def _send_body(self, body: Any, *arguments: Any, **options: Any) -> None:
        """Send a chunk, unless the connection is lost already.

        gunicorn writes a large one in pieces. For that Python 3.13.5, Debian's, registers a lost connection once more,
        and the next one that gets its number is never read: its client waits until the edge gives up. See
        https://github.com/python/cpython/issues/136234
        """
        if self.transport is not None and not self.transport.is_closing():
            super()._send_body(body, *arguments, **options)

    def _build_http_scope(self, request: Any, sockname: Any, peername: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._build_http_scope(request, sockname, peername)
        # What gthread offers as `gunicorn.socket`. Only from the event loop's own thread.
        abort = self.transport.abort
        scope.setdefault("extensions", {})["django_streamproof.hang_up"] = lambda: (
            self.worker.loop.call_soon_threadsafe(abort)
        )
        return scope


def bound(threads: int, asked: int | None) -> int:
    """Return how many streams a worker with so many threads may have open.

    Args:
        threads: gunicorn's setting.
        asked: STREAMS_PER_WORKER. Without one, all threads but four, and at least half of them.

    Raises:
        RuntimeError: no thread would be left for the probes; gunicorn prints the sentence and ends.
    """
    if asked is None:
        streams = max(threads - _FREE_THREADS, threads // 2)
        if streams < 1:
            raise RuntimeError(f"threads is {threads}, but must be at least 2: one for a stream, one for the probes.")
        return streams
    if asked >= threads:
        raise RuntimeError(
            f"STREAMS_PER_WORKER is {asked}, but must be a whole number from 1 to {threads - 1}, "
            f"less than gunicorn's threads, which are {threads}."
        )
    return asked
