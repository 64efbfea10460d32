"""Journeys as they are written: also by an earlier version, and whether they are at hand unpacked or not."""

import asyncio

import msgspec
import pytest
from cramjam import lz4

from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.step import Step, Steps
from streams.journeys.partition import JourneyPartition
from streams.journeys.records import Kept, Made, header, pack_clock, unpack
from streams.journeys.store import JourneyStore
from streams.state.partition import PaneRecord
from tests.kit.shipped import SHIPPED

RULES = JourneyRules(SHIPPED)
BEGIN = 1_800_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
SOURCE = ("store", 0)

EARLIER = bytes.fromhex(
    "00000000000000070000000000000001000001a318933e800053010000f41b939792dc0012a16aac7765625f63686563"
    "6b6f75740001cf000001a3185c5000a26f6b0190a36e6577c00100012f00c2a977617265686f75736500022c0031933e"
    "802c00042700f02785a26964a170a46b696e64af64656c69766572795f77696e646f77a86475655f66726f6dc0a36475"
    "65d6ff6b4b2380a46b657074c08335002068a41c00066200fc01a2746fa8706f73746e6f7264919ba1704f0005800005"
    "2600011200e61d82ac00c2c0c2c2c0c09198a1684f0014a88e000a2f004118933e8038006132530a80c0c20b00323c9f"
    "c21400004c0051c0c091930717000018016491b06869742f4b00d02f6e6577cf000001a318933e80"
)
"""A chair bought, handed over and promised within a day, as an earlier version wrote it: to be looked at an
hour after it began."""


def test_a_record_of_an_earlier_version_is_read() -> None:
    """It has its journey looked at too early, without harm. What falls due does so in its time."""
    partition = JourneyPartition(RULES, frozenset([SOURCE]), 60 * DAY)
    partition.restore(PaneRecord(b"j:1:j", EARLIER))
    partition.restore(PaneRecord(b"c:1", pack_clock(7, BEGIN, {SOURCE: BEGIN})))
    asyncio.run(partition.own(2, lambda: True))
    assert header(EARLIER).next_ms == BEGIN + HOUR
    assert unpack(EARLIER).made == [Made(7, BEGIN, ("hit/delivery/new",))]
    assert partition.take(8, Steps(*SOURCE, BEGIN + 2 * HOUR, ())).made == []
    (due,) = partition.take(9, Steps(*SOURCE, BEGIN + DAY + HOUR, ())).made
    assert (due.at_ms, due.counters) == (BEGIN + DAY, ("promise/delivery_window/postnord/due",))
    (written,) = [one for one in partition.take_changes()[0] if one.key == b"j:2:j"]
    journey = partition.look_up("j")
    assert journey is not None
    assert written.value is not None
    assert header(written.value).next_ms == journey.next_ms > BEGIN + DAY
    assert unpack(written.value).journey == journey


@pytest.mark.parametrize("field", ["end_ms", "next_ms", "closed_ms", "after_ms"])
def test_a_journey_that_could_not_be_written_again_is_none_of_ours(field: str) -> None:
    """Somebody else's record: its end would be when time changes it next, and fits no header."""
    journey = OpenJourney()
    setattr(journey, field, 2**63)
    value = bytes(25) + lz4.compress_block(msgspec.msgpack.encode(Kept(journey)))
    with pytest.raises(msgspec.ValidationError):
        unpack(value)


def test_what_is_found_is_as_it_is_written() -> None:
    """Changed or written, each journey is what its record holds; what nobody said to have changed is not."""
    store = JourneyStore()
    ids = [f"j-{number}" for number in range(10)]
    for number, journey_id in enumerate(ids):
        kept = Kept(OpenJourney(), [Made(1, BEGIN, ("closed/met/new",))] if number % 2 else [])
        assert RULES.take(kept.journey, Step(journey_id, "store", 0, number, BEGIN, "ok", 1, ())) == []
        store.change(journey_id, kept)
    changed = [store.find(journey_id) for journey_id in ids]
    written = [record.value or b"" for record in store.take_changes(2, 1, 0, ())]
    assert [unpack(value) for value in written] == changed
    assert [store.find(journey_id) for journey_id in ids] == changed
    assert store.record_bytes == sum(map(len, written))
    spoilt = store.find(ids[0])
    assert spoilt is not None
    spoilt.journey.steps.clear()
    assert store.find(ids[0]) == changed[0]
    assert store.take_changes(3, 1, 0, ()) == []


def test_an_id_that_returns_as_it_is_forgotten_is_kept() -> None:
    """The same owner writes it under the same key, which may not be deleted for the journey before it."""
    store, kept = JourneyStore(), Kept(OpenJourney())
    assert RULES.take(kept.journey, Step("j", "store", 0, 1, BEGIN, "ok", 1, ())) == []
    store.change("j", kept)
    (before,) = store.take_changes(2, 1, 0, ())
    store.forget("j")
    assert store.stale == {before.key}
    store.change("j", kept)
    (again,) = store.take_changes(3, 1, 0, ())
    assert (again.key, store.stale) == (before.key, set())
