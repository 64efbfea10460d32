"""Every test that asks for `broker` runs on the embedded broker and, marked `full`, on Apache Kafka.

TOUCHPOINT_TEST_KAFKA=host:port replaces both by a broker that already runs. A known gap of the embedded
broker is a strict xfail: `@embedded_gap(reason, error)` fails when the gap is gone or shows otherwise.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.kafka.kafka import KafkaNode
from tests.kit.brokers import Node, TansuNode, running

EXTERNAL = os.environ.get("TOUCHPOINT_TEST_KAFKA")
OWN = ["embedded", pytest.param("apache", marks=pytest.mark.full)]


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    kind: str
    bootstrap: str


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker of known gaps known."""
    config.addinivalue_line("markers", "embedded_gap(reason, error): must fail so on the embedded broker")


def _own(kind: str, directory: Path) -> Node:
    return TansuNode() if kind == "embedded" else KafkaNode(directory)


def _expect_gap(request: pytest.FixtureRequest, kind: str) -> None:
    gap = request.node.get_closest_marker("embedded_gap")
    if gap and kind == "embedded":
        reason, error = gap.args
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason, raises=error))


@pytest.fixture(scope="session", params=["external"] if EXTERNAL else OWN)
def session_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """One broker for all tests; they keep apart by their topics' names."""
    if EXTERNAL:
        yield Broker("external", EXTERNAL)
        return
    with running(_own(request.param, tmp_path_factory.mktemp("kafka"))) as node:
        yield Broker(request.param, node.bootstrap)


@pytest.fixture
def broker(request: pytest.FixtureRequest, session_broker: Broker) -> Broker:
    """The running broker."""
    _expect_gap(request, session_broker.kind)
    return session_broker


@pytest.fixture(params=OWN)
def own_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A broker for one test alone, which may kill it and start it again."""
    _expect_gap(request, request.param)
    with running(_own(request.param, tmp_path)) as node:
        yield node


@pytest.fixture
def name() -> str:
    """Names a topic, a group or a transaction that no other test has."""
    return f"contract-{uuid4().hex[:12]}"
