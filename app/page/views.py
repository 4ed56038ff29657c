"""The page that shows a stream as it arrives: three files, which need nothing else from anywhere."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import conditional_page

# No inline script or style, and nothing from other hosts (https://www.w3.org/TR/CSP3/).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _file(name: str, content_type: str, **headers: str) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view of a file beside this one; browsers ask each time whether theirs is still the same."""
    body = Path(__file__).with_name(name).read_bytes()
    headers = {
        "Content-Type": f"{content_type}; charset=utf-8",
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        **headers,
    }

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(body, headers=headers)

    checked: Callable[[HttpRequest], HttpResponse] = conditional_page(view)
    return checked


index = _file("index.html", "text/html", **{"Content-Security-Policy": _POLICY})
script = _file("page.js", "text/javascript")
style = _file("page.css", "text/css")
