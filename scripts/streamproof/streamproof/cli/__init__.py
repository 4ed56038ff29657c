"""The command: `streamproof verify URL`, `streamproof diagnose INGRESS` and `streamproof judge FILE`."""

import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from streamproof import __version__
from streamproof.cli import diagnose, judge, verify
from streamproof.cli.output import EXIT_STATUS, FAULT, INTERRUPTED, STATUS, WRONG_USAGE, Fault
from streamproof.observe import NothingObserved
from streamproof.verdict import printable


class _Group(click.Group):
    """Takes a URL without a subcommand for one to verify."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and any("://" in one for one in args):
            args = ["verify", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, epilog=EXIT_STATUS, no_args_is_help=False)
@click.version_option(__version__, "-V", "--version", message="streamproof %(version)s")
def cli() -> None:
    """Tell whether an HTTP stream survives the path from app to client.

    `streamproof URL` means `streamproof verify URL`.
    """


for command in (verify.verify, judge.judge, diagnose.diagnose, diagnose.probe):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    click would end wrong usage with 2, which here means that nothing could be told.

    Args:
        args: instead of the process's own arguments.
    """
    try:
        status = cli.main(args, prog_name="streamproof", standalone_mode=False)
    except NothingObserved as error:
        _complain(str(error))
        return STATUS["INCONCLUSIVE"]
    except Fault as error:
        _complain(error.format_message())
        return FAULT
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "streamproof"
        _complain(f"{printable(error.format_message())} ({path} --help says what is possible)")
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        _complain(
            f"a fault of streamproof itself, please report it: {type(error).__name__}: {error} "
            f"({Path(where.filename).name} line {where.lineno}, version {__version__})"
        )
        return FAULT
    return int(status or 0)


def _complain(text: str) -> None:
    """Say in a line why there is no answer. A server, a tenant of the cluster or its API may have words in it."""
    click.echo(f"streamproof: {printable(text)}", err=True)
