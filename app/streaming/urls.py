"""Which path is answered by which view; /livez and /readyz are answered earlier, by health.middleware."""

from django.urls import path
from django.views.decorators.http import require_safe
from download import views
from page import views as page

urlpatterns = [
    path("", require_safe(page.index)),
    path("page.js", require_safe(page.script)),
    path("page.css", require_safe(page.style)),
    path("download_csv", require_safe(views.download_csv)),
    path("download_csv_streaming", require_safe(views.download_csv_streaming)),
    path("binary", require_safe(views.binary)),
    path("measure", require_safe(views.measure)),
]
