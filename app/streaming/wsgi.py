"""What gunicorn runs where WORKER_CLASS is gthread or sync: `gunicorn streaming.wsgi`."""

import logging
import os

from django.core.wsgi import get_wsgi_application
from streams.stream import unlogged

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")

application = get_wsgi_application()

logging.getLogger("gunicorn.error").addFilter(unlogged)
