"""The two paths that the kubelet asks for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

_PATHS = ("/livez", "/readyz")


def probes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer the probes whatever the Host is, and pass everything else on.

    "ok" means that a worker took the request and had a thread free for it. The app depends on nothing that it could
    wait for, so being alive and being ready are the same.
    """
    answer = require_safe(lambda request: HttpResponse("ok\n", content_type="text/plain"))

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return answer(request) if request.path_info in _PATHS else get_response(request)

    return middleware
