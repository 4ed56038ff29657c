"""What an ASGI application from Django needs around it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django_streamproof import bodies

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# Seconds for which a refused body is taken in and dropped: a client that writes when the connection is closed does not
# see the answer.
_DRAIN_SECONDS = 30.0


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Answer a handshake by 403: Django raises an exception."""
    await receive()
    await send({"type": "websocket.close"})


async def serve_with_room(application: Application, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a request by Django, and answer 413 to a body for which the temporary files' folder has no room.

    Under ASGI Django takes in the whole body of any request, before it looks for a view, into a file of any size. A
    full folder fails every other upload, and where it is memory, as in a pod, it kills the workers, whose metrics are
    there. A body that does not come is answered by 408, and a chunked one gets the length without which Django takes a
    form for empty.
    """
    started = time.monotonic()
    length = bodies.announced(dict(scope["headers"]).get(b"content-length", b"").decode("latin-1"))
    came = 0
    looked = bodies.IN_MEMORY
    whole = False
    refusal: bodies.Refusal | None = None

    async def checked() -> dict[str, Any]:
        nonlocal came, looked, refusal, whole
        if whole:
            return await receive()
        if not came and length and length > bodies.IN_MEMORY and not bodies.room(length):
            refusal = bodies.NO_ROOM
        if refusal is None:
            try:
                async with asyncio.timeout(started + bodies.seconds_for(came) - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                refusal = bodies.TOO_SLOW
            else:
                came += len(message.get("body", b""))
                whole = not message.get("more_body")
                if whole and length is None and came:
                    scope["headers"] = [*scope["headers"], (b"content-length", b"%d" % came)]
                if came <= looked:
                    return message
                looked = came + bodies.LOOK
                if bodies.room(came, written=came):
                    return message
                refusal = bodies.NO_ROOM
        # Django then drops what it has, and returns without an answer.
        return {"type": "http.disconnect"}

    await application(scope, checked, send)
    if refusal is not None:
        bodies.log_refusal(scope["method"], scope["path"], refusal)
        status, _, said = refusal
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(said)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": said})
        if refusal is bodies.TOO_SLOW:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
