"""The command: `streamcheck verify URL` and `streamcheck judge FILE`."""

import dataclasses
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from streamcheck.judge import judge as judge_observation
from streamcheck.judge import overall
from streamcheck.observation import Observation
from streamcheck.observe import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, NothingObserved, observe
from streamcheck.page import as_html
from streamcheck.progress import Progress
from streamcheck.promise import is_sha256
from streamcheck.report import as_json, as_text

_STATUS = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}
_WRONG_USAGE = 3
_INTERRUPTED = 130

_EXIT_STATUS = (
    "Exit status: 0 everything passed, 1 something failed, 2 could not tell (or nothing came back), 3 wrong usage."
)


def _headers(_: click.Context, __: click.Parameter, values: Sequence[str]) -> list[tuple[str, str]]:
    headers = []
    for value in values:
        name, colon, content = value.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{value!r} is not a name, a colon and a value")
        headers.append((name.strip(), content.strip()))
    return headers


def _sha256(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_sha256(value):
        raise click.BadParameter(f"{value!r} is not 64 hex digits")
    return value and value.lower()


_html_option = click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with the verdicts and the arrivals drawn, to be sent to somebody.",
)


@click.group(epilog=_EXIT_STATUS, no_args_is_help=False)
def cli() -> None:
    """Tell whether an HTTP stream survives the path from app to client."""


@cli.command(epilog=_EXIT_STATUS)
@click.argument("url")
@click.option(
    "--header",
    "headers",
    callback=_headers,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header; repeatable, may replace Host.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=DEFAULT_TIMEOUT,
    metavar="SECONDS",
    show_default=True,
    help="Stop after this time in all.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_BYTES,
    metavar="N",
    show_default=True,
    help="Stop after this much of the body.",
)
@click.option("--expect-bytes", type=click.IntRange(min=0), metavar="N", help="The body must have this many bytes.")
@click.option("--expect-sha256", callback=_sha256, metavar="HEX", help="The body must have this digest.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Save what was observed, for `streamcheck judge`."
)
@_html_option
def verify(
    url: str,
    headers: Sequence[tuple[str, str]],
    timeout: float,
    max_bytes: int,
    expect_bytes: int | None,
    expect_sha256: str | None,
    json_wanted: bool,
    save: Path | None,
    html: Path | None,
) -> int:
    """Ask for URL once and judge what comes back.

    Three questions: is the end of the body properly marked (framing), did all of it arrive (completeness), did each row
    arrive before the next one was produced (timing). Redirects are not followed.

    An app that sends the header X-Stream-Promise lets more be told: with rows=, bytes= and sha256= whether all arrived,
    with times=zeroed how late each row was. The README says how.
    """
    if save is not None:
        _check_writable(save)  # before the network is asked, which may take a minute
    if html is not None:
        _replace(html, None)
    try:
        with Progress(wanted=not json_wanted) as progress:
            observation = observe(url, headers=headers, timeout=timeout, max_bytes=max_bytes, on_read=progress.on_read)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    observation = dataclasses.replace(observation, expected_bytes=expect_bytes, expected_sha256=expect_sha256)
    if save is not None:
        try:
            observation.save(save)
        except OSError as error:
            raise _cannot("write", save, error) from error
    return _report(observation, json_wanted, html)


@cli.command(epilog=_EXIT_STATUS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object instead of text.")
@_html_option
def judge(file: Path, json_wanted: bool, html: Path | None) -> int:
    """Judge again what `streamcheck verify --save FILE` has saved."""
    if html is not None:
        _replace(html, None)
    try:
        observation = Observation.load(file)
    except OSError as error:
        raise _cannot("read", file, error) from error
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    return _report(observation, json_wanted, html)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    click would end wrong usage with 2, which here means that nothing could be told.

    Args:
        args: instead of the process's own arguments.
    """
    try:
        status = cli.main(args, prog_name="streamcheck", standalone_mode=False)
    except NothingObserved as error:
        click.echo(f"streamcheck: {error}", err=True)
        return _STATUS["INCONCLUSIVE"]
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "streamcheck"
        click.echo(f"streamcheck: {error.format_message()} ({path} --help says what is possible)", err=True)
        return _WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return int(status or 0)


def _report(observation: Observation, json_wanted: bool, html: Path | None) -> int:
    verdicts = judge_observation(observation)
    streams = [("stream", observation)]
    if json_wanted:
        _print(as_json(observation, verdicts))
    elif sys.stdout.isatty():
        terminal = Console()
        colour = terminal.color_system is not None and not terminal.no_color
        _print(as_text(streams, verdicts, width=terminal.width, colour=colour))
    else:
        _print(as_text(streams, verdicts))
    if html is not None:
        _replace(html, as_html(streams, verdicts))
    return _STATUS[overall(verdicts)]


def _print(text: str) -> None:
    """Print, whatever the encoding: what it cannot express is escaped."""
    encoding = sys.stdout.encoding or "ascii"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def _cannot(what: str, path: Path, error: OSError) -> click.UsageError:
    return click.UsageError(f"cannot {what} {path}: {error.strerror or error}")


def _check_writable(path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise _cannot("write", path, error) from error


def _replace(path: Path, content: str | None) -> None:
    """Write a file, which is there whole or as it was; without content only find out whether that can be done."""
    # A link stays one.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is not a regular file")
        try:
            temporary.write_text(content or "", encoding="utf-8")
            if content is not None:
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot("write", path, error) from error
