"""What holds for every response of the project."""

from collections.abc import AsyncIterator, Generator

from django.http import HttpRequest, HttpResponseBase

from streaming.around import around


@around
def head_without_body(request: HttpRequest) -> Generator[None, HttpResponseBase, HttpResponseBase]:
    """Answer HEAD with the header alone, without starting the generator of a stream (RFC 9110 section 9.3.2).

    Django leaves that to the server, and gunicorn would run the generator to its end and drop every row.
    """
    response = yield
    if request.method == "HEAD":
        if response.streaming:
            response.streaming_content = _nothing() if response.is_async else ()
        else:
            response.content = b""
    return response


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
