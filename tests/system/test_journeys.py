"""Whole journeys through real brokers and workers: exactly what the slow and plain way comes to."""

from pathlib import Path

import pytest

from deploy.kafka.kafka import KafkaNode
from tests.journey_month import run
from tests.kit.brokers import Node, TansuNode, running

BROKERS = [
    pytest.param("embedded"),
    pytest.param("apache", marks=pytest.mark.full),
]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_month_of_journeys_is_counted_exactly(broker: str, tmp_path: Path) -> None:
    """Two workers, one of them killed while it keeps journeys and replaced."""
    node: Node = KafkaNode(tmp_path) if broker == "apache" else TansuNode()
    with running(node):
        found = run(node, 1000, seed=3, kills=1, deadline_s=240)
    assert found.wrong == {}
    firsts = {name.partition("/")[0] for name in found.truth}
    assert firsts >= {"hit", "closed", "score", "weakest", "promise", "handoff", "contact", "critical", "gap"}
