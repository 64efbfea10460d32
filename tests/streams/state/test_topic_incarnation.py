"""A topic deleted and created again, stepped by hand: offsets begin anew, each event counts once."""

import asyncio

import pytest

from streams.engine.recovery import compacted, writers
from streams.kafka.outgoing import Outgoing
from streams.state.topic_incarnation import OFFSETS, Incarnation
from tests.streams.state.test_processor import Record, Rig, event, settle


async def owner(topic_id: str, changelog: list[Outgoing], generation: int) -> Rig:
    """A worker that has read the changelog and reads the topic of that id."""
    rig = Rig()
    rig.stage.topic_id = topic_id
    records = [
        Record(i, one.value, one.key or b"", tuple(one.headers or ())) for i, one in enumerate(changelog)
    ]
    rig.stage.restore(0, compacted(records), writers(records))
    return await rig.own(generation)


async def written(rig: Rig) -> list[Outgoing]:
    """Flush; what went to the changelog."""
    flushing, taken = rig.flush(), []
    while not flushing.done():
        await settle()
        taken += rig.broker.acknowledge()
    await flushing
    return [record for record in taken if record.topic == "changelog"]


@pytest.mark.parametrize("before", ["one", ""])
async def test_the_same_topic_is_read_on(before: str) -> None:
    """What the watermark covers is a duplicate, also if it was written before ids were known."""
    first = await owner(before, [], 1)
    first.fold(Record(0), Record(1))
    changelog = await written(first)
    second = await owner("one", changelog, 2)
    second.fold(Record(1), Record(2))
    assert second.results() == (1, 1, 0)


async def test_another_topic_counts_from_its_beginning() -> None:
    """Offset 0 of the new topic is no duplicate of the old one's, to its next owners neither."""
    first = await owner("one", [], 1)
    first.fold(Record(0), Record(1))
    changelog = await written(first)
    second = await owner("two", changelog, 2)
    second.fold(Record(0), Record(1))
    assert second.results() == (2, 0, 0)
    changelog += await written(second)
    third = await owner("two", changelog, 3)
    third.fold(Record(1), Record(2))
    assert third.results() == (1, 1, 0)
    assert third.stage.counted_ever() == 5


async def test_a_former_owner_of_the_old_topic_writes_late() -> None:
    """Whoever slept while the topic was replaced does not bring its offsets back."""
    first = await owner("one", [], 1)
    first.fold(Record(0))
    changelog = await written(first)
    second = await owner("two", changelog, 2)
    second.fold(Record(0))
    changelog += await written(second)
    first.fold(Record(1))
    changelog += await written(first)
    third = await owner("two", changelog, 3)
    third.fold(Record(0), Record(1))
    assert third.results() == (1, 1, 0)


async def test_what_may_be_of_another_topic_is_not_written() -> None:
    """A topic replaced between two fetches: what came of it is neither written nor acknowledged."""
    rig = await owner("one", [], 1)
    rig.fold(Record(0), Record(1, event("bad", outcome="no such")))

    async def changed() -> None:
        raise RuntimeError("the topic is another one")

    with pytest.raises(RuntimeError, match="another one"):
        await asyncio.wait_for(rig.stage.flush(rig._acknowledge, changed), 5)
    assert rig.broker.waiting == []
    assert rig.acknowledged == []


def test_places_go_on_growing() -> None:
    """Every incarnation begins above the last; one of unknown id is the one before."""
    incarnation = Incarnation()
    bases = []
    for topic_id in ("", "one", "one", "two", "", "two", "one"):
        incarnation.own(topic_id)
        bases.append(incarnation.base // OFFSETS)
    assert bases == [0, 0, 0, 1, 1, 1, 2]
