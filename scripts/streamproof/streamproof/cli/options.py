"""The options that commands share, each group of them handed to its command as one value."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource

from streamproof.cli.output import Output
from streamproof.expected import Expected, Outcome
from streamproof.observation import Protocol
from streamproof.promise import is_sha256
from streamproof.request import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, MAX_REDIRECTS, Request
from streamproof.route import ConnectTo, Route, parse_connect_to, parse_proxy, parse_resolve
from streamproof.run import DEFAULT_QUESTIONS, QUESTIONS, Question
from streamproof.times import parse_times

F = TypeVar("F", bound=Callable[..., Any])

# What is read of a file with a body, headers or certificates, and what a message shows of a line.
_MAX_FILE = 16 << 20
_SHOWN = 100

# What judges whether a body is complete.
_OF_BODIES: tuple[Question, ...] = ("completeness", "protocols", "concurrency")
# Options that mean something for some questions only.
_BELONGS_TO: dict[str, tuple[Question, ...]] = {
    "times": ("timing",),
    "baseline": ("timing",),
    "stall": ("backpressure",),
    "backpressure": ("backpressure",),
    "read_timeout": ("idle",),
    "streams": ("concurrency",),
    "short": ("concurrency",),
    "rounds": ("concurrency",),
    "pause": ("concurrency",),
    "bytes": _OF_BODIES,
    "sha256": _OF_BODIES,
    "events": _OF_BODIES,
    "last": _OF_BODIES,
}


# What is a question by itself.
_ASKS_FOR: dict[str, Question] = {"max_first_event": "pace", "max_gap_p99": "pace", "repeat": "pace"}


class Seconds(click.FloatRange):
    """A range of seconds; "nan" is in no range, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take a number.

        Raises:
            click.BadParameter: it is none, or out of the range.
        """
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


@dataclass(frozen=True)
class Comparison:
    """How often the stream is asked for, and what it is compared with.

    Attributes:
        baseline: URL of the same stream at another address; None for none.
        baseline_connect_to: for the baseline, as in `Route`.
        baseline_headers: for the baseline, instead of the request's of the same name.
        repeat: how often to ask; None for the default.
    """

    baseline: str | None = None
    baseline_connect_to: Sequence[ConnectTo] = ()
    baseline_headers: Sequence[tuple[str, str]] = ()
    repeat: int | None = None

    def __post_init__(self) -> None:
        """Refuse what means nothing without a baseline.

        Raises:
            ValueError: there is some.
        """
        if self.baseline is None and (self.baseline_connect_to or self.baseline_headers):
            which = "connect-to" if self.baseline_connect_to else "header"
            raise ValueError(f"--baseline-{which} requires --baseline URL")

    def request(self, request: Request) -> Request | None:
        """Return the request to the baseline that corresponds to a request."""
        if self.baseline is None:
            return None
        asked = dataclasses.replace(request, url=self.baseline, route=Route(connect_to=self.baseline_connect_to))
        for name, value in self.baseline_headers:
            asked = asked.with_header(name, value)
        return asked


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


def _lines(_: click.Context, __: click.Parameter, values: Sequence[str]) -> list[str]:
    """Take headers, and of `@FILE` one from each line."""
    lines = []
    for value in values:
        found = [value]
        if value.startswith("@"):
            try:
                found = [one for one in _content(value).decode("utf-8").splitlines() if one.strip()]
            except UnicodeDecodeError as error:
                raise click.BadParameter(f"{value[1:]} is not UTF-8") from error
        lines += found
    return lines


def _headers(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[tuple[str, str]]:
    headers = []
    for value in _lines(context, parameter, values):
        name, colon, content = value.partition(":")
        if not colon or not name.strip():
            shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
            raise click.BadParameter(f"{shown!r} is not a name, a colon and a value")
        headers.append((name.strip(), content.strip()))
    return headers


def _data(_: click.Context, __: click.Parameter, values: Sequence[str]) -> bytes | None:
    """Join what is to be sent by "&", and leave out a file's line ends, as curl does."""
    if not values:
        return None
    parts = [_content(one).translate(None, b"\r\n\0") if one.startswith("@") else one.encode() for one in values]
    return b"&".join(parts)


