"""The command: `streamproof verify URL`, `streamproof diagnose INGRESS` and `streamproof judge FILE`."""

from collections.abc import Sequence

import click

from streamproof import __version__
from streamproof.cli import diagnose, judge, verify
from streamproof.cli.output import EXIT_STATUS, INTERRUPTED, STATUS, WRONG_USAGE
from streamproof.observe import NothingObserved


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
        click.echo(f"streamproof: {error}", err=True)
        return STATUS["INCONCLUSIVE"]
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "streamproof"
        click.echo(f"streamproof: {error.format_message()} ({path} --help says what is possible)", err=True)
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return int(status or 0)
