"""One form for all log lines, Django's and gunicorn's too: a JSON object each, or text for people."""

import fcntl
import json
import logging
import os
import tempfile
import threading
import time
import traceback
from contextvars import ContextVar
from typing import Any, TextIO

from django.conf import settings

from django_streamproof.conf import conf

# Characters of a message, which may hold what a client sent, as a Host of 8 KB.
_MOST = 1500

# A pipe takes a line of more than 4096 bytes, as one with a traceback, in parts, and all workers write to one. They are
# forked with this file, whose lock is a process's, and within a process threads take turns.
_lock = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process
_turn = threading.RLock()

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""That of the request which is served here, for all lines that are written meanwhile."""

# What every record has, and what Django and this package add to theirs.
_STANDARD = {*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "taskName"}
_STANDARD |= {"fields", "request", "status_code"}


class Formatter(logging.Formatter):
    """Make one line of a record, whatever a client put into it: control characters are escaped.

    What a call passes as `extra={…}` becomes fields of the object, as do those of the request; an exception becomes a
    field with its whole traceback. Text shows that traceback in lines of its own, as a terminal is where it is read;
    indented, so that none of them can be taken for a record.
    """

    def __init__(self, form: str | None = None) -> None:
        """Choose between "json" and "text"; without a choice it is that of STREAMPROOF and of the environment."""
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
            "pid": record.process,
        }
        line |= getattr(record, "fields", None) or _fields_of(getattr(record, "request", None)) or _request_id()
        line |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD and name not in line}
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info and record.exc_info[0] else ""
        if self._form_now() == "text":
            indented = [f"\n  {part.translate(_ESCAPES)}" for part in trace.rstrip("\n").split("\n")] if trace else []
            return "".join([_text(line), *indented])
        if trace:
            line["exception"] = trace
        # ASCII alone: whatever shows the line needs to know no encoding, and cannot be made to break it.
        return json.dumps(line, default=str)

    def _form_now(self) -> str:
        # The settings may not be there yet, as when they themselves fail.
        if self._form is None and settings.configured:
            self._form = conf().log_format
        return self._form or os.environ.get("LOG_FORMAT", "json")


class Lines(logging.StreamHandler[TextIO]):
    """Writes to standard error, each line in one piece, whatever its length and whoever else writes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        with _turn:
            fcntl.lockf(_lock, fcntl.LOCK_EX)
            try:
                super().emit(record)
            finally:
                fcntl.lockf(_lock, fcntl.LOCK_UN)


class Exceptions(logging.Filter):
    """Lets a record pass when it carries an exception."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it does."""
        return bool(record.exc_info)


class NoTraceback(logging.Filter):
    """Takes the traceback from a record: for what any client can cause, as often as it likes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.exc_info = None
        return True


def _fields_of(request: object) -> dict[str, Any]:
    """Return the fields of the request that Django attaches to its own records."""
    fields: dict[str, Any] = getattr(request, "log_fields", {})
    return fields


def _request_id() -> dict[str, Any]:
    return {} if (known := request_id.get()) is None else {"request_id": known}


def _cut(message: str) -> str:
    whole = message
    # Escapes make some characters longer than others.
    while (size := len(json.dumps(message))) > _MOST:
        message = message[: len(message) * (_MOST - 10) // size]
    return message if message == whole else f"{message}..."


def _text(line: dict[str, Any]) -> str:
    head = "{time} [{pid}] {level} {logger}: {message}".format(**line).translate(_ESCAPES)
    # The message has the method and the path.
    left_out = ("time", "pid", "level", "logger", "message", "method", "path", "status")
    fields = [f"{name}={json.dumps(value, default=str)}" for name, value in line.items() if name not in left_out]
    return " ".join([head, *fields])


def config(form: str | None = None, *, mail: bool = True) -> dict[str, Any]:
    """Return a configuration for logging.config.dictConfig, the same for Django and for gunicorn.

    All goes to standard error, which is not buffered: `kubectl logs` shows it together with standard output.

    Args:
        form: json or text; by default that of STREAMPROOF and of the environment.
        mail: tell ADMINS of errors, as Django does by default. That needs its settings.
    """
    to_stderr = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    mails = {
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["require_debug_false"],
        }
    }
    handlers = list(mails) if mail else []
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "django_streamproof.logs.Formatter", "form": form}},
        "filters": {
            "exceptions": {"()": "django_streamproof.logs.Exceptions"},
            "no_traceback": {"()": "django_streamproof.logs.NoTraceback"},
            "require_debug_false": {"()": "django.utils.log.RequireDebugFalse"},
        },
        "handlers": {
            "stderr": {"class": "django_streamproof.logs.Lines", "formatter": "line"},
            # A handler, as a logger's filter is not asked for what comes from the loggers below it.
            "brief": {"class": "django_streamproof.logs.Lines", "formatter": "line", "filters": ["no_traceback"]},
            **(mails if mail else {}),
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            # Exceptions alone: `streams.requests` has a line for each answer, whatever its status.
            "django.request": to_stderr
            | {"handlers": ["stderr", *handlers], "level": "ERROR", "filters": ["exceptions"]},
            # A Host that is not allowed, and the like.
            "django.security": to_stderr | {"handlers": [*handlers, "brief"]},
            "django": to_stderr | {"handlers": ["stderr", *handlers]},
            "gunicorn.error": to_stderr,
            # That same line is the access log. gunicorn's own has neither a stream's outcome nor its request id.
            "gunicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
        },
    }
