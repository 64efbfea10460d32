"""What others write to a changelog is passed over: nothing of ours is lost for it, and no start fails."""

import logging

import pytest

from streams.state.partition import EPOCHS, GENERATIONS, PaneRecord
from streams.state.processor import TOLD
from streams.state.topic_incarnation import INCARNATIONS
from tests.streams.journeys.test_bound import NOW, Keeper
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
    """Each record of others is told, the first ten in a line each."""
    first = await Rig().own()
    first.fold(Record(0), Record(1))
    ours = await written(first)
    panes = [one.key.split(b":")[:2] for one in ours if not one.key.startswith(b"l:")]
    assert len(panes) == 2
    higher = [b":".join([*key, b"99999999999"]) for key in panes]
    heir = Rig()
    with caplog.at_level(logging.WARNING):
        heir.stage.restore(0, [*FOREIGN, *ours, *over(higher)])
    assert heir.stage._skipped.total() == len(FOREIGN) + len(VALUES) * len(higher)
    assert len(caplog.records) == TOLD
    await heir.own(2)
    assert heir.stage.counted_ever() == 2
    heir.fold(Record(1), Record(2))
    assert heir.results()[:2] == (1, 1)


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_beyond_every_range_is_none_of_ours(key: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """With a value of ours: what such a key says could be neither shown nor written again."""
    first = await Rig().own()
    first.fold(Record(0))
    value = (await written(first))[0].value
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
    await written(heir)
    assert heir.results()[0] == 1


async def test_journeys_are_kept() -> None:
    """And their clock."""
    first = await Keeper(2**40).own(1, [])
    first.fold(0, ("j", 1), ("k", 2))
    known = await first.flush()
    ours = [PaneRecord(one.key or b"", one.value) for one in first.written]
    higher = [b"j:99999999999:j", b"c:99999999999"]
    heir = Keeper(2**40)
    heir.processor.restore(0, [*FOREIGN, *ours, *over(higher)])
    assert heir.processor._skipped.total() == len(FOREIGN) + len(VALUES) * len(higher)
    await heir.own(2, [])
    found = await heir.flush()
    assert (found.open_journeys, found.clocks_ms) == (known.open_journeys, known.clocks_ms) == (2, {0: NOW})
    heir.fold(0, ("j", 1), ("k", 2))
    assert heir.processor.results["duplicate"] == 2


LAST = EPOCHS[-1]
EDGES = [LAST, LAST - GENERATIONS + 8, LAST - GENERATIONS, LAST - GENERATIONS - 1]
"""The last epoch, the last of all but a few in its incarnation, and the last of the one before."""


def forged(ours: list[PaneRecord], epoch: int) -> list[PaneRecord]:
    """The same, as an owner of that epoch would write it."""
    found: list[PaneRecord] = []
    for key, value in ours:
        parts = key.split(b":")
        parts[1 if parts[0] in (b"j", b"c") else -1] = b"%d" % epoch
        found.append(PaneRecord(b":".join(parts), value))
        if parts[0] == b"j" and value is not None:
            named = value[:8] + epoch.to_bytes(8, "big") + value[16:]
            found.insert(-1, PaneRecord(b":".join(parts), named))
    return found


@pytest.mark.parametrize("epoch", EDGES)
async def test_an_epoch_at_the_edge_does_not_hide_what_is_counted_after(epoch: int) -> None:
    """Whoever owns next writes what its own successor reads, in a stage and in journeys."""
    first = await Rig().own()
    first.fold(Record(0))
    ours = await written(first)
    ours += forged(ours, epoch)
    second = Rig()
    second.stage.restore(0, ours, generation=2)
    await second.own(2)
    second.fold(Record(1))
    ours += await written(second)
    third = Rig()
    third.stage.restore(0, ours, generation=3)
    await third.own(3)
    third.fold(Record(0), Record(1), Record(2))
    assert third.results() == (1, 2, 0)
    assert third.stage.counted_ever() == 3


@pytest.mark.parametrize("epoch", EDGES)
async def test_an_epoch_at_the_edge_does_not_hide_journeys(epoch: int) -> None:
    """Nor their clock."""
    first = await Keeper(2**40).own(1, [])
    first.fold(0, ("j", 1))
    await first.flush()
    changelog = [PaneRecord(one.key or b"", one.value) for one in first.written]
    changelog += forged(changelog, epoch)
    for generation in (2, 3):
        heir = Keeper(2**40)
        heir.processor.restore(0, changelog, generation=generation)
        await heir.own(generation, [])
        heir.fold(0, ("j", 1))
        heir.fold(generation, ("k", generation))
        found = await heir.flush()
        changelog += [PaneRecord(one.key or b"", one.value) for one in heir.written]
        assert (found.open_journeys, heir.processor.results["duplicate"]) == (2, 1)


async def test_garbage_under_a_higher_epoch_does_not_end_who_keeps_journeys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Read on by an owner: what no worker wrote says of nobody that it has taken over."""
    keeper = await Keeper(2**40).own(1, [])
    with caplog.at_level(logging.WARNING):
        keeper.processor.restore(0, over([b"j:99:j", b"c:99"]))
    assert len(caplog.records) == 2 * len(VALUES)
    keeper.fold(0, ("j", 1))
    assert (await keeper.flush()).open_journeys == 1


async def test_an_incarnation_at_the_edge_does_not_hide_what_is_counted_after() -> None:
    """A header that says the topic was created as often as can be."""
    forgery, headers = b"%d:another" % INCARNATIONS[-1], [b"0:ours"]
    records: list[PaneRecord] = []
    for generation in (1, 2, 3):
        rig = Rig()
        rig.stage.topic_id = "ours"
        rig.stage.restore(0, records, [*headers, forgery], generation)
        await rig.own(generation)
        rig.fold(Record(generation - 1), Record(generation))
        assert rig.results()[0] == (2 if generation == 1 else 1)
        records += await written(rig, headers)


async def written(rig: Rig, headers: list[bytes] | None = None) -> list[PaneRecord]:
    """Flush; what went to the changelog, and to `headers` what these say of their writer."""
    flushing, taken = rig.flush(), []
    while not flushing.done():
        await settle()
        taken += [one for one in rig.broker.acknowledge() if one.topic == "changelog"]
    await flushing
    if headers is not None:
        headers += [value for one in taken for _, value in one.headers or ()]
    return [PaneRecord(one.key or b"", one.value) for one in taken]
