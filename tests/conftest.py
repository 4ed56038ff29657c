"""For all tests: a property does not fail because the machine is busy. For those of the page: a real browser. For those
on a real cluster: the one that CLUSTER and PORT_OFFSET name, which `make test` brings up.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import release, tools
from cluster.kind import Cluster
from cluster.run import Trouble
from hypothesis import settings
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

settings.register_profile("any-speed", deadline=None)
settings.load_profile("any-speed")
# For the fuzzer, by hand: --hypothesis-profile=long
settings.register_profile("long", deadline=None, max_examples=100_000)

# A command in the background of a shell ignores SIGINT, and so does what it starts. The tests interrupt some of that.
signal.signal(signal.SIGINT, signal.default_int_handler)

CLUSTER = Cluster(os.environ.get("CLUSTER", "streaming-test"), int(os.environ.get("PORT_OFFSET", "10000")))
# Where the tests of each folder install the chart.
_NAMESPACES = {
    "cluster": "streaming-test",
    "edges": "streaming-faults",
    "faults": "streaming-faults",
    "pages": "default",
}

# Where a row's tick and dot are on its timeline, in seconds by the scale above it.
_DRAWN = """section => [...section.querySelectorAll("tr.arrived")].map(row => {
    const lane = row.querySelector(".lane div").getBoundingClientRect();
    const scale = parseFloat(section.querySelector(".scale").textContent);
    return [".tick", ".dot"].map(mark => {
        const {left, right} = row.querySelector(mark).getBoundingClientRect();
        return ((left + right) / 2 - lane.left) / lane.width * scale;
    });
})"""


class Visit:
    """The page in a browser.

    Attributes:
        page: to click and look at.
        complaints: what the browser wrote to its console as a warning or an error, such as a violated policy.
        requested: the addresses that were asked for.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requested: list[str] = []
        page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in ("warning", "error") else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))

    def stream(self, name: str) -> Locator:
        return self.page.locator(f"section#{name}")

    def wait_for_rows(self, name: str, count: int) -> None:
        self.stream(name).locator("tr.arrived").nth(count - 1).wait_for(timeout=30_000)

    def wait_for_end(self, name: str) -> None:
        expect(self.stream(name)).not_to_have_attribute("data-state", "running", timeout=30_000)

    def summary(self, name: str) -> str:
        return self.stream(name).get_by_role("status").inner_text()

    def drawn(self, name: str) -> list[tuple[float, float]]:
        """Return where the tick and the dot of each row are, in seconds on the timeline."""
        return [(tick, dot) for tick, dot in self.stream(name).evaluate(_DRAWN)]


@pytest.fixture(scope="module")
def hosts() -> str:
    """Rules for which names the browser resolves: none, but for those that a module maps to an edge."""
    return "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


# Not for longer than a module: as long as the driver runs, no other test can run an event loop.
@pytest.fixture(scope="module")
def chromium(hosts: str) -> Iterator[Browser]:
    with sync_playwright() as driver:
        args = [f"--host-resolver-rules={hosts}", "--no-proxy-server"]
        browser = driver.chromium.launch(executable_path=tools.chromium(), args=args)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Open an address in a browser that has never been anywhere, with options of Playwright's `new_context`."""
    with contextlib.ExitStack() as stack:

        def open_page(url: str, script: str = "", **options: Any) -> Visit:
            context = stack.enter_context(chromium.new_context(**options))
            if script:
                context.add_init_script(script)
            visit = Visit(context.new_page())
            visit.page.goto(url)
            return visit

        yield open_page


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, seen to be up: without it these tests fail, they are not skipped."""
    CLUSTER.kubectl("get", "--raw", "/readyz")
    return CLUSTER


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show pods, events and logs where a test on the cluster failed: a CI machine is gone when one comes to look."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.failed or "cluster" not in item.fixturenames:  # type: ignore[attr-defined]
        return
    try:
        CLUSTER.kubectl("get", "--raw", "/readyz", timeout=30)
    except Trouble as error:
        report.sections.append(("cluster", str(error)))
        # Each of the other tests would wait for as long, and tell no more.
        item.session.shouldstop = f"the cluster {CLUSTER.name} does not answer"
    else:
        report.sections.append(("cluster", release.diagnostics(CLUSTER, _NAMESPACES[item.path.parent.name])))
