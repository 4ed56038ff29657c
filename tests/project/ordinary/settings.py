"""An ordinary Django project that serves streams too: an admin, sessions, static files, transactions, older middleware.

Environment: PROJECT_FOLDER, where its files and the folder of PostgreSQL's socket are.
"""

import os
from pathlib import Path

from django_streamproof import logs

FOLDER = Path(os.environ["PROJECT_FOLDER"])
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = "a key for tests"  # noqa: S105
ROOT_URLCONF = "ordinary.urls"
STATIC_URL = "static/"
STATIC_ROOT = FOLDER / "static"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": str((FOLDER / "database").resolve()),
        "NAME": "postgres",
        "USER": "shop",
        "ATOMIC_REQUESTS": True,
        # Fewer than streams: one that held a connection while it is open would take it from everybody else.
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 2, "timeout": 5}},
    }
}
INSTALLED_APPS = [
    "ordinary",
    "django_streamproof",
    "rest_framework",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django_streamproof.requests.logged",
    "django_streamproof.middleware.bounded",
    "django_streamproof.middleware.head_without_body",
    "django_streamproof.health.probes",
    "django.middleware.security.SecurityMiddleware",
    # Synchronous alone, so under ASGI Django calls it and all above in a thread.
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "ordinary.views.SynchronousOnly",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LOGGING = logs.config()
