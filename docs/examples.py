"""What how-streaming-works.md asks a server for: a view for each claim, in a project without middleware.

`examples:wsgi` and `examples:asgi` are the same views behind Django's two handlers.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import decorator_from_middleware

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.middleware.common import CommonMiddleware  # noqa: E402
from download.pacing import asleeping, sleeping  # noqa: E402
from download.rows import measured_rows, promise  # noqa: E402

_TEXT = "Grüße aus Köln\n"  # 15 characters, 18 bytes


def alive(request: HttpRequest) -> HttpResponse:
    """Answer who waits for the server."""
    return HttpResponse("ok\n")


def whole(request: HttpRequest) -> HttpResponse:
    """Leave Content-Length out."""
    return HttpResponse(_TEXT)


@decorator_from_middleware(CommonMiddleware)  # type: ignore[untyped-decorator]
def common(request: HttpRequest) -> HttpResponse:
    """Leave Content-Length to CommonMiddleware."""
    return HttpResponse(_TEXT)


@decorator_from_middleware(CommonMiddleware)  # type: ignore[untyped-decorator]
def characters(request: HttpRequest) -> HttpResponse:
    """Count characters instead of bytes."""
    response = HttpResponse(_TEXT)
    response["Content-Length"] = len(_TEXT)
    return response


def _hello() -> Iterator[str]:
    yield "Hello, "
    yield ""
    yield "there!\n"


def called(request: HttpRequest) -> StreamingHttpResponse:
    """Give a generator, one of whose strings is empty."""
    return StreamingHttpResponse(_hello())


def uncalled(request: HttpRequest) -> HttpResponse:
    """Give the function instead of the generator, and say what Django makes of that."""
    try:
        return HttpResponse(str(StreamingHttpResponse(_hello)))
    except TypeError as error:
        return HttpResponse(f"TypeError: {error}\n", status=500)


def string(request: HttpRequest) -> StreamingHttpResponse:
    """Give a string, which is an iterable of its characters."""
    return StreamingHttpResponse("Hello\n")


def file(request: HttpRequest) -> FileResponse:
    """Give a file of 20,000 bytes, and its length only if `?length` is asked for."""
    content = tempfile.TemporaryFile()  # noqa: SIM115 (Django closes it)
    content.write(b"x" * 19_999 + b"\n")
    content.seek(0)
    response = FileResponse(content)
    if "length" not in request.GET:
        del response["Content-Length"]
    return response


def large(request: HttpRequest) -> StreamingHttpResponse:
    """Yield once, 200,000 bytes."""
    return StreamingHttpResponse(iter([b"x" * 199_999 + b"\n"]))


async def alarge(request: HttpRequest) -> StreamingHttpResponse:
    """Yield once, 200,000 bytes."""

    async def content() -> AsyncIterator[bytes]:
        yield b"x" * 199_999 + b"\n"

    return StreamingHttpResponse(content())


def _measured(rows: object) -> StreamingHttpResponse:
    headers = {"Content-Type": "text/plain", "X-Stream-Promise": promise(rows=8, size=64)}
    return StreamingHttpResponse(rows, headers=headers)


def rows(request: HttpRequest) -> StreamingHttpResponse:
    """Give 8 rows, 150 ms apart, from a synchronous iterator."""
    return _measured(sleeping(measured_rows(rows=8, size=64, delay_ms=150)))


async def arows(request: HttpRequest) -> StreamingHttpResponse:
    """Give 8 rows, 150 ms apart, from an asynchronous iterator."""
    return _measured(asleeping(measured_rows(rows=8, size=64, delay_ms=150)))


def early_failure(request: HttpRequest) -> StreamingHttpResponse:
    """Fail in place of the first item."""
    return StreamingHttpResponse(1 // zero for zero in [0])


def late_failure(request: HttpRequest) -> StreamingHttpResponse:
    """Fail in place of the second item."""
    return StreamingHttpResponse(1 // number for number in [1, 0])


def swallowed(request: HttpRequest) -> StreamingHttpResponse:
    """Give 8 rows, of which the fifth fails, and catch the error in the generator."""

    def quiet() -> Iterator[bytes]:
        try:
            yield from sleeping(measured_rows(rows=8, size=64, delay_ms=0, fail_after=4))
        except Exception:
            return

    return _measured(quiet())


urlpatterns = [
    path("livez", alive),
    *(path(view.__name__, view) for view in (whole, common, characters, called, uncalled, string, file, large, alarge)),
    *(path(view.__name__, view) for view in (rows, arows, early_failure, late_failure, swallowed)),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
