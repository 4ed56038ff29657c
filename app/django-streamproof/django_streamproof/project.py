"""What gunicorn's master asks about the project, in a process of its own: see django_streamproof.gunicorn."""

import importlib
import json
import logging
import os
import sys

from django.core.exceptions import ImproperlyConfigured

from django_streamproof import conf


def tell() -> None:
    """Print what gunicorn's settings need of the project's, as JSON; or one sentence for what is wrong in them."""
    told, sys.stdout = sys.stdout, sys.stderr
    name = os.environ["DJANGO_SETTINGS_MODULE"]
    try:
        settings = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise
        sys.exit(f"Error: DJANGO_SETTINGS_MODULE is {name!r}, but there is no module {error.name}.")
    except (ImproperlyConfigured, ImportError) as error:
        sys.exit(f"Error: {error}")
    values, wrong = conf.read(getattr(settings, "STREAMPROOF", {}))
    wrong += conf.clashes(getattr(settings, "MIDDLEWARE", []))
    if wrong:
        sys.exit(f"Error: {wrong[0]}")
    wsgi = getattr(settings, "WSGI_APPLICATION", None) or f"{name.rpartition('.')[0]}.wsgi.application"
    asgi = getattr(settings, "ASGI_APPLICATION", None) or f"{wsgi.rpartition('.wsgi.')[0]}.asgi.application"
    applications = {"gthread": ":".join(wsgi.rsplit(".", 1)), "asgi": ":".join(asgi.rsplit(".", 1))}
    edges = values["TRUSTED_EDGES"]
    # As a socket for both families has the addresses of IPv4.
    mapped = [f"::ffff:{net.network_address}/{96 + net.prefixlen}" for net in edges if net.version == 4]
    answer = {
        "applications": applications,
        "log_format": values["LOG_FORMAT"],
        "metrics_port": values["METRICS_PORT"],
        "streams_per_worker": values["STREAMS_PER_WORKER"],
        "trusted_edges": ",".join([*map(str, edges), *mapped]),
    }
    print(json.dumps(answer), file=told)


def load() -> None:
    """Load the application as a worker would, with gunicorn's arguments in sys.argv, and end with a sentence if not."""
    from gunicorn.app.wsgiapp import WSGIApplication

    try:
        gunicorn = WSGIApplication()
        gunicorn.wsgi()
        worker = gunicorn.cfg.worker_class
        if hasattr(worker, "check_config"):
            worker.check_config(gunicorn.cfg, logging.getLogger("gunicorn.error"))
        if hasattr(worker, "limit"):
            worker.limit(gunicorn.cfg, conf.conf().streams_per_worker)
    # Whatever it is: a worker would end by it.
    except Exception as error:
        sys.exit(f"Error: {type(error).__name__}: {error}")
