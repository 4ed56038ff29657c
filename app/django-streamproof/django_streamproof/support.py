"""What the workers run on: they use names of gunicorn's that are not public, and a rename would break them silently."""

import importlib
import re

# Methods that are called or overridden, and attributes that are set by `__init__`: what a stop, a time limit or a slot
# hangs on.
_METHODS = {
    "gunicorn.asgi.protocol:ASGIProtocol": (
        "connection_made _keepalive_timeout _send_response_start _safe_write _send_body _build_http_scope"
    ),
    "gunicorn.workers.gasgi:ASGIWorker": "load_wsgi handle_exit_signal handle_quit_signal _shutdown",
    "gunicorn.workers.gthread:ThreadWorker": "handle handle_request finish_request set_accept_enabled murder_pending",
}
_ATTRIBUTES = {
    "gunicorn.asgi.protocol:ASGIProtocol": "worker transport req_count _awaiting_request _response_buffer",
    "gunicorn.workers.gthread:ThreadWorker": "nr_conns pending_conns",
}


def check_gunicorn(version: str) -> None:
    """Refuse a version that is not tested.

    Raises:
        RuntimeError: it is another than 27.0; the message is one sentence.
    """
    if not re.match(r"27\.0\.[1-9]", version):
        raise RuntimeError(f"gunicorn {version} is not supported: install gunicorn~=27.0.1.")


def check_names() -> None:
    """Refuse a gunicorn that lacks a name which is used here.

    Raises:
        RuntimeError: the message is one sentence that names it.
    """
    for place, names in (*_METHODS.items(), *_ATTRIBUTES.items()):
        module, _, name = place.partition(":")
        owner = getattr(importlib.import_module(module), name)
        known = owner.__init__.__code__.co_names if names in _ATTRIBUTES.values() else dir(owner)
        for wanted in names.split():
            if wanted not in known:
                raise RuntimeError(
                    f"gunicorn has no {name}.{wanted}, which the workers of streams need: install gunicorn~=27.0.1."
                )


def check_backpressure(version: tuple[int, ...]) -> None:
    """Refuse a Python whose event loop takes in whatever a client doesn't read.

    See https://www.cve.org/CVERecord?id=CVE-2024-12254

    Raises:
        RuntimeError: the message is one sentence.
    """
    if (3, 12, 0) <= version[:3] <= (3, 12, 8) or (3, 13, 0) <= version[:3] <= (3, 13, 1):
        name = ".".join(map(str, version[:3]))
        raise RuntimeError(
            f"Python {name} has no backpressure under asgi (CVE-2024-12254): use 3.12.9, 3.13.2 or later, or gthread."
        )
