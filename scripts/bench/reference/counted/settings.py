"""The demo, with its metrics at a path beside the others: a server with one port has none for them."""

from streaming.settings import *  # noqa: F403

ROOT_URLCONF = "counted.urls"
WSGI_APPLICATION = "counted.wsgi.application"
ASGI_APPLICATION = "counted.asgi.application"
