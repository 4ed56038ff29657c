"""Django as one meets it: a yield for each row as in streaming_django, and a body that is made whole before it is sent.

No middleware, no slots, no counts: what this project adds is not in here.
"""

import csv
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from download.binary import binary_chunks
from download.rows import csv_records

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=sys.modules[__name__], MIDDLEWARE=[])


class _Echo:
    def write(self, value: str) -> str:
        return value


def rows(request: HttpRequest) -> StreamingHttpResponse:
    """One yield for each row."""
    writer = csv.writer(_Echo())
    records = csv_records(int(request.GET["rows"]))
    return StreamingHttpResponse((writer.writerow(record) for record in records), content_type="text/csv")


def whole(request: HttpRequest) -> HttpResponse:
    """All of it in memory first."""
    chunks = binary_chunks(size=int(request.GET["size"]), chunk_bytes=64 << 10)
    return HttpResponse(b"".join(chunks), content_type="application/octet-stream")


def livez(request: HttpRequest) -> HttpResponse:
    """Answer a probe."""
    return HttpResponse("ok\n")


urlpatterns = [path("rows", rows), path("whole", whole), path("livez", livez)]
application = get_wsgi_application()
