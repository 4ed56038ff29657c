"""What an ASGI application from Django needs around it."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger("streams")

# Bytes that Django keeps of a body in memory by default; from then on it is in a file.
_IN_MEMORY = 2_621_440
# Bytes of the folder for temporary files that are left to everybody else, unless a quarter of it is less.
_LEFT = 64 << 20
# Bytes after which the room is looked at again, and seconds for which a refused body is taken in and dropped: a client
# that writes when the connection is closed does not see the answer.
_LOOK = 1 << 20
_DRAIN_SECONDS = 30.0


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Answer a handshake by 403: Django raises an exception."""
    await receive()
    await send({"type": "websocket.close"})


async def serve_with_room(application: Application, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a request by Django, and answer 413 to a body for which the temporary files' folder has no room.

    Under ASGI Django takes in the whole body of any request, before it looks for a view, into a file of any size. A
    full folder fails every other upload, and where it is memory, as in a pod, it kills the workers, whose metrics are
    there.
    """
    came = 0
    looked = _IN_MEMORY
    refused = False

    async def checked() -> dict[str, Any]:
        nonlocal came, looked, refused
        if not came and (announced := _length(scope)) > _IN_MEMORY:
            refused = not _room(announced)
        if not refused:
            message = await receive()
            came += len(message.get("body", b""))
            if came <= looked:
                return message
            looked = came + _LOOK
            refused = not _room(came, written=came)
        # Django then drops what it has, and returns without an answer.
        return {"type": "http.disconnect"} if refused else message

    await application(scope, checked, send)
    if refused:
        logger.warning("%s %s 413: no room for its body in %s", scope["method"], scope["path"], tempfile.gettempdir())
        said = b"The body is too large for the room that this server has for it.\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": said})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass


def _length(scope: dict[str, Any]) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else 0


def _room(size: int, written: int = 0) -> bool:
    """Return whether a body fits twice, as Django writes the files of a form once more."""
    folder = shutil.disk_usage(tempfile.gettempdir())
    return folder.free + written - 2 * size >= min(folder.total // 4, _LEFT)
