import os

from django.contrib import admin
from django.urls import include, path

from ordinary import api, views

asynchronous = os.environ.get("WORKER_CLASS") == "asgi"
urlpatterns = [
    path("admin/", admin.site.urls),
    path("rows", views.async_rows if asynchronous else views.rows),
    path("private", views.async_private if asynchronous else views.private),
    path("order", views.order),
    path("marked-order", views.marked_order),
    path("limited", views.async_limited if asynchronous else views.limited),
    path("orders", views.async_orders if asynchronous else views.orders),
    path("exported", views.async_exported if asynchronous else views.exported),
    path("polled", views.async_polled if asynchronous else views.polled),
    path("echo", views.async_echo if asynchronous else views.echo),
    path("rest/", include(api.router.urls)),
    path("rest/export", api.Export.as_view()),
    path("ninja/", api.ninja.urls),
    path("says", views.async_says if asynchronous else views.says),
    path("fails", views.fails),
    path("file/<str:name>", views.file),
    path("upload", views.upload),
    path("threads", views.threads),
]
