"""The command `streamproof diagnose INGRESS`, and what it runs in a cluster."""

from typing import Any

import click

from streamproof.cli import options
from streamproof.cli.output import EXIT_STATUS, STATUS, Output, print_any, print_text
from streamproof.diagnose import diagnose as diagnose_hops
from streamproof.hops import Wanted, measure_hops
from streamproof.observe import NothingObserved
from streamproof.probe import answers
from streamproof.progress import Progress
from streamproof.report import diagnosis_as_json, diagnosis_as_text
from streamproof.request import DEFAULT_TIMEOUT


def _wanted(in_cluster: bool, method: str | None, **others: Any) -> Wanted:
    if in_cluster != (others["image"] is not None):
        raise ValueError(
            "--in-cluster takes --image, one with streamproof, such as streamproof:0.1.0; and neither alone"
        )
    return Wanted(method=method or ("GET" if others["body"] is None else "POST"), **others)


@click.command(epilog=EXIT_STATUS)
@click.argument("ingress")
@click.option("--namespace", metavar="NAME", help="Of the Ingress.  [default: that of the context]")
@click.option("--context", "kube_context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]")
@options.gathered(
    "wanted",
    _wanted,
    click.option(
        "--path",
        "stream",
        required=True,
        metavar="PATH",
        help="Of the stream, with its query.",
    ),
    click.option(
        "--large",
        metavar="PATH",
        help="Of a stream for bytes absorbed, by GET: at least 48 MiB without pauses.  [default: not asked]",
    ),
    click.option(
        "--url",
        metavar="URL",
        help="Of the edge, scheme, host and port, as it is reached from here; on kind http://127.0.0.1:8080.  "
        "[default: from the Ingress' status]",
    ),
    click.option(
        "--timeout",
        type=options.Seconds(min=3, min_open=True, max=1e4),
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        show_default=True,
        help="Stop each request after this time in all.",
    ),
    options.method_option,
    options.data_option,
    options.header_option,
    options.events_option,
    options.cacert_option,
    options.insecure_option,
    click.option(
        "--host",
        metavar="HOST",
        help="Ask for this host, where the Ingress has several or a wildcard.  [default: the Ingress']",
    ),
    click.option(
        "--in-cluster",
        is_flag=True,
        help="Measure pod, Service and edge by a Job beside the Ingress, which is removed afterwards. Takes --image.",
    ),
    click.option(
        "--image", metavar="IMAGE", help="For --in-cluster: with this streamproof, as the cluster can have it."
    ),
)
@options.output_options(options.json_option)
def diagnose(ingress: str, namespace: str | None, kube_context: str | None, wanted: Wanted, output: Output) -> int:
    """Find the hop of INGRESS, by its name, that holds a stream back: pod, Service or edge.

    By your kubeconfig, and without --in-cluster it changes nothing: the pod is measured by port-forward, the edge from
    here. It takes streamproof[kubernetes].
    """
    try:
        from streamproof.kubernetes import Cluster, Trouble, Wrong
    except ImportError as error:
        raise click.UsageError(
            f"diagnose takes a Kubernetes client, and {error}: pip install './scripts/streamproof[kubernetes]'"
        ) from error

    progress = Progress(wanted=not output.json)
    try:
        cluster = Cluster(kube_context, namespace)
        way = cluster.path(ingress, wanted.stream, wanted.host)
        with progress:
            hops = measure_hops(cluster, way, wanted, lambda step: progress.say(f"measuring {step}"), progress.on_read)
    except (ValueError, Wrong) as error:
        raise click.UsageError(str(error)) from error
    except Trouble as error:
        raise NothingObserved(str(error)) from error
    diagnosis = diagnose_hops(hops, way.facts)
    title = f"Ingress {way.facts.name}, host {wanted.host or way.host or 'any'}, path {wanted.stream}"
    if output.json:
        print_any(diagnosis_as_json(title, hops, diagnosis))
    else:
        print_text(lambda **style: diagnosis_as_text(title, hops, diagnosis, **style))
    return STATUS[diagnosis.result]


@click.command(hidden=True)
@click.argument("tasks")
def probe(tasks: str) -> int:
    """Do what `streamproof diagnose --in-cluster` asks of its Job."""
    try:
        for line in answers(tasks):
            click.echo(line)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return 0
