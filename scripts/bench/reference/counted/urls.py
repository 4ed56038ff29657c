"""See settings.py."""

from django.urls import path
from django_streamproof.metrics import metrics
from streaming.urls import urlpatterns as demo

urlpatterns = [*demo, path("counted", metrics)]
