"""How much of a request's body is taken in, and how long that may take.

It is taken in whole before a view sees the request, under ASGI by Django itself: a client that is slow holds no
slot, no transaction and no thread that serves.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from typing import IO, Any

from django_streamproof.conf import conf

logger = logging.getLogger("streams")

# Bytes that Django keeps of a body in memory by default; from then on it is in a file.
IN_MEMORY = 2_621_440
# Bytes after which the room is looked at again.
LOOK = 1 << 20
# Bytes of the folder for temporary files that are left to everybody else, unless a quarter of it is less.
_LEFT = 64 << 20
_PIECE = 64 << 10
# Seconds that a body may take, and bytes for which it gets one more: less is a client that holds what it can.
STALL_SECONDS = 30.0
_RATE = 1024

NO_ROOM = (413, "Content Too Large", b"The body is too large for the room that this server has for it.\n")
TOO_SLOW = (408, "Request Timeout", b"The body did not come in time.\n")

Refusal = tuple[int, str, bytes]


class Late(Exception):
    """A body did not come in time."""


def announced(content_length: str) -> int | None:
    """Return the length of a body by its header; None where that says none, or none that can be."""
    return int(content_length) if re.fullmatch("[0-9]{1,18}", content_length) else None


def seconds_for(came: int) -> float:
    """Return how long a body may take of which so many bytes came, from its request on."""
    return min(STALL_SECONDS + came / _RATE, conf().stream_seconds)


def room(size: int, written: int = 0) -> bool:
    """Return whether a body fits twice into the folder for temporary files, as Django writes a form's files once more.

    Args:
        size: bytes of it.
        written: bytes of it that are there already.
    """
    folder = shutil.disk_usage(tempfile.gettempdir())
    return folder.free + written - 2 * size >= min(folder.total // 4, _LEFT)


def log_refusal(method: str, path: str, refusal: Refusal) -> None:
    """Log that a body was not taken."""
    logger.warning("%s %s %d: %s", method, path[:1000], refusal[0], refusal[2].decode().strip())


def take_in(environ: dict[str, Any]) -> Refusal | None:
    """Take the body of a WSGI request into memory, or into a file if it is large; return why not, if not.

    A chunked one then has the length without which Django takes it for empty.
    """
    length = announced(environ.get("CONTENT_LENGTH") or "")
    if not length and "HTTP_TRANSFER_ENCODING" not in environ:
        return None
    if length and length > IN_MEMORY and not room(length):
        return NO_ROOM
    body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (Django reads it)
    came, looked = 0, IN_MEMORY
    try:
        while piece := environ["wsgi.input"].read(_PIECE):
            came += len(piece)
            if came > looked:
                looked = came + LOOK
                if not room(came, written=came - len(piece)):
                    return NO_ROOM
            body.write(piece)
    except Late:
        return TOO_SLOW
    body.seek(0)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = body, str(came)
    return None


def refuse(environ: dict[str, Any], start_response: Callable[..., Any], refusal: Refusal) -> list[bytes]:
    """Answer a WSGI request whose body was not taken."""
    log_refusal(environ["REQUEST_METHOD"], environ["PATH_INFO"], refusal)
    status, phrase, said = refusal
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(said))), ("Connection", "close")]
    start_response(f"{status} {phrase}", headers)
    return [said]
