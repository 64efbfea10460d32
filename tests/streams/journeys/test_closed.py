"""Closed journeys are found by their ids with four bytes each, whoever published them, for seven days."""

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.journey_file.model import CLOSED_KEPT_MS
from monitor.journeys.open import OpenJourney
from monitor.journeys.step import Step, Steps, encode
from monitor.live.closed import decode
from streams.journeys import closed as closed_module
from streams.journeys.closed import CHUNK, Closed, Unpublished
from streams.journeys.processor import Extent, JourneyProcessor
from streams.kafka.outgoing import Outgoing
from streams.state.partition import PaneRecord
from tests.kit.shipped import SHIPPED as CHAIR

START = 1_700_000_000_000


def noted(closed: Closed, first: int, ids: range) -> Closed:
    """These journeys have been published, from this offset on."""
    for number in ids:
        closed.note(first + number - ids.start, Unpublished(f"j-{number}", START + number, b""))
    return closed


def restored(*records: PaneRecord) -> Closed:
    """Whoever reads these."""
    closed = Closed()
    for record in records:
        closed.restore(record)
    return closed


def deleted(closed: Closed) -> set[bytes]:
    """Keys that are to be deleted now."""
    records = closed.take_stale()
    assert all(one.value is None for one in records)
    return {one.key for one in records}


def test_found_by_whoever_takes_over() -> None:
    """Over several chunks, and the newest first when it was published again."""
    closed = noted(noted(Closed(), 0, range(3000)), 3000, range(5, 7))
    records = closed.take_changes(1, START)
    assert (len(records), deleted(closed)) == (3, set())
    assert closed.take_changes(1, START) == []
    for held in (closed, restored(*records)):
        assert held.offsets("j-5")[:2] == [3000, 5]
        assert all(number in held.offsets(f"j-{number}") for number in range(3000))
        assert held.offsets("j-unknown") == []
        assert held.kept_bytes == 3 * CHUNK * 4


def test_a_former_owner_that_writes_late_hides_nothing() -> None:
    """What two owners know of one chunk is laid over each other; one record takes the place of both."""
    first = noted(Closed(), 0, range(3))
    (early,) = first.take_changes(1, START)
    second = noted(restored(early), 3, range(3, 6))
    (after,) = second.take_changes(2, START)
    assert (deleted(second), deleted(second)) == ({early.key}, set())
    (late,) = noted(first, 9, range(9, 10)).take_changes(1, START)
    third = restored(early, after, PaneRecord(early.key, None), late)
    assert [third.offsets(f"j-{number}") for number in (0, 5, 9)] == [[0], [5], [9]]
    (_,) = noted(third, 10, range(10, 11)).take_changes(3, START)
    assert deleted(third) == {early.key, after.key}
    assert restored(early, PaneRecord(early.key, None)).offsets("j-1") == []


