"""The paths that the kubelet and Prometheus ask for."""

from collections.abc import Generator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotFound
from django.views.decorators.http import require_safe

from django_streamproof.around import around
from django_streamproof.conf import conf
from django_streamproof.metrics import metrics
from django_streamproof.registry import registry

_TEXT = "text/plain"


@around
def probes(request: HttpRequest) -> Generator[None, HttpResponseBase, HttpResponseBase]:
    """Answer the probes and the scrapes whatever the Host is, and pass everything else on.

    The scrapes have a port of their own, on which there is nothing else: no Service leads an edge to it, so the numbers
    stay inside, whatever edge it is and whatever it routes.

    "ok" means that a worker took the request and had a thread free for it, or that its event loop is not held up. The
    app depends on nothing that it could wait for, so being alive and being ready are the same, until the worker is told
    to stop.
    """
    if request.META.get("SERVER_PORT") == str(conf().metrics_port):
        return _metrics(request) if request.path_info == "/metrics" else HttpResponseNotFound(content_type=_TEXT)
    if view := _PROBES.get(request.path_info):
        return view(request)
    return (yield)


def _livez(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type=_TEXT)


def _readyz(request: HttpRequest) -> HttpResponse:
    """Fail from SIGTERM on, for those who ask over a connection that they have: new ones are refused then.

    A pod that Kubernetes stops is off its list before that, at once when it is deleted, and preStop gives the edge the
    time to follow. This is for stops that come without one, as from a node or a load balancer with checks of its own.
    That all streams are taken is no reason to fail: every pod may be full, and each still answers short requests.
    """
    if registry.stopping:
        return HttpResponse("stopping\n", status=503, content_type=_TEXT)
    return HttpResponse("ok\n", content_type=_TEXT)


_PROBES = {"/livez": require_safe(_livez), "/readyz": require_safe(_readyz)}
_metrics = require_safe(metrics)