def _content(value: str) -> bytes:
    """Read what `@FILE` names, or standard input for `@-`."""
    name = value[1:]
    if not name:
        raise click.BadParameter("'@' names no file")
    try:
        if name == "-":
            content = sys.stdin.buffer.read(_MAX_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > _MAX_FILE:
        raise click.BadParameter(f"{name} holds more than {_MAX_FILE >> 20} MiB")
    return content


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Make a callback that parses an option's value, or each of a repeatable one's; a ValueError is wrong usage."""

    def callback(_: click.Context, __: click.Parameter, value: str | Sequence[str] | None) -> Any:
        try:
            if value is None or isinstance(value, str):
                return None if value is None else parse(value)
            return [parse(one) for one in value]
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _sha256(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_sha256(value):
        raise click.BadParameter(f"{value!r} is not 64 hex digits")
    return value and value.lower()


def _not_blank(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("it is blank")
    return value and value.strip()


def _cacert(_: click.Context, __: click.Parameter, value: Path | None) -> str | None:
    if value is None:
        return None
    # What is no certificate is a comment, in any encoding.
    text = _content(f"@{value}").decode("ascii", "replace")
    if "-----BEGIN" not in text:
        raise click.BadParameter(f"{value} is not a file with certificates in PEM")
    return text.replace("\ufffd", "?")


def _request(
    http10: bool, http11: bool, http2: bool, body: bytes | None, method: str | None, location: bool, **fields: Any
) -> Request:
    wanted: dict[Protocol, bool] = {"HTTP/1.0": http10, "HTTP/1.1": http11, "HTTP/2": http2}
    protocols = [protocol for protocol, is_wanted in wanted.items() if is_wanted]
    if len(protocols) > 1:
        raise ValueError("--http1.0, --http1.1 and --http2 exclude each other")
    route = Route(**{one.name: fields.pop(one.name) for one in dataclasses.fields(Route)})
    return Request(
        method=("GET" if body is None else "POST") if method is None else method,
        body=body,
        protocol=next(iter(protocols), None),
        route=route,
        redirects=MAX_REDIRECTS if location else 0,
        **fields,
    )


def _questions(questions: Sequence[Question], all_wanted: bool) -> list[Question]:
    asked = [one for one in QUESTIONS if one in (QUESTIONS if all_wanted else questions or DEFAULT_QUESTIONS)]
    context = click.get_current_context()
    limited = {question for name, question in _ASKS_FOR.items() if context.params.get(name) is not None}
    asked = [one for one in QUESTIONS if one in asked or one in limited]
    for option in context.command.params:
        some = _BELONGS_TO.get(option.name or "", ())
        given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        if some and given and not set(some) & set(asked):
            raise ValueError(f"{option.opts[0]} takes --ask {some[0]}")
    return asked


cacert_option = click.option(
    "--cacert",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=_cacert,
    help="Trust the certificates in this file, instead of the system's.",
)

method_option = click.option(
    "-X",
    "--request",
    "method",
    metavar="METHOD",
    help="Ask with this method.  [default: GET, with --data POST]",
)
data_option = click.option(
    "-d",
    "--data",
    "body",
    callback=_data,
    multiple=True,
    metavar="DATA",
    help="Send this body, or that in @FILE, or of standard input (@-); repeatable, joined by '&'. Its Content-Type "
    "is a form's unless --header sets it.",
)
header_option = click.option(
    "-H",
    "--header",
    "headers",
    callback=_headers,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header, or one of each line of @FILE, which keeps keys out of the process list; repeatable, "
    "may replace Host.",
)
events_option = click.option(
    "--events",
    "stop_events",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N events, of a stream that may never end.",
)
insecure_option = click.option("-k", "--insecure", is_flag=True, help="Trust any certificate.")

request_options = gathered(
    "request",
    _request,
    click.argument("url"),
    method_option,
    data_option,
    header_option,
    click.option("--http1.0", "http10", is_flag=True, help="Speak HTTP/1.0."),
    click.option(
        "--http1.1",
        "http11",
        is_flag=True,
        help="Speak HTTP/1.1.  [default: of http URLs; of https ones HTTP/2 or HTTP/1.1, as negotiated]",
    ),
    click.option("--http2", is_flag=True, help="Speak HTTP/2; requires an https URL."),
    cacert_option,
    insecure_option,
    click.option("-L", "--location", is_flag=True, help=f"Follow redirects, {MAX_REDIRECTS} at most."),
    click.option(
        "--connect-to",
        callback=parsed(parse_connect_to),
        multiple=True,
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="For the URL's HOST1:PORT1 connect to HOST2:PORT2; Host, SNI and certificate are still the URL's. Empty "
        "parts stand for any, or the same; repeatable.",
    ),
    click.option(
        "--resolve",
        callback=parsed(parse_resolve),
        multiple=True,
        metavar="HOST:PORT:ADDRESS",
        help="Use this address for HOST:PORT, or several with commas; repeatable.",
    ),
    click.option("--unix-socket", callback=_not_blank, metavar="PATH", help="Connect to this Unix domain socket."),
    click.option(
        "-x",
        "--proxy",
        callback=parsed(parse_proxy),
        metavar="[http://]HOST:PORT",
        help="Ask through this HTTP proxy. HTTP_PROXY and the like are not used.",
    ),
    events_option,
    click.option(
        "--for",
        "stop_seconds",
        type=Seconds(min=0, min_open=True, max=1e6),
        metavar="SECONDS",
        help="Stop after this time, of a stream that may never end.",
    ),
    click.option(
        "--read-rate",
        type=click.IntRange(min=1),
        metavar="N",
        help="Read at most N bytes a second, as a slow client does.",
    ),
    click.option(
        "--times",
        callback=parsed(parse_times),
        metavar="REGEX",
        help="For timing: find production times in lines, in a group named time: seconds, ms or ns since 1970, or a "
        "date as in ISO 8601.",
    ),
    click.option(
        "--timeout",
        type=Seconds(min=0, min_open=True, max=1e6),
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
        "--expect-events",
        "events",
        type=click.IntRange(min=0),
        metavar="N",
        help="There must be this many events, or lines where the body is no stream of events.",
    ),
    click.option(
        "--expect-last",
        "last",
        metavar="TEXT",
        callback=_not_blank,
        help="The last line that is not empty must contain this, such as 'data: [DONE]'.",
    ),
    click.option(
        "--expect",
        "backpressure",
        type=click.Choice(get_args(Outcome)),
        help="For backpressure: fail if it is the other; without, either passes.",
    ),
    click.option(
        "--read-timeout",
        type=Seconds(min=0, min_open=True, max=1e6),
        metavar="SECONDS",
        help="For idle: the pause that the stream must survive.",
    ),
    click.option(
        "--max-first-event",
        type=Seconds(min=0, min_open=True, max=1e6),
        metavar="SECONDS",
        help="For pace: the first event must come so soon.",
    ),
    click.option(
        "--max-gap-p99",
        type=Seconds(min=0, min_open=True, max=1e6),
        metavar="SECONDS",
        help="For pace: of the gaps between events, 99 % must be no longer.",
    ),
)

comparison_options = gathered(
    "comparison",
    Comparison,
    click.option(
        "--baseline",
        metavar="URL",
        help="For timing: compare with the same stream at this address, such as the app's own. Both are asked at once, "
        "twice or three times; once if it is no GET.",
    ),
    click.option(
        "--baseline-connect-to",
        callback=parsed(parse_connect_to),
        multiple=True,
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="As --connect-to, for the baseline.",
    ),
    click.option(
        "--baseline-header",
        "baseline_headers",
        callback=_headers,
        multiple=True,
        metavar="'NAME: VALUE'",
        help="As --header, for the baseline, which gets --header too; repeatable.",
    ),
    click.option(
        "--repeat",
        type=click.IntRange(min=1, max=100),
        metavar="N",
        help="Ask for the stream so often, 1 to 100; of the pace the medians count.",
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
