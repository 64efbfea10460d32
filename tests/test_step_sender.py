"""Steps on their way: records that Kafka takes, marks that vouch for no time that is still to come."""

from datetime import UTC, datetime

import pytest

from monitor.event import Event, Handoff, Promise
from monitor.judging import Verdict
from monitor.steps import GRACE_MS, MAX_WORD, Step, decode, step_of
from streams.step_sender import HOLD_MS, MARK_MS, StepSender, partition_of

NOW = 1_800_000_000_000
KAFKA_BYTES = 1_048_576
"""What Kafka's brokers take unless told otherwise."""


def sender(*, is_read_up: bool = False, partitions: int = 2) -> StepSender:
    """Of the store."""
    return StepSender("store", "steps", partitions, lambda _partition, _folded: is_read_up)


def step(journey_id: str, offset: int, word: str = "x") -> Step:
    """As a careless service makes it: names as long as its events may be."""
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    event = Event(
        stage="store", outcome="ok", id="e", time=at, journey_id=journey_id,
        segment=word, channel=word, touchpoint=word, partner=word, reason=word,
        promise=Promise("p" * 200, word), handoff=Handoff("h" * 200, word, word),
    )  # fmt: skip
    return step_of(event, 0, offset, Verdict((), (), 0, ()))


def test_no_record_outgrows_kafka() -> None:
    """However long the names of a service are, five hundred steps fit."""
    one = sender(partitions=1)
    for offset in range(1200):
        one.add(step("j" * 200, offset, "word " * 1000))
    records = one.take([0], NOW)
    assert len(records) == 3
    assert max(len(record.value or b"") for record in records) < KAFKA_BYTES
    found = [held for record in records for held in decode(record.value or b"").steps]
    assert [held.offset for held in found] == list(range(1200))
    assert {len(held.reason or "") for held in found} == {MAX_WORD}


def test_each_step_goes_to_the_partition_of_its_journey() -> None:
    """And the mark to every partition, once a while."""
    one = sender()
    one.note(0, 7, NOW, NOW)
    for offset, journey_id in enumerate(("a", "b", "c", "d")):
        one.add(step(journey_id, offset))
    records = one.take([0], NOW)
    assert {record.partition for record in records} == {0, 1}
    for record in records:
        held = decode(record.value or b"")
        assert {partition_of(each.journey_id, 2) for each in held.steps} <= {record.partition}
        assert held.mark_ms == NOW - GRACE_MS
    assert one.take([0], NOW + MARK_MS - 1) == []
    assert len(one.take([0], NOW + MARK_MS)) == 2


@pytest.mark.parametrize(
    ("is_read_up", "newest_ms", "delay_ms", "mark_ms"),
    [
        (False, NOW - 5000, 0, NOW - 5000 - GRACE_MS),
        (False, NOW + 240_000, 0, NOW - GRACE_MS),
        (True, NOW - 5000, 0, NOW - GRACE_MS),
        (True, NOW - 5000, 3_600_000, NOW - 3_600_000),
        (True, NOW - 5000, -3_600_000, NOW - GRACE_MS),
    ],
)
def test_a_mark_vouches_for_the_past_only(
    is_read_up: bool, newest_ms: int, delay_ms: int, mark_ms: int
) -> None:
    """As far as events have been read, or up to now when all are; never ahead, whatever an event says."""
    one = sender(is_read_up=is_read_up)
    one.note(0, 7, NOW, newest_ms, delay_ms)
    assert {decode(record.value or b"").mark_ms for record in one.take([0], NOW)} == {mark_ms}


def test_one_late_event_holds_time_up_for_a_while_only() -> None:
    """A quiet partition may not hear of its next event for a day, and all journeys would wait for it."""
    one = sender(is_read_up=True, partitions=1)
    one.note(0, 7, NOW, NOW - 5000, 6 * 3_600_000)
    marks = [
        decode(record.value or b"").mark_ms
        for at_ms in (NOW + HOLD_MS - 1, NOW + HOLD_MS + MARK_MS)
        for record in one.take([0], at_ms)
    ]
    assert marks == [NOW + HOLD_MS - 1 - 6 * 3_600_000, NOW + HOLD_MS + MARK_MS - GRACE_MS]
