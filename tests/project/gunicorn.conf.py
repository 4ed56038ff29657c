import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordinary.settings")
from django_streamproof.gunicorn import *  # noqa: F403
