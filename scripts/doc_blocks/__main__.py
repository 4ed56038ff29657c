"""`python -m doc_blocks`: run the console blocks of README.md and docs/, and rewrite the outputs that have changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
from cluster import run
from cluster.kind import Cluster
from cluster.run import Trouble, say
from local_edge import StartFailed

from doc_blocks import environments
from doc_blocks.pages import ROOT, BadPage, pages


@click.group(help=__doc__)
def main() -> None:
    """Take a command."""


@main.command()
@click.option("--where", envvar="WHERE", type=click.Choice(["local", "cluster", "all"]), default="all")
@click.option("--cluster", envvar="CLUSTER", default="streaming", help="kind's name for the cluster.")
@click.option("--port-offset", envvar="PORT_OFFSET", type=int, default=0, help="By which its ports are moved.")
def rewrite(where: str, cluster: str, port_offset: int) -> None:
    """Rewrite the pages."""
    for page in pages():
        say(f" • {page.relative_to(ROOT)}")
        text = new = page.read_text(encoding="utf-8")
        try:
            if where != "cluster":
                new = environments.run_local(new, lambda line: say(f"   {line}"))
            if where != "local":
                new = environments.run_on_cluster(new, Cluster(cluster, port_offset), lambda line: say(f"   {line}"))
        except (BadPage, environments.CommandFailed) as error:
            raise Trouble(f"{page.relative_to(ROOT)}, {error}") from error
        if new != text:
            page.write_text(new, encoding="utf-8")
            say(f" ✓ {page.relative_to(ROOT)} is rewritten: look at `git diff`")


@main.command()
def shell() -> None:
    """Start the servers that the pages' commands name, and a shell in which these run as they are printed."""
    with environments.local(set(environments.LOCAL)) as environment:
        for name in environments.LOCAL:
            say(f"  ${name} is {environment[name]}")
        say("These servers run until you leave this shell (exit).")
        # Ctrl-C is for what runs in the shell. Not SIG_IGN, which that would inherit.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        sys.exit(subprocess.run([os.environ.get("SHELL", "sh")], env=environment, cwd=ROOT).returncode)


if __name__ == "__main__":
    run.main(main, "no page was left half written", StartFailed)
