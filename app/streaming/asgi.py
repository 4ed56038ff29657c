"""What gunicorn runs where WORKER_CLASS is asgi: `gunicorn streaming.asgi`."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django_streamproof.asgi import refuse_websocket

# So that the views are the asynchronous ones, whoever runs this.
os.environ["WORKER_CLASS"] = "asgi"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streaming.settings")

_django = get_asgi_application()
if settings.ROOT_URLCONF != "streaming.urls":
    raise ImproperlyConfigured(
        "streaming/asgi.py drops the body of every request: use the asgi.py that startproject has made."
    )
# Django calls what is synchronous around each view, as its signals' receivers and its own middleware, in a thread. By
# default that is a thread for each request, which stays until the response is over: for streams, one for each of them.
# None of it waits for anything here, so one thread for all is enough. A synchronous view that waits would not do.
_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="synchronous")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve a request, whose body is of no interest.

    Django takes in the whole body before it asks for a view: into a file of any size, and waiting for whoever announces
    one and doesn't send it. No view here wants one.
    """
    if scope["type"] != "http":
        await refuse_websocket(receive, send)
        return
    answered = False

    async def without_body() -> Any:
        nonlocal answered
        if not answered:
            answered = True
            return {"type": "http.request", "body": b"", "more_body": False}
        # What is left is the end: Django waits for it to learn that the client has gone.
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    async with ThreadSensitiveContext(executor=_one_thread):
        await _django(scope, without_body, send)
