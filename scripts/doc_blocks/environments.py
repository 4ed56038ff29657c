"""Where blocks are run: servers on loopback that are started for them, or the demo on its cluster."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cluster import release, run, tools
from cluster.kind import Cluster
from local_edge import LocalEdge

from doc_blocks.pages import ROOT, Block, Command, blocks, rewritten, shown

_PACKAGES = [str(ROOT / folder) for folder in ("app", "scripts", "scripts/streamproof")]
_EXAMPLES = ["--pythonpath", str(ROOT / "docs")]


def _tls_edge() -> LocalEdge:
    return LocalEdge(buffering="on", tls=True)


_LOCAL: Mapping[str, tuple[str, Callable[[], LocalEdge]]] = {
    "APP": ("app_url", LocalEdge),
    "GOOD_EDGE": ("url", LocalEdge),
    "BUFFERING_EDGE": ("url", lambda: LocalEdge(buffering="on")),
    "HTTP10_EDGE": ("url", lambda: LocalEdge(http_version="1.0")),
    "BAD_EDGE": ("url", lambda: LocalEdge(buffering="on", http_version="1.0")),
    "HTTP2_EDGE": ("url", lambda: LocalEdge(directives="http2 on;")),
    "BUFFERING_TLS_EDGE": ("tls_url", _tls_edge),
    "CACERT": ("cacert", _tls_edge),
    "GZIP_EDGE": (
        "url",
        lambda: LocalEdge(buffering="on", directives="gzip on; gzip_types text/plain; gzip_min_length 0;"),
    ),
    "SYNC_EDGE": (
        "url",
        lambda: LocalEdge(gunicorn_args=["--worker-class", "sync", "--threads", "1", "--timeout", "3"]),
    ),
    "IMPATIENT_EDGE": ("url", lambda: LocalEdge(read_timeout="2s")),
    "EXAMPLES": (
        "app_url",
        lambda: LocalEdge(gunicorn_args=["--worker-class", "gthread", *_EXAMPLES, "examples:wsgi"]),
    ),
    "ASGI_EXAMPLES": (
        "app_url",
        lambda: LocalEdge(gunicorn_args=["--worker-class", "asgi", *_EXAMPLES, "examples:asgi"]),
    ),
}
LOCAL = tuple(_LOCAL)
"""The variables that hold the addresses of servers on loopback."""

_DEMO = "127.0.0.1:8080"
# The controller takes up a change some seconds after Helm is done (its sync-rate-limit is one in 3.3 s).
_CONTROLLER_SECONDS = 8
_BLOCK_SECONDS = 900


class CommandFailed(Exception):
    """A command did not succeed, or printed nothing where a page shows output; the message holds what it said."""


@contextlib.contextmanager
def local(needed: set[str]) -> Iterator[dict[str, str]]:
    """Run servers on loopback, and yield variables with their addresses for a shell.

    Args:
        needed: which of `LOCAL`.

    Raises:
        StartFailed: a server did not come up.
    """
    with contextlib.ExitStack() as stack:
        edges: dict[object, LocalEdge] = {}
        variables = {}
        for name in sorted(needed):
            attribute, make = _LOCAL[name]
            if make not in edges:
                edges[make] = stack.enter_context(make())
            variables[name] = getattr(edges[make], attribute)
        yield _environment() | variables


@contextlib.contextmanager
def on_cluster(cluster: Cluster) -> Iterator[dict[str, str]]:
    """Yield variables for a shell in which kubectl, helm and make mean this cluster and no other.

    Raises:
        Trouble: it is not up.
    """
    cluster.kubectl("get", "--raw", "/readyz")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "kubeconfig")
        config.write_text(run.output(tools.find("kind"), "get", "kubeconfig", "--name", cluster.name))
        config.chmod(0o600)
        found = [str(Path(tools.find(name)).parent) for name in ("kubectl", "helm")]
        environment = _environment()
        environment["PATH"] = os.pathsep.join([*found, environment["PATH"]])
        yield environment | {
            "KUBECONFIG": str(config),
            "CLUSTER": cluster.name,
            "PORT_OFFSET": str(cluster.port_offset),
        }


def _environment() -> dict[str, str]:
    # Those of a make that runs us would make targets of ours print more. A page's project has settings of its own.
    left_out = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return kept | {"PATH": path, "PYTHONPATH": os.pathsep.join(_PACKAGES)}


def run_local(text: str, say: Callable[[str], None] = lambda line: None) -> str:
    """Run the local blocks of a page, and return it with outputs that match (see `pages.rewritten`).

    Raises:
        BadPage: a block has no mark.
        CommandFailed: a command did not do what is expected of it.
        StartFailed: a server did not come up.
    """
    todo = [block for block in blocks(text) if block.where == "local"]
    used = "\n".join(command.text for block in todo for command in block.commands)
    with local({name for name in LOCAL if f"${name}" in used}) as environment:
        return rewritten(text, _run(todo, environment, say))


def run_on_cluster(text: str, cluster: Cluster, say: Callable[[str], None] = lambda line: None) -> str:
    """Run the blocks of a page that need the cluster, and return it with outputs that match (see `pages.rewritten`).

    In the commands the demo's address is this cluster's; all else is as printed. If one of them changed the release, it
    is brought back to the chart's defaults in the end.

    Raises:
        BadPage: a block has no mark.
        CommandFailed: a command did not do what is expected of it.
        Trouble: the cluster is not up, or the release can't be brought back.
    """
    todo = [block for block in blocks(text) if block.where == "cluster"]
    if not todo:
        return text
    changes = any("helm " in command for block in todo for command in (block.first, *[c.text for c in block.commands]))
    address = f"127.0.0.1:{cluster.http_port}"
    with on_cluster(cluster) as environment:
        try:
            outputs = _run(todo, environment, say, address)
        finally:
            if changes:
                release.install(cluster)
    return rewritten(text, outputs)


def _run(
    todo: list[Block], environment: dict[str, str], say: Callable[[str], None], address: str = _DEMO
) -> dict[Command, list[str]]:
    outputs: dict[Command, list[str]] = {}
    for block in todo:
        say(f"line {block.line}: {block.commands[0].text.splitlines()[0]}")
        commands = [*([Command(block.first, 0, ())] if block.first else []), *block.commands]
        texts = [command.text.replace(_DEMO, address) for command in commands]
        for command, (status, printed, said) in zip(
            commands, _run_in_one_shell(texts, environment, address), strict=True
        ):
            if not command.output and status:
                raise CommandFailed(f"line {block.line}: `{command.text}` ended with status {status}. {said}")
            if command.output:
                outputs[command] = shown(printed.replace(address, _DEMO), command.text)
                if not outputs[command]:
                    raise CommandFailed(f"line {block.line}: `{command.text}` printed nothing. {said}")
    return outputs


def _run_in_one_shell(commands: list[str], environment: dict[str, str], address: str) -> Iterator[tuple[int, str, str]]:
    """Yield each command's exit status and output, and what all of them wrote to standard error."""
    script = []
    for command in commands:
        script.append(f"{command}\nprintf '\\0%s\\0' $?")
        if command.startswith("helm ") and "uninstall" not in command:
            script.append(
                "{ kubectl rollout status deploy/streaming --timeout=120s"
                f" && curl -sS -f -o /dev/null --retry 60 --retry-delay 1 --retry-all-errors http://{address}/readyz"
                f" && sleep {_CONTROLLER_SECONDS}; }} >&2"
            )
    done = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_BLOCK_SECONDS,
    )
    said = done.stderr.decode(errors="replace").strip()
    parts = done.stdout.decode(errors="replace").split("\0")
    if len(parts) != 2 * len(commands) + 1:
        raise CommandFailed(f"the shell ended in the midst of `{commands[len(parts) // 2]}`. {said}")
    for place in range(len(commands)):
        yield int(parts[2 * place + 1]), parts[2 * place], said
