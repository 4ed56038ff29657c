"""What gunicorn runs where WORKER_CLASS is gthread or sync: `gunicorn streaming.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")

application = get_wsgi_application()
