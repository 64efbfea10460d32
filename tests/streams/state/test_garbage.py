"""What others write to a changelog is passed over: nothing of ours is lost for it, and no start fails."""

import logging

import pytest

from streams.kafka.outgoing import Outgoing
from streams.state.partition import PaneRecord
from tests.streams.state.test_bound import NOW, Keeper
from tests.streams.state.test_processor import Record, Rig, settle

VALUES = (b"", b"x", b"garbage of more than twenty-five bytes", bytes(64))
FOREIGN = [
    PaneRecord(key, value)
    for value in VALUES
    for key in (b"", b"\xff\xfe", b"no", b"1:2", b"1:2:3:4", b"a:b:c", b"j:", b"j:x:y", b"c:", b"c:x")
]


KEYS = (
    b"10000:99999999999999999999:1", b"10000:9223372036854770000:1", b"10000:-86410000:1", b"7:0:1",
    b"10000:5:1",    b"10000:0:-1", b"10000:0:9223372036854775808", b"10000:0:" + b"9" * 400,
)  # fmt: skip
WRITERS = (b"", b"x:y", b"\xff", b"-1:topic", b"9223372036854775807:topic", b"9" * 5000 + b":topic")


def over(keys: list[bytes]) -> list[PaneRecord]:
    """Garbage in the place of what we wrote, as a later owner would write it."""
    return [PaneRecord(key, value) for key in keys for value in VALUES]


async def test_a_stage_keeps_its_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Each record of others is one warning."""
    first = await Rig().own()
    first.fold(Record(0), Record(1))
    flushing = first.flush()
    written: list[Outgoing] = []
    while not flushing.done():
        await settle()
        written += first.broker.acknowledge()
    ours = [PaneRecord(one.key or b"", one.value) for one in written if one.topic == "changelog"]
    assert len(ours) == 2
    higher = [b":".join([*one.key.split(b":")[:2], b"99999999999"]) for one in ours]
    heir = Rig()
    with caplog.at_level(logging.WARNING):
        heir.stage.restore(0, [*FOREIGN, *ours, *over(higher)])
    assert len(caplog.records) == len(FOREIGN) + len(VALUES) * len(higher)
    await heir.own(2)
    assert heir.stage.counted_ever() == 2
    heir.fold(Record(1), Record(2))
    assert heir.results()[:2] == (1, 1)


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_beyond_every_range_is_none_of_ours(key: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """With a value of ours: what such a key says could be neither shown nor written again."""
    first = await Rig().own()
    first.fold(Record(0))
    flushing = first.flush()
    written: list[Outgoing] = []
    while not flushing.done():
        await settle()
        written += first.broker.acknowledge()
    value = next(one.value for one in written if one.topic == "changelog")
    heir = Rig()
    heir.stage.restore(0, [PaneRecord(key, value)])
    assert len(caplog.records) == 1
    await heir.own(2)
    heir.fold(Record(0))
    assert heir.results()[0] == 1


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_header_of_others_is_passed_over(writer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in the place of what we say of ourselves."""
    heir = Rig()
    heir.stage.restore(0, [], [writer])
    assert len(caplog.records) == 1
    await heir.own(2)
    heir.fold(Record(0))
    flushing = heir.flush()
    while not flushing.done():
        await settle()
        heir.broker.acknowledge()
    assert heir.results()[0] == 1


async def test_journeys_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """And their clock."""
    first = await Keeper(2**40).own(1, [])
    first.fold(0, ("j", 1), ("k", 2))
    known = await first.flush()
    ours = [PaneRecord(one.key or b"", one.value) for one in first.written]
    higher = [b"j:99999999999:j", b"c:99999999999"]
    heir = Keeper(2**40)
    with caplog.at_level(logging.WARNING):
        heir.processor.restore(0, [*FOREIGN, *ours, *over(higher)])
    assert len(caplog.records) == len(FOREIGN) + len(VALUES) * len(higher)
    await heir.own(2, [])
    found = await heir.flush()
    assert (found.open_journeys, found.clocks_ms) == (known.open_journeys, known.clocks_ms) == (2, {0: NOW})
    heir.fold(0, ("j", 1), ("k", 2))
    assert heir.processor.results["duplicate"] == 2
