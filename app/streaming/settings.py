"""Django's settings: all that a stream needs, and nothing else.

Environment:
    DJANGO_ALLOWED_HOSTS: host names to answer for, separated by commas; `.example.com` includes its subdomains.
        By default localhost, 127.0.0.1 and [::1].
    DJANGO_DEBUG: true or false, false by default.
    DJANGO_SECRET_KEY: random at each start by default.

django_streamproof.conf reads what is of streams and logs.
A value that cannot be used stops the start with ImproperlyConfigured, which says what is wrong.
"""

import os
import re
import secrets

from django.core.exceptions import ImproperlyConfigured
from django_streamproof import logs


def _flag(name: str) -> bool:
    value = os.environ.get(name, "false")
    if value.lower() not in ("true", "false", "1", "0"):
        raise ImproperlyConfigured(f"{name} is {value!r}, but must be true or false.")
    return value.lower() in ("true", "1")


def _hosts(name: str, default: str) -> list[str]:
    hosts = [host.strip() for host in os.environ.get(name, default).split(",")]
    for host in hosts:
        if not re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", host):
            raise ImproperlyConfigured(
                f"{name} contains {host!r}, but must be host names separated by commas, without scheme, port or path."
            )
    return hosts


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if value == "":
        raise ImproperlyConfigured(f"{name} is empty: give it a value, or leave it out for a random one.")
    return value or secrets.token_urlsafe(50)


ALLOWED_HOSTS = _hosts("DJANGO_ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]")
DEBUG = _flag("DJANGO_DEBUG")
# Nothing here is signed: no sessions, no CSRF tokens, no cookies. So each pod may have a key of its own.
SECRET_KEY = _secret("DJANGO_SECRET_KEY")

INSTALLED_APPS = ["django_streamproof"]
ROOT_URLCONF = "streaming.urls"
WSGI_APPLICATION = "streaming.wsgi.application"
ASGI_APPLICATION = "streaming.asgi.application"
# The paths have no trailing slash, so there is nothing to redirect to.
APPEND_SLASH = False
# Django sets the process to this zone, so log lines too; its default is America/Chicago.
TIME_ZONE = "UTC"

# Without GZipMiddleware: of a synchronous stream it hands on nothing until zlib has enough for a block, so short rows
# all arrive at the end; of an asynchronous one it makes a gzip file for each chunk.
MIDDLEWARE = [
    "django_streamproof.requests.logged",
    "django_streamproof.middleware.bounded",
    "django_streamproof.middleware.head_without_body",
    # Before CommonMiddleware, which checks Host: the kubelet sends the pod's IP.
    "django_streamproof.health.probes",
    "django.middleware.security.SecurityMiddleware",
    # Enforces ALLOWED_HOSTS. It gives other responses a Content-Length, but leaves streaming ones alone.
    "django.middleware.common.CommonMiddleware",
    # Nothing here takes a POST. It is for the view that does, once there is one.
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

CSRF_COOKIE_SECURE = True
# What `manage.py check --deploy` asks for and the edge does: it has the certificate, so it knows whether there is one.
SILENCED_SYSTEM_CHECKS = [
    "security.W004",  # Strict-Transport-Security
    "security.W008",  # the redirect from http to https
]

# With DEBUG off, Django would only mail its errors to ADMINS, and `kubectl logs` would show none.
LOGGING = logs.config()
