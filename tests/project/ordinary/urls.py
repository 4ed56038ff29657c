import os

from django.contrib import admin
from django.urls import path

from ordinary import views

asynchronous = os.environ.get("WORKER_CLASS") == "asgi"
urlpatterns = [
    path("admin/", admin.site.urls),
    path("rows", views.async_rows if asynchronous else views.rows),
    path("private", views.async_private if asynchronous else views.private),
    path("order", views.order),
    path("marked-order", views.marked_order),
    path("limited", views.async_limited if asynchronous else views.limited),
    path("orders", views.orders),
    path("says", views.async_says if asynchronous else views.says),
    path("fails", views.fails),
    path("file/<str:name>", views.file),
    path("upload", views.upload),
    path("opened", views.opened),
]
