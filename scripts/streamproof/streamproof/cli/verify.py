"""The command `streamproof verify URL`."""

from collections.abc import Sequence
from typing import Any

import click

from streamproof.ask import DEFAULT_PAUSE, DEFAULT_SHORT, DEFAULT_STALL, DEFAULT_STREAMS, Asking, ask, variants
from streamproof.cli import options
from streamproof.cli.options import Comparison
from streamproof.cli.output import EXIT_STATUS, Output
from streamproof.concurrency import MIN_ROUND_PAUSE
from streamproof.connect import NothingObserved
from streamproof.expected import Expected
from streamproof.progress import Progress
from streamproof.request import Request
from streamproof.run import Question


@click.command(epilog=EXIT_STATUS)
@options.question_options
@options.request_options
@options.expected_options
@options.comparison_options
@click.option(
    "--stall",
    type=options.Seconds(min=1, max=1e6),
    default=DEFAULT_STALL,
    metavar="SECONDS",
    show_default=True,
    help="For backpressure: stop reading for this time, at least 1.",
)
@options.gathered(
    "load",
    dict,
    click.option(
        "--streams",
        type=click.IntRange(min=2, max=100),
        default=DEFAULT_STREAMS,
        metavar="N",
        show_default=True,
        help="For concurrency: ask for this many at once, 2 to 100.",
    ),
    click.option(
        "--rounds",
        type=click.IntRange(min=1, max=100),
        default=1,
        metavar="N",
        show_default=True,
        help="For concurrency: ask so often for that many. Finds what happens to idle connections.",
    ),
    click.option(
        "--pause",
        type=options.Seconds(min=MIN_ROUND_PAUSE, max=1e4),
        default=DEFAULT_PAUSE,
        metavar="SECONDS",
        show_default=True,
        help="For concurrency: between two rounds; as long as the app keeps idle connections.",
    ),
    click.option(
        "--short",
        default=DEFAULT_SHORT,
        metavar="PATH",
        show_default=True,
        help="For concurrency: what the same server must keep answering.",
    ),
)
@options.output_options(options.json_option, options.save_option, options.html_option)
def verify(
    request: Request,
    questions: Sequence[Question],
    expected: Expected,
    comparison: Comparison,
    stall: float,
    load: dict[str, Any],
    output: Output,
) -> int:
    """Ask for URL and judge what comes back.

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
    pace          how soon is the first event there, how long are the gaps?

    The first three, idle and pace are answered from the same request, each of the others takes its own.

    Timing rests on the best evidence that there is: times in the stream (X-Stream-Promise, --times), else a baseline
    (--baseline with the app's own address), else arrivals alone.

    An app that sends the header X-Stream-Promise lets more be told: with rows=, bytes= and sha256= whether all arrived,
    with times=zeroed how late each row was. The README says how.
    """
    if request.read_rate is not None and not set(questions) <= {"framing", "completeness", "idle"}:
        raise click.UsageError(
            "--read-rate makes events late by itself: it goes with --ask framing, completeness and idle alone"
        )
    output.check()
    progress = Progress(wanted=not output.json)
    baseline, repeat = comparison.request(request), comparison.repeat
    asking = Asking(
        request,
        questions,
        expected,
        stall,
        on_read=progress.on_read,
        baseline=baseline,
        repeat=repeat,
        **load,
    )
    try:
        if "protocols" in questions:
            number = len(variants(request)) + 2
            progress.say(f"protocols makes {number} requests, each of at most {request.timeout:g} s")
        with progress:
            run = ask(asking)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except NothingObserved as error:
        output.report_nothing(error.observations)
        raise
    return output.report(run)
