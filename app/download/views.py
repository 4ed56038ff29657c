"""The same CSV at once and as a stream, and a stream made for measuring."""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse

from download.params import BadParameter, parse
from download.rows import csv_rows, measured_rows, promise

_CSV = {"content_type": "text/csv", "headers": {"Content-Disposition": "attachment; filename=big.csv"}}
_TEXT = "text/plain; charset=utf-8"


def download_csv(request: HttpRequest) -> HttpResponse:
    """Return the CSV in a single piece."""
    body = "".join(csv_rows()).encode()
    response = HttpResponse(body, **_CSV)
    # In bytes, so of the encoded body: a length in characters is too small as soon as one is not ASCII.
    response["Content-Length"] = len(body)
    return response


def download_csv_streaming(request: HttpRequest) -> StreamingHttpResponse:
    """Return the CSV row by row, each as soon as it is there.

    Without a Content-Length gunicorn chooses chunked framing, and each yield becomes a chunk (RFC 9112 section 7.1).
    """
    return StreamingHttpResponse(csv_rows(), **_CSV)


def measure(request: HttpRequest) -> StreamingHttpResponse | HttpResponseBadRequest:
    """Return rows that carry the time of their production, and promise in the header what they will be.

    The parameters are those of MeasureParams; one that cannot be used is answered by 400 and a sentence.
    """
    try:
        params = parse(request.GET.lists())
    except BadParameter as error:
        return HttpResponseBadRequest(f"{error}\n", content_type=_TEXT)
    return StreamingHttpResponse(
        measured_rows(**asdict(params)),
        content_type=_TEXT,
        headers={
            "Cache-Control": "no-store",
            "X-Stream-Promise": promise(rows=params.rows, size=params.size),
        },
    )
