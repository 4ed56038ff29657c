"""The Django app: it has system checks, and nothing else."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from django_streamproof import conf


class StreamproofConfig(AppConfig):  # type: ignore[misc]
    """`django_streamproof` in INSTALLED_APPS."""

    name = "django_streamproof"

    def ready(self) -> None:
        """Register the checks."""
        checks.register(check)


def check(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Return an error for each wrong value of STREAMPROOF and of the environment, and for each clash of middleware."""
    wrong = conf.read(getattr(settings, "STREAMPROOF", {}))[1]
    return [
        *(checks.Error(sentence, id="django_streamproof.E001") for sentence in wrong),
        *(checks.Error(sentence, id="django_streamproof.E002") for sentence in conf.clashes(settings.MIDDLEWARE)),
    ]
