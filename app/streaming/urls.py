"""Which path is answered by which view; django_streamproof.health answers /livez, /readyz and /metrics earlier."""

import os
from collections.abc import Callable
from typing import Any

from django.urls import URLPattern
from django.urls import path as url
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from download import async_views, views
from page import views as page

downloads = async_views if os.environ.get("WORKER_CLASS") == "asgi" else views


def _safe(path: str, view: Callable[..., Any]) -> URLPattern:
    """Take GET and HEAD alone. Anything else is 405 then, before it could be forged."""
    return url(path, csrf_exempt(require_safe(view)))


urlpatterns = [
    _safe("", page.index),
    _safe("page.js", page.script),
    _safe("page.css", page.style),
    _safe("download_csv", downloads.download_csv),
    _safe("download_csv_streaming", downloads.download_csv_streaming),
    _safe("binary", downloads.binary),
    _safe("measure", downloads.measure),
]
