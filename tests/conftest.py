"""In CI a skipped test fails: what did not run did not pass. What starts a process is marked `process`."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from streams.__main__ import ONE_BLAS_THREAD
from tests.kit.starting import Guard, mark

os.environ.update(ONE_BLAS_THREAD)  # as in a worker; tests side by side have no core for more threads

from deploy.kafka.kafka import KafkaNode
from tests.kit.brokers import Node, TansuNode, running

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no error
hypothesis.settings.load_profile("unhurried")

GUARD = Guard()
sys.addaudithook(GUARD)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.full)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A broker of the test's own."""
    with running(TansuNode() if request.param == "embedded" else KafkaNode(tmp_path / "kafka")) as node:
        yield node


def pytest_itemcollected(item: pytest.Item) -> None:
    """`make quick` leaves out what is marked here."""
    if isinstance(item, pytest.Function):
        mark(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """What a test with real parts leaves open fails that test, and not a later one that is collected in."""
    try:
        return (yield)
    finally:
        if item.get_closest_marker("full"):
            gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """While a test runs, its fixtures included, nothing starts unmarked."""
    GUARD.watched = item
    try:
        return (yield)
    finally:
        GUARD.watched = None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which tests were skipped, where that counts as failing."""
    for report in terminalreporter.stats.get("skipped", []) if os.environ.get("CI") else []:
        terminalreporter.write_line(f"skipped in CI, hence failed: {report.nodeid}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run for a skipped test."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
