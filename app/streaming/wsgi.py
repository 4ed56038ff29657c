"""What gunicorn runs: `gunicorn streaming.wsgi`."""

import logging
import os

from django.core.wsgi import get_wsgi_application
from download.rows import SourceBroke

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")

application = get_wsgi_application()


def _without_traceback(record: logging.LogRecord) -> bool:
    """Make one line of gunicorn's report that a stream broke off where `fail_after` said so."""
    if record.exc_info and isinstance(record.exc_info[1], SourceBroke):
        record.msg = f"{record.msg}: {record.exc_info[1]}"
        record.exc_info = None
    return True


logging.getLogger("gunicorn.error").addFilter(_without_traceback)
