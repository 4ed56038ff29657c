"""The command: `streamproof verify URL`, `streamproof diagnose INGRESS` and `streamproof judge FILE`."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource
from rich.console import Console

from streamproof.ask import DEFAULT_SHORT, DEFAULT_STALL, DEFAULT_STREAMS, Asking, ask
from streamproof.backpressure import Outcome
from streamproof.diagnose import DEFAULT_LARGE, DEFAULT_PATH, Wanted, measure_hops
from streamproof.hops import diagnose as diagnose_hops
from streamproof.judge import overall
from streamproof.observe import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, NothingObserved, parse_address
from streamproof.page import as_html
from streamproof.probe import answers
from streamproof.progress import Progress
from streamproof.promise import is_sha256
from streamproof.report import as_json, as_text, diagnosis_as_json, diagnosis_as_text
from streamproof.run import DEFAULT_QUESTIONS, QUESTIONS, Question, Run

_STATUS = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}
_WRONG_USAGE = 3
_INTERRUPTED = 130

_EXIT_STATUS = (
    "Exit status: 0 all that was asked passed, 1 something failed, 2 could not tell (or nothing came back), "
    "3 wrong usage."
)
# Options that mean something for one question only.
_BELONGS_TO: dict[str, Question] = {
    "stall": "backpressure",
    "expect": "backpressure",
    "read_timeout": "idle",
    "streams": "concurrency",
    "short": "concurrency",
}


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
        raise _cannot("read", value, error) from error
    if "-----BEGIN" not in text:
        raise click.BadParameter(f"{value} is not a file with certificates in PEM")
    return text.replace("\ufffd", "?")


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int | None] | None:
    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _asked(context: click.Context, questions: Sequence[Question], all_wanted: bool) -> Sequence[Question]:
    asked = [one for one in QUESTIONS if one in (QUESTIONS if all_wanted else questions or DEFAULT_QUESTIONS)]
    for option, question in _BELONGS_TO.items():
        if context.get_parameter_source(option) is not ParameterSource.DEFAULT and question not in asked:
            raise click.UsageError(f"--{option.replace('_', '-')} takes --ask {question}")
    return asked


_cacert_option = click.option(
    "--cacert",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=_cacert,
    help="Trust the certificates in this file, instead of the system's.",
)
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
    "--ask",
    "questions",
    type=click.Choice(QUESTIONS),
    multiple=True,
    help="Answer this question; repeatable.  [default: framing, completeness, timing]",
)
@click.option("--all", "all_wanted", is_flag=True, help="Answer all questions.")
@click.option(
    "--header",
    "headers",
    callback=_headers,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header; repeatable, may replace Host.",
)
@click.option("--http1.0", "http10", is_flag=True, help="Speak HTTP/1.0 instead of HTTP/1.1.")
@click.option("--http2", is_flag=True, help="Speak HTTP/2 instead of HTTP/1.1; takes an https URL.")
@_cacert_option
@click.option(
    "--address",
    callback=_address,
    metavar="HOST[:PORT]",
    help="Connect there; Host, SNI and certificate are still the URL's.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=DEFAULT_TIMEOUT,
    metavar="SECONDS",
    show_default=True,
    help="Stop each request after this time in all.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_BYTES,
    metavar="N",
    show_default=True,
    help="Stop each request after this much of the body, compressed or not.",
)
@click.option("--expect-bytes", type=click.IntRange(min=0), metavar="N", help="The body must have this many bytes.")
@click.option("--expect-sha256", callback=_sha256, metavar="HEX", help="The body must have this digest.")
@click.option(
    "--stall",
    type=click.FloatRange(min=1, max=1e6),
    default=DEFAULT_STALL,
    metavar="SECONDS",
    show_default=True,
    help="For backpressure: stop reading for this time, at least 1.",
)
@click.option(
    "--expect",
    type=click.Choice(get_args(Outcome)),
    help="For backpressure: fail if it is the other; without, either passes.",
)
@click.option(
    "--read-timeout",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    metavar="SECONDS",
    help="For idle: the pause that the stream must survive.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=2, max=100),
    default=DEFAULT_STREAMS,
    metavar="N",
    show_default=True,
    help="For concurrency: ask for this many at once, 2 to 100.",
)
@click.option(
    "--short",
    default=DEFAULT_SHORT,
    metavar="PATH",
    show_default=True,
    help="For concurrency: what the same server must keep answering.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Save what was observed, for `streamproof judge`."
)
@_html_option
@click.pass_context
def verify(
    context: click.Context,
    url: str,
    questions: Sequence[Question],
    all_wanted: bool,
    headers: Sequence[tuple[str, str]],
    http10: bool,
    http2: bool,
    cacert: str | None,
    address: tuple[str, int | None] | None,
    timeout: float,
    max_bytes: int,
    expect_bytes: int | None,
    expect_sha256: str | None,
    stall: float,
    expect: Outcome | None,
    read_timeout: float | None,
    streams: int,
    short: str,
    json_wanted: bool,
    save: Path | None,
    html: Path | None,
) -> int:
    """Ask for URL and judge what comes back. Redirects are not followed.

    \b
    framing       is the end of the body properly marked?
    completeness  did all of it arrive?
    timing        did each row arrive before the next one was produced?
    backpressure  when the client stalls, does the app stop too, or does a hop
                  absorb the stream?
    protocols     is it the same over HTTP/1.0, HTTP/1.1 and HTTP/2, compressed,
                  and on a connection that is used again?
    idle          how long may it be without a byte before something cuts it?
    concurrency   are many at once in time, and other requests still answered?

    The first three and idle are answered from one and the same request, each of the others takes its own.

    An app that sends the header X-Stream-Promise lets more be told: with rows=, bytes= and sha256= whether all arrived,
    with times=zeroed how late each row was. The README says how.
    """
    asked = _asked(context, questions, all_wanted)
    if http10 and http2:
        raise click.UsageError("--http1.0 and --http2 exclude each other")
    if save is not None:
        _check_writable(save)  # before the network is asked, which may take a minute
    if html is not None:
        _replace(html, None)
    progress = Progress(wanted=not json_wanted)
    asking = Asking(
        url,
        headers=headers,
        timeout=timeout,
        max_bytes=max_bytes,
        protocol="HTTP/1.0" if http10 else "HTTP/2" if http2 else "HTTP/1.1",
        cacert=cacert,
        address=address,
        questions=asked,
        stall=stall,
        streams=streams,
        short=short,
        expect=expect,
        read_timeout=read_timeout,
        expect_bytes=expect_bytes,
        expect_sha256=expect_sha256,
        on_read=progress.on_read,
    )
    try:
        with progress:
            run = ask(asking)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if save is not None:
        try:
            run.save(save)
        except OSError as error:
            raise _cannot("write", save, error) from error
    return _report(run, json_wanted, html)


@cli.command(epilog=_EXIT_STATUS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object instead of text.")
@_html_option
def judge(file: Path, json_wanted: bool, html: Path | None) -> int:
    """Judge again what `streamproof verify --save FILE` has saved: the same questions get the same answers."""
    if html is not None:
        _replace(html, None)
    try:
        run = Run.load(file)
    except OSError as error:
        raise _cannot("read", file, error) from error
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    return _report(run, json_wanted, html)


@cli.command(epilog=_EXIT_STATUS)
@click.argument("ingress")
@click.option("--namespace", metavar="NAME", help="Of the Ingress.  [default: that of the context]")
@click.option("--context", "kube_context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]")
@click.option("--path", default=DEFAULT_PATH, metavar="PATH", show_default=True, help="Of the stream, with its query.")
@click.option(
    "--large",
    metavar="PATH",
    help="Of a stream for bytes absorbed: at least 48 MiB without pauses. With --path alone, that is not asked.  "
    f"[default: {DEFAULT_LARGE}]",
)
@click.option(
    "--url",
    metavar="URL",
    help="Of the edge, scheme, host and port, as it is reached from here; on kind http://127.0.0.1:8080.  "
    "[default: from the Ingress' status]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=3, min_open=True, max=1e4),
    default=DEFAULT_TIMEOUT,
    metavar="SECONDS",
    show_default=True,
    help="Stop each request after this time in all.",
)
@_cacert_option
@click.option(
    "--in-cluster",
    is_flag=True,
    help="Measure pod, Service and edge by a Job beside the Ingress, which is removed afterwards. Takes --image.",
)
@click.option("--image", metavar="IMAGE", help="For --in-cluster: with this streamproof, as the cluster can have it.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object instead of text.")
@click.pass_context
def diagnose(
    context: click.Context,
    ingress: str,
    namespace: str | None,
    kube_context: str | None,
    path: str,
    large: str | None,
    url: str | None,
    timeout: float,
    cacert: str | None,
    in_cluster: bool,
    image: str | None,
    json_wanted: bool,
) -> int:
    """Find the hop of INGRESS, by its name, that holds a stream back: pod, Service or edge.

    By your kubeconfig, and without --in-cluster it changes nothing: the pod is measured by port-forward, the edge from
    here. It takes streamproof[kubernetes].
    """
    if in_cluster != (image is not None):
        raise click.UsageError(
            "--in-cluster takes --image, one with streamproof, such as streamproof:0.1.0; and neither alone"
        )
    if large is None and context.get_parameter_source("path") is ParameterSource.DEFAULT:
        large = DEFAULT_LARGE
    try:
        from streamproof.kubernetes import Cluster, Trouble, Wrong
    except ImportError as error:
        raise click.UsageError(
            f"diagnose takes a Kubernetes client, and {error}: pip install 'streamproof[kubernetes]'"
        ) from error

    progress = Progress(wanted=not json_wanted)
    try:
        wanted = Wanted(path, large, url, timeout, image, cacert)
        cluster = Cluster(kube_context, namespace)
        way = cluster.path(ingress, path)
        with progress:
            hops = measure_hops(cluster, way, wanted, lambda step: progress.say(f"measuring {step}"), progress.on_read)
    except (ValueError, Wrong) as error:
        raise click.UsageError(str(error)) from error
    except Trouble as error:
        raise NothingObserved(str(error)) from error
    diagnosis = diagnose_hops(hops, way.facts)
    title = f"Ingress {way.facts.name}, host {way.host or 'any'}, path {path}"
    if json_wanted:
        _print(diagnosis_as_json(title, hops, diagnosis))
    elif sys.stdout.isatty():
        terminal = Console()
        colour = terminal.color_system is not None and not terminal.no_color
        _print(diagnosis_as_text(title, hops, diagnosis, width=terminal.width, colour=colour))
    else:
        _print(diagnosis_as_text(title, hops, diagnosis))
    return _STATUS[diagnosis.result]


@cli.command(hidden=True)
@click.argument("tasks")
def probe(tasks: str) -> int:
    """Do what `streamproof diagnose --in-cluster` asks of its Job."""
    try:
        for line in answers(tasks):
            click.echo(line)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return 0


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
        return _STATUS["INCONCLUSIVE"]
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "streamproof"
        click.echo(f"streamproof: {error.format_message()} ({path} --help says what is possible)", err=True)
        return _WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return int(status or 0)


def _report(run: Run, json_wanted: bool, html: Path | None) -> int:
    verdicts = run.verdicts()
    # One for each way in which the stream was asked for: ten at once look alike, and a short request is none.
    by_role = {one.role: one for one in reversed(run.observations) if not one.role.startswith("short")}
    drawn = [(one.role, one) for one in run.observations if by_role.get(one.role) is one]
    streams = [(role, one) for role, one in drawn if role in ("stream", "stalled")] or drawn[:1]
    if json_wanted:
        _print(as_json(streams[0][1], verdicts))
    elif sys.stdout.isatty():
        terminal = Console()
        colour = terminal.color_system is not None and not terminal.no_color
        _print(as_text(streams, verdicts, width=terminal.width, colour=colour))
    else:
        _print(as_text(streams, verdicts))
    if html is not None:
        _replace(html, as_html(drawn, verdicts))
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