def test_forgotten_after_seven_days_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ends with the week, or with the bound: then the oldest go."""
    closed = noted(Closed(), 0, range(1))
    closed.take_changes(1, START)
    noted(closed, CHUNK, range(1, 2))
    closed.take_changes(1, START + CLOSED_KEPT_MS + 1)
    assert deleted(closed) == {b"x:1:0"}
    assert (closed.offsets("j-0"), closed.offsets("j-1")) == ([], [CHUNK])
    monkeypatch.setattr(closed_module, "MAX_CHUNKS", 1)
    noted(closed, 2 * CHUNK, range(2, 3))
    closed.take_changes(1, START)
    assert deleted(closed) == {b"x:1:1"}
    assert (closed.offsets("j-1"), closed.offsets("j-2")) == ([], [2 * CHUNK])


def test_what_is_filled_further_survives_what_was_forgotten_of_it() -> None:
    """Journeys of a backlog were over long before; those behind them in the topic have the same key."""
    closed = noted(Closed(), 0, range(3))
    now_ms = START + 2 * CLOSED_KEPT_MS
    written = [*closed.take_changes(1, START), *closed.take_stale()]
    closed.note(3, Unpublished("j-3", START, b""))
    written += [*closed.take_changes(1, now_ms), *closed.take_stale()]
    assert closed.kept_bytes == 0
    closed.note(4, Unpublished("j-4", now_ms, b""))
    written += [*closed.take_changes(1, now_ms), *closed.take_stale()]
    assert restored(*written).offsets("j-4") == [4]


@pytest.mark.parametrize(
    "key", [b"x", b"x:1", b"x:a:1", b"x:1:2:3", b"x:-1:1", b"x:1:-1", b"x:1:9007199254740992", b"x: 1:1"]
)
def test_what_is_none_of_ours_changes_nothing(key: bytes) -> None:
    """Others' records raise, to be passed over; so does a value that is too long or too short."""
    for bad in (PaneRecord(key, b"\0" * 12), PaneRecord(b"x:1:0", b"\0"), PaneRecord(b"x:1:0", b"\1" * 8000)):
        closed = Closed()
        with pytest.raises((ValueError, struct.error)):
            closed.restore(bad)
        assert closed.offsets("j-1") == []


class Broker:
    """Acknowledges all it is handed, until it is told to fail at a topic."""

    def __init__(self) -> None:
        self.written: list[Outgoing] = []
        self.failing = ""

    async def produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """Hand over records."""
        (topic,) = {record.topic for record in records}
        if topic == self.failing:
            raise ConnectionError("the worker is killed here")
        first = sum(one.topic == topic for one in self.written)
        self.written += records
        return range(first, first + len(records))


def over(journey_id: str) -> list[Any]:
    """Records of a journey that is over: its one step, and what all sources have been read past."""
    steps = (Step(journey_id, "feedback", 0, 1, START, "ok", 1, ()),)
    sources = sorted(stage.name for stage in CHAIR.stages)
    told = [Steps("feedback", 0, 0, steps), *(Steps(name, 0, START + 60_000, ()) for name in sources)]
    return [
        SimpleNamespace(offset=n, value=encode(one), timestamp=START, topic="steps", partition=0)
        for n, one in enumerate(told)
    ]


@pytest.mark.parametrize("failing", ["", CHAIR.journeys_topic, "changelog"])
async def test_published_before_anything_says_that_it_is_over(failing: str) -> None:
    """A worker that dies anywhere has either not said so, or Kafka has the journey, and where it lies."""
    broker = Broker()
    extent = Extent(frozenset((stage.name, 0) for stage in CHAIR.stages), 1, 10**9)
    processor = JourneyProcessor(CHAIR, "steps", "changelog", broker.produce, extent)
    await processor.own(frozenset({0}), 1, lambda: True)
    processor.fold(SimpleNamespace(value=over("j-1"), partition=0, offset=20), START)
    broker.failing = failing
    acknowledged: list[Any] = []
    flushing = processor.flush(acknowledged.append)
    if failing:
        with pytest.raises(ConnectionError):
            await flushing
    else:
        await flushing
    topics = [one.topic for one in broker.written]
    if failing == CHAIR.journeys_topic:
        assert (topics, acknowledged) == ([], [])
        return
    closed = broker.written[0]
    assert (closed.topic, closed.partition, closed.key) == (CHAIR.journeys_topic, 0, b"j-1")
    assert decode(closed.value or b"").journey_id == "j-1"
    assert len(acknowledged) == (not failing)
    assert [(one.key or b"")[:2] for one in broker.written[1:2]] == ([] if failing else [b"x:"])
    assert processor.places_of("j-1").offsets == [0]


def test_one_that_our_rules_failed_on_is_not_published() -> None:
    """There is nothing that could be told; it counts as over all the same."""
    closed = Closed()
    closed.add("j-1", OpenJourney(closed_ms=START))
    assert closed.take() == []
