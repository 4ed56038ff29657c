"""Puts every streaming response under the rules of this package, so that views need not know of them."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from streams.registry import registry
from streams.stream import Body, Stream

_RETRY_SECONDS = 5


def bounded(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give each stream a slot, a time limit and an account, or refuse it with 503 when all slots are taken.

    A thread serves one stream for as long as it lasts. With every thread in one, the probes would wait, and the kubelet
    would kill a pod full of healthy streams. The view has run by then, but its generator has not been started.

    Outside of what changes the body, to count what is sent, and inside of `streaming.requests.logged`. An asynchronous
    body passes as it is: under WSGI Django consumes it whole before the first byte.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # The body of an answer to HEAD is empty: no thread is held.
        if not response.streaming or request.method == "HEAD" or response.is_async:
            return response
        fields = {"method": request.method, "path": request.path, "status": response.status_code}
        fields |= getattr(request, "log_fields", {})
        stream = Stream(
            registry,
            f"{fields['method']} {fields['path']} {response.status_code}",
            fields,
            getattr(request, "started", time.monotonic()),
            lambda: _hang_up(request.META.get("gunicorn.socket")),
        )
        if not stream.begin(settings.STREAM_SECONDS):
            response.close()
            return _refusal(request)
        source: Iterator[bytes] = response.streaming_content
        response.streaming_content = Body(stream, source)
        return response

    return middleware


def _refusal(request: HttpRequest) -> HttpResponse:
    if hasattr(request, "log_fields"):
        request.log_fields["outcome"] = "refused"
    return HttpResponse(
        f"All streams that this worker may have open are taken: try again in {_RETRY_SECONDS} s.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(_RETRY_SECONDS), "Cache-Control": "no-store"},
    )


def _hang_up(connection: socket.socket | None) -> None:
    """Wake the thread that is sending to a client which doesn't read, and let no further byte out.

    gunicorn hands the socket over in the WSGI environ. Elsewhere, as in runserver, the stream ends with its next chunk.
    """
    if connection is not None:
        # The client may have been faster.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
