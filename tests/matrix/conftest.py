"""Runs all cases of the matrix, several at once, for they mostly wait, and shows what came of them."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from typing import Any, TypeVar

import pytest
from streamproof.ask import Asking, ask
from streamproof.expected import Expected
from streamproof.request import Request
from streamproof.route import ConnectTo, Route
from streamproof.run import Run

from tests.matrix import servers
from tests.matrix.cases import CASES, FILE, Case
from tests.matrix.table import Results
from tests.matrix.timings import TIMES, TIMINGS, Outcomes, Timing, ask_both, confusion, outcome

C = TypeVar("C", Case, Timing)

_RESULTS, _OUTCOMES = pytest.StashKey[Results](), pytest.StashKey[Outcomes]()
_LIGHT_AT_ONCE, _HEAVY_AT_ONCE, _TIMINGS_AT_ONCE = 16, 3, 32
_BUSY_SECONDS = 1800


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--runs", type=int, default=1, help="how often to run each case; more than once: on a machine that is busy"
    )


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest) -> int:
    # Where other tests run too, this file is found too late for its option to be known.
    return int(request.config.getoption("--runs", 1))


@pytest.fixture(scope="session")
def started(runs: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Servers]:
    """Start all servers, on a machine that is kept busy where there are several runs."""
    files = tmp_path_factory.mktemp("files")
    (files / "file.txt").write_bytes(FILE)
    load = servers.busy(os.cpu_count() or 1, _BUSY_SECONDS) if runs > 1 else contextlib.nullcontext()
    with servers.running(tmp_path_factory.mktemp("servers"), files) as found, load:
        yield found


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, runs: int, started: servers.Servers) -> Results:
    """Return the verdicts of each run of each case, by the case's name and the question."""
    found: Results = {case.name: [] for case in CASES}
    for cases, at_once in (
        ([case for case in CASES if not case.heavy], _LIGHT_AT_ONCE),
        ([case for case in CASES if case.heavy], _HEAVY_AT_ONCE),
    ):
        for case, run in _ask_all([(case, _asking(case, started)) for case in cases] * runs, at_once, ask):
            found[case.name].append({verdict.question: verdict for verdict in run.verdicts()})
    request.config.stash[_RESULTS] = found
    return found


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, runs: int, started: servers.Servers) -> Outcomes:
    """Return what came of each run of each stream without a promise."""
    asked = [(case, _asking_both(case, started)) for case in TIMINGS] * runs
    found = [(case, outcome(run)) for case, run in _ask_all(asked, _TIMINGS_AT_ONCE, ask_both)]
    request.config.stash[_OUTCOMES] = found
    return found


def _ask_all(asked: list[tuple[C, Asking]], at_once: int, how: Callable[[Asking], Run]) -> Iterator[tuple[C, Run]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["streamproof.ask"])
    with ProcessPoolExecutor(at_once, context) as pool:
        pending = [(case, pool.submit(how, asking)) for case, asking in asked]
        for case, run in pending:
            yield case, run.result()


def _asking_both(case: Timing, started: servers.Servers) -> Asking:
    """Ask a server, and the app itself as the baseline."""
    here, there = (
        Request(
            f"http://127.0.0.1:{started.ports[server]}/events?{case.query}",
            headers=case.headers,
            timeout=case.timeout,
            times=TIMES,
        )
        for server in (case.server, "app")
    )
    return Asking(here, ["timing"], baseline=there)


def _asking(case: Case, started: servers.Servers) -> Asking:
    port = started.ports[case.server]

    def options(kind: type[Any]) -> dict[str, Any]:
        return {one.name: case.options[one.name] for one in fields(kind) if one.name in case.options}

    request = Request(f"http://127.0.0.1:{port}{case.target}", **options(Request))
    if started.secure(case.server):
        url = f"https://edge.invalid:{port}{case.target}"
        request = replace(
            request, url=url, route=Route([ConnectTo("", None, "127.0.0.1", None)]), cacert=started.cacert.read_text()
        )
    expected = Expected(**options(Expected))
    if expected.sha256 == "right":
        expected = replace(expected, sha256=hashlib.sha256(FILE).hexdigest())
    return Asking(request, list(case.expected), expected, **options(Asking))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the confusion matrices."""
    if (outcomes := config.stash.get(_OUTCOMES, None)) is not None:
        terminalreporter.section(f"timing without a promise, {len(TIMINGS)} streams")
        for line in confusion(outcomes):
            terminalreporter.write_line(line)
    found = config.stash.get(_RESULTS, None)
    if found is None:
        return
    answers = [
        (case, verdicts[question], result)
        for case in CASES
        for verdicts in found[case.name]
        for question, (result, _) in case.expected.items()
    ]
    pairs = Counter((result, verdict.result) for _, verdict, result in answers)
    kinds = ("PASS", "FAIL", "INCONCLUSIVE")
    terminalreporter.section(f"streamproof's verdicts in {len(CASES)} cases")
    terminalreporter.write_line("expected \\ got" + "".join(f"{kind:>14}" for kind in kinds))
    for expected in kinds:
        terminalreporter.write_line(f"{expected:14}" + "".join(f"{pairs[expected, got]:14}" for got in kinds))
    for case, verdict, result in answers:
        if verdict.result != result:
            terminalreporter.write_line(
                f"{case.name}: {verdict.question} is {verdict.result}, not {result}: {verdict.sentence}"
            )
