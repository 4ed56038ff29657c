"""Which path is answered by which view; /livez and /readyz are answered earlier, by health.middleware."""

from django.urls import path
from django.views.decorators.http import require_safe
from download import views

urlpatterns = [
    path("download_csv", require_safe(views.download_csv)),
    path("download_csv_streaming", require_safe(views.download_csv_streaming)),
    path("binary", require_safe(views.binary)),
    path("measure", require_safe(views.measure)),
]
