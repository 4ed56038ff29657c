"""Views as they are written everywhere; the streams in both kinds, of which a server needs one."""

import asyncio
import logging
import os
import threading
import time

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import close_old_connections, transaction
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from django_streamproof import streaming

from ordinary.models import Order

logger = logging.getLogger("ordinary")


class SynchronousOnly:
    """As tutorials write it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Middleware"] = "synchronous"
        return response


def rows(request):
    count, delay = int(request.GET.get("rows", 3)), float(request.GET.get("delay", 0))

    def source():
        for number in range(count):
            time.sleep(delay if number else 0)
            yield f"{number}\n"
        if "fail" in request.GET:
            raise ValueError("after the last row")

    return StreamingHttpResponse(source(), content_type="text/plain", headers=_headers(request))


@transaction.non_atomic_requests
async def async_rows(request):
    count, delay = int(request.GET.get("rows", 3)), float(request.GET.get("delay", 0))

    async def source():
        for number in range(count):
            await asyncio.sleep(delay if number else 0)
            yield f"{number}\n"
        if "fail" in request.GET:
            raise ValueError("after the last row")

    return StreamingHttpResponse(source(), content_type="text/plain", headers=_headers(request))


def _headers(request):
    """A name that the client chose, which Django lets pass and gunicorn refuses where it holds a control character."""
    name = request.GET.get("name")
    return {"Content-Disposition": f"attachment; filename={name}"} if name else {}


@login_required(login_url="/admin/login/")
def private(request):
    return rows(request)


@transaction.non_atomic_requests
async def async_private(request):
    user = await request.auser()
    if not user.is_authenticated:
        return HttpResponse(status=403)
    return await async_rows(request)


@csrf_exempt
def order(request):
    """Write, and then stream."""
    Order.objects.create(customer=request.POST["customer"])
    return rows(request)


def says(request):
    logger.info("in the view", extra={"order": 1})

    def source():
        logger.info("in the stream", extra={"order": 2})
        yield b"row\n"

    return StreamingHttpResponse(source())


@transaction.non_atomic_requests
async def async_says(request):
    logger.info("in the view", extra={"order": 1})

    async def source():
        logger.info("in the stream", extra={"order": 2})
        yield b"row\n"

    return StreamingHttpResponse(source())


def fails(request):
    def source():
        raise ValueError("before the first row")
        yield

    return StreamingHttpResponse(source())


@csrf_exempt
@streaming()
def marked_order(request):
    return order(request)


@streaming(limit=1, seconds=2)
def limited(request):
    return rows(request)


@streaming(limit=1, seconds=2)
@transaction.non_atomic_requests
async def async_limited(request):
    return await async_rows(request)


def orders(request):
    return HttpResponse(str(Order.objects.count()))


@transaction.non_atomic_requests
async def async_orders(request):
    return HttpResponse(str(await Order.objects.acount()))


def stream_of_orders():
    """Return the names of all customers as the server needs them."""
    names = Order.objects.order_by("id").values_list("customer", flat=True)

    def source():
        for name in names.iterator():
            yield f"{name}\n"

    async def async_source():
        async for name in names.aiterator():
            yield f"{name}\n"

    asynchronous = os.environ.get("WORKER_CLASS") == "asgi"
    return StreamingHttpResponse(async_source() if asynchronous else source(), content_type="text/plain")


@streaming()
def exported(request):
    return stream_of_orders()


@streaming()
@transaction.non_atomic_requests
async def async_exported(request):
    return stream_of_orders()


def polled(request):
    """Ask the database again and again, and leave it between two questions."""

    def source():
        for _ in range(int(request.GET["rows"])):
            yield f"{Order.objects.count()}\n"
            close_old_connections()
            time.sleep(0.2)

    return StreamingHttpResponse(source(), content_type="text/plain")


@transaction.non_atomic_requests
async def async_polled(request):
    async def source():
        for _ in range(int(request.GET["rows"])):
            yield f"{await Order.objects.acount()}\n"
            await sync_to_async(close_old_connections)()
            await asyncio.sleep(0.2)

    return StreamingHttpResponse(source(), content_type="text/plain")


@csrf_exempt
@streaming()
def echo(request):
    """Stream a file back that was sent."""
    file = request.FILES["file"]
    return StreamingHttpResponse(file.chunks(), content_type="application/octet-stream")


@csrf_exempt
@streaming()
@transaction.non_atomic_requests
async def async_echo(request):
    file = request.FILES["file"]

    async def source():
        for chunk in file.chunks():
            yield chunk

    return StreamingHttpResponse(source(), content_type="application/octet-stream")


def file(request, name):
    return FileResponse((settings.FOLDER / name).open("rb"))


@csrf_exempt
def upload(request):
    """Tell how much of a form arrived."""
    return HttpResponse(f"{len(request.POST['note'])} {request.FILES['file'].size}")


def threads(request):
    return HttpResponse(str(threading.active_count()))
