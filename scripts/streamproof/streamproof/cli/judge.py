"""The command `streamproof judge FILE`."""

from pathlib import Path

import click

from streamproof.cli import options
from streamproof.cli.output import EXIT_STATUS, Output, cannot
from streamproof.run import Run


@click.command(epilog=EXIT_STATUS)
@click.argument("file", type=click.Path(path_type=Path))
@options.output_options(options.json_option, options.html_option)
def judge(file: Path, output: Output) -> int:
    """Judge again what `streamproof verify --save FILE` has saved: the same questions get the same answers."""
    output.check()
    try:
        run = Run.load(file)
    except OSError as error:
        raise cannot("read", file, error) from error
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    return output.report(run)
