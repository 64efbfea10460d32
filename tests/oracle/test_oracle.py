"""Every row of journeys that two workers show, killed on the way, is what the README files alone come to."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from deploy.kafka.kafka import KafkaNode
from tests.kit.brokers import Node, TansuNode, running
from tests.oracle.fleet import JOURNEY, fleet, old, present, settled
from tests.oracle.journeys import beside, journeys
from tests.oracle.oracle import Event, count, moment

BROKERS = [pytest.param("embedded"), pytest.param("apache", marks=pytest.mark.full)]
KILLS = 3


def generated(seed: int, now: datetime) -> list[Event]:
    """What has happened by half an hour ago: nothing that comes of it falls due while the test runs."""
    known = [*journeys(seed, 480, now), *beside(seed, now)]
    random.Random(seed).shuffle(known)
    return [event for event in known if moment(event["time"]) < now - timedelta(minutes=30)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("order", ["shuffled", "as they happened"])
def test_workers_count_what_the_readme_files_say(broker: str, order: str, tmp_path: Path) -> None:
    """Events come in any order while the time of journeys stands, or in their own order while it goes on."""
    tree = yaml.safe_load(JOURNEY.read_text())
    events = generated(1, datetime.now(UTC))
    if order != "shuffled":
        events.sort(key=lambda event: moment(event["time"]))
    node: Node = KafkaNode(tmp_path) if broker == "apache" else TansuNode()
    with running(node), fleet(node.bootstrap, tmp_path) as group:
        published = old() if order == "shuffled" else []
        group.publish(published)
        for turn in range(KILLS + 1):
            part = events[turn * len(events) // (KILLS + 1) : (turn + 1) * len(events) // (KILLS + 1)]
            again = part[::10] if order == "shuffled" else []
            group.publish([*part, *again])
            published += [*part, *again]
            if turn < KILLS:
                group.kill()
        last = present(tree["stages"])
        group.publish(last)
        expected, _ = count(tree, [*published, *last], datetime.now(UTC))
        assert settled(group, expected, 600) == {}


SHIFTS = [
    ("quiet", "43199s"),
    ("quiet", "43201s"),
    ("limit", "172799s"),
    ("limit", "172801s"),
    ("handoffs", [{"from": "warehouse", "to": "delivery", "within": "86399s"}]),
    ("handoffs", [{"from": "warehouse", "to": "delivery", "within": "86401s"}]),
    ("follow_up", {"stage": "feedback", "outcome": ["followed_up"], "within": "28799s"}),
    ("follow_up", {"stage": "feedback", "outcome": ["followed_up"], "within": "28801s"}),
    ("unhappy", {"csat": 2}),
    ("unhappy", {"nps": 5}),
    ("contacts", ["store"]),
]


@pytest.mark.long
@pytest.mark.parametrize(("key", "value"), SHIFTS)
def test_generated_journeys_stand_at_every_edge(key: str, value: object) -> None:
    """A second more or less in the journey file is another count."""
    tree = yaml.safe_load(JOURNEY.read_text())
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    events = generated(1, now)
    as_written, _ = count(tree, events, now)
    tree["journeys"][key] = value
    assert count(tree, events, now)[0] != as_written


@pytest.mark.long
@pytest.mark.parametrize("field", ["due", "due_from"])
@pytest.mark.parametrize("seconds", [-1, 1])
def test_generated_promises_stand_at_every_edge(field: str, seconds: int) -> None:
    """A deadline a second earlier or later is another count."""
    tree = yaml.safe_load(JOURNEY.read_text())
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    events = generated(1, now)
    as_written, _ = count(tree, events, now)
    for event in events:
        if (promise := event.get("promise")) and field in promise:
            promise[field] = (moment(promise[field]) + timedelta(seconds=seconds)).isoformat()
    assert count(tree, events, now)[0] != as_written
