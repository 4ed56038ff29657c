import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import django
import pytest
from django.core.wsgi import get_wsgi_application
from django.test import Client, RequestFactory

os.environ["DJANGO_SETTINGS_MODULE"] = "streaming.settings"
django.setup()


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "localhost"})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    chunks: list[bytes]


@pytest.fixture
def wsgi() -> Callable[..., Answer]:
    """Ask as gunicorn does: Django's test client would strip the body of an answer to HEAD by itself."""
    application = get_wsgi_application()

    def ask(method: str, path: str) -> Answer:
        started: list[Any] = []
        environ = RequestFactory(headers={"host": "localhost", "x-request-id": "test"}).generic(method, path).environ
        iterable = application(environ, lambda status, headers: started.extend([status, headers]))
        chunks = list(iterable)
        iterable.close()
        return Answer(int(started[0].split()[0]), dict(started[1]), chunks)

    return ask
