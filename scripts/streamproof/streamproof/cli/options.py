"""The options that commands share, each group of them handed to its command as one value."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource

from streamproof.cli.output import Output, cannot
from streamproof.expected import Expected, Outcome
from streamproof.promise import is_sha256
from streamproof.request import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, Request, parse_address
from streamproof.run import DEFAULT_QUESTIONS, QUESTIONS, Question

F = TypeVar("F", bound=Callable[..., Any])

# Options that mean something for one question only.
_BELONGS_TO: dict[str, Question] = {
    "stall": "backpressure",
    "backpressure": "backpressure",
    "read_timeout": "idle",
    "streams": "concurrency",
    "short": "concurrency",
}


def gathered(name: str, make: Callable[..., Any], *options: Callable[[F], F]) -> Callable[[F], F]:
    """Give a command some options as one value.

    Args:
        name: of the command's argument.
        make: makes the value from the options' values, by their names; a ValueError is wrong usage.
        options: in the order in which the help shows them.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def run(*args: Any, **values: Any) -> Any:
            taken = {one: values.pop(one) for one in names}
            try:
                values[name] = make(**taken)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            return command(*args, **values)

        others = len(getattr(run, "__click_params__", ()))
        for option in reversed(options):
            option(run)
        names = [one.name for one in run.__click_params__[others:]]  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


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


def _cacert(_: click.Context, __: click.Parameter, value: Path | None) -> str | None:
    if value is None:
        return None
    try:
        # What is no certificate is a comment, in any encoding.
        text = value.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise cannot("read", value, error) from error
    if "-----BEGIN" not in text:
        raise click.BadParameter(f"{value} is not a file with certificates in PEM")
    return text.replace("\ufffd", "?")


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int | None] | None:
    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _request(http10: bool, http2: bool, **fields: Any) -> Request:
    if http10 and http2:
        raise ValueError("--http1.0 and --http2 exclude each other")
    return Request(protocol="HTTP/1.0" if http10 else "HTTP/2" if http2 else "HTTP/1.1", **fields)


def _questions(questions: Sequence[Question], all_wanted: bool) -> list[Question]:
    asked = [one for one in QUESTIONS if one in (QUESTIONS if all_wanted else questions or DEFAULT_QUESTIONS)]
    context = click.get_current_context()
    for option in context.command.params:
        question = _BELONGS_TO.get(option.name or "")
        given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        if question is not None and given and question not in asked:
            raise ValueError(f"{option.opts[0]} takes --ask {question}")
    return asked


cacert_option = click.option(
    "--cacert",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=_cacert,
    help="Trust the certificates in this file, instead of the system's.",
)

request_options = gathered(
    "request",
    _request,
    click.argument("url"),
    click.option(
        "--header",
        "headers",
        callback=_headers,
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Send this header; repeatable, may replace Host.",
    ),
    click.option("--http1.0", "http10", is_flag=True, help="Speak HTTP/1.0 instead of HTTP/1.1."),
    click.option("--http2", is_flag=True, help="Speak HTTP/2 instead of HTTP/1.1; takes an https URL."),
    cacert_option,
    click.option(
        "--address",
        callback=_address,
        metavar="HOST[:PORT]",
        help="Connect there; Host, SNI and certificate are still the URL's.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=1e6),
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        show_default=True,
        help="Stop each request after this time in all.",
    ),
    click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_BYTES,
        metavar="N",
        show_default=True,
        help="Stop each request after this much of the body, compressed or not.",
    ),
)

question_options = gathered(
    "questions",
    _questions,
    click.option(
        "--ask",
        "questions",
        type=click.Choice(QUESTIONS),
        multiple=True,
        help="Answer this question; repeatable.  [default: framing, completeness, timing]",
    ),
    click.option("--all", "all_wanted", is_flag=True, help="Answer all questions."),
)

expected_options = gathered(
    "expected",
    Expected,
    click.option(
        "--expect-bytes",
        "bytes",
        type=click.IntRange(min=0),
        metavar="N",
        help="The body must have this many bytes.",
    ),
    click.option("--expect-sha256", "sha256", callback=_sha256, metavar="HEX", help="The body must have this digest."),
    click.option(
        "--expect",
        "backpressure",
        type=click.Choice(get_args(Outcome)),
        help="For backpressure: fail if it is the other; without, either passes.",
    ),
    click.option(
        "--read-timeout",
        type=click.FloatRange(min=0, min_open=True, max=1e6),
        metavar="SECONDS",
        help="For idle: the pause that the stream must survive.",
    ),
)

json_option = click.option("--json", "json", is_flag=True, help="Print one JSON object instead of text.")
html_option = click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with the verdicts and the arrivals drawn, to be sent to somebody.",
)
save_option = click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Save what was observed, for `streamproof judge`."
)


def output_options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Give a command its options for output as an `Output`."""
    return gathered("output", Output, *options)
