"""What this runs on: it uses names that are not public, and a rename would break slots, limits and stops silently."""

import importlib
import sys

import django
import gunicorn

# Those that CI runs.
_PYTHON = ((3, 11), (3, 13))
_DJANGO = ((5, 2), (6, 1))
_GUNICORN = "27.0."

# Methods that are called or overridden, and attributes that are set by `__init__`: what a stop, a time limit or a slot
# hangs on.
_METHODS = {
    "gunicorn.asgi.protocol:ASGIProtocol": (
        "connection_made _keepalive_timeout _send_response_start _safe_write _send_body _build_http_scope"
    ),
    "gunicorn.workers.gasgi:ASGIWorker": "load_wsgi handle_exit_signal handle_quit_signal _shutdown",
    "gunicorn.workers.gthread:ThreadWorker": (
        "handle handle_request finish_request set_accept_enabled murder_pending enqueue_req get_thread_pool load_wsgi"
    ),
    "gunicorn.http.unreader:SocketUnreader": "chunk",
    "gunicorn.arbiter:Arbiter": "handle_hup",
}
_ATTRIBUTES = {
    "gunicorn.asgi.protocol:ASGIProtocol": "worker transport req_count _awaiting_request _response_buffer",
    "gunicorn.workers.gthread:ThreadWorker": "nr_conns pending_conns",
}


class Unsupported(ImportError):
    """Something that this runs on is not what CI runs; the message is one sentence."""


def check_versions(
    python: tuple[int, ...] = tuple(sys.version_info[:3]),
    of_django: tuple[int, ...] = django.VERSION[:3],
    of_gunicorn: str = gunicorn.__version__,
) -> None:
    """Refuse versions that are not tested.

    Raises:
        Unsupported: which one, and which to install.
    """
    for name, version, supported in (("Python", python, _PYTHON), ("Django", of_django, _DJANGO)):
        if version[:2] not in supported:
            known = " or ".join(f"{major}.{minor}" for major, minor in supported)
            number = ".".join(map(str, version))
            raise Unsupported(f"{name} {number} is not supported by django-streamproof: use {known}.")
    if not of_gunicorn.startswith(_GUNICORN) or of_gunicorn == "27.0.0":
        raise Unsupported(f"gunicorn {of_gunicorn} is not supported by django-streamproof: install gunicorn~=27.0.1.")


def check_names() -> None:
    """Refuse a gunicorn that lacks a name which is used here.

    Raises:
        Unsupported: the message names it.
    """
    for place, names in (*_METHODS.items(), *_ATTRIBUTES.items()):
        module, _, name = place.partition(":")
        try:
            owner = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            raise _missing(f"{module}.{name}") from None
        known = owner.__init__.__code__.co_names if names in _ATTRIBUTES.values() else dir(owner)
        for wanted in names.split():
            if wanted not in known:
                raise _missing(f"{name}.{wanted}")


def _missing(name: str) -> Unsupported:
    return Unsupported(f"gunicorn has no {name}, which django-streamproof needs: install gunicorn~=27.0.1.")


def check_backpressure(version: tuple[int, ...]) -> None:
    """Refuse a Python whose event loop takes in whatever a client doesn't read.

    See https://www.cve.org/CVERecord?id=CVE-2024-12254

    Raises:
        Unsupported: the message is one sentence.
    """
    if (3, 13, 0) <= version[:3] <= (3, 13, 1):
        name = ".".join(map(str, version[:3]))
        raise Unsupported(
            f"Python {name} has no backpressure under asgi (CVE-2024-12254): use 3.13.2 or later, or gthread."
        )
