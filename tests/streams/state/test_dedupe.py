"""Whether a record repeats an id depends on the records before it, not on how and how often they are read."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.state import dedupe
from streams.state.dedupe import CHUNKS, Sightings

"""A busy machine is no failure."""


class Record(NamedTuple):
    """As much of a record as matters."""

    offset: int
    id: str
    timestamp_ms: int


class Log(NamedTuple):
    """Records of one partition and for how long their ids are to be known."""

    records: list[Record]
    dedupe_ms: int


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Few ids and many, gaps in offsets, time that jumps ahead, stands still and goes back."""
    ids = st.integers(0, draw(st.sampled_from([1, 5, 50])))
    steps = st.tuples(st.sampled_from([1, 1, 1, 3]), ids, st.integers(-40, 60))
    offset, at_ms, records = draw(st.integers(0, 5)), 1000, []
    for gap, number, ahead_ms in draw(st.lists(steps, min_size=1, max_size=150)):
        offset, at_ms = offset + gap, max(at_ms + ahead_ms, 0)
        records.append(Record(offset, f"e-{number}", at_ms))
    return Log(records, draw(st.sampled_from([1, 50, 500, 5000])))


def clocks_ms(log: Log) -> list[int]:
    """The highest timestamp up to each record."""
    return list(itertools.accumulate((record.timestamp_ms for record in log.records), max))


def verdicts(log: Log) -> list[bool]:
    """Each record against all before it."""
    clocks = clocks_ms(log)
    return [
        any(
            log.records[i].id == record.id and clocks[n] - clocks[i] < log.dedupe_ms for i in range(n)
        )
        for n, record in enumerate(log.records)
    ]  # fmt: skip


def see(sightings: Sightings, records: list[Record]) -> list[bool]:
    """The verdicts on a batch."""
    return sightings.see(
        [r.offset for r in records], [r.id for r in records], [r.timestamp_ms for r in records]
    )


@given(st.data(), logs(), st.sampled_from([1, 3, 20]), st.sampled_from([1, 8, 2**18]))
def test_every_way_of_reading_gives_the_verdicts_of_the_log(
    data: st.DataObject, log: Log, tail: int, chunk_ids: int
) -> None:
    """Any cut into batches, read again from any offset that can be resumed: the verdicts are the oracle's."""
    want = verdicts(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedupe, "TAIL", tail)
        patch.setattr(dedupe, "CHUNK_IDS", chunk_ids)
        sightings, at, rewinds = Sightings(log.dedupe_ms), 0, 5
        while at < len(log.records):
            size = data.draw(st.integers(1, 30))
            assert see(sightings, log.records[at : at + size]) == want[at : at + size]
            at = min(at + size, len(log.records))
            assert sightings.can_resume(log.records[at - 1].offset + 1)
            back = data.draw(st.integers(0, at)) if rewinds else at
            if back < at and sightings.can_resume(log.records[back].offset):
                at, rewinds = back, rewinds - 1


@given(logs(), st.integers(0, 149))
def test_what_was_read_back_is_enough(log: Log, number: int) -> None:
    """Begun at the first record that is at most the time older than the one read last, verdicts are the same.

    "Read last" may be taken for any record before, as long as its time is not higher than the clock.
    """
    last = min(number, len(log.records) - 1)
    end = last + 1
    read_last_ms = max(record.timestamp_ms for record in log.records[max(0, end - 3) : end])
    start = next(
        n for n, record in enumerate(log.records) if record.timestamp_ms >= read_last_ms - log.dedupe_ms
    )
    sightings = Sightings(log.dedupe_ms)
    see(sightings, log.records[start:end])
    sightings.continue_at(log.records[last].offset + 1)
    assert sightings.clock_ms == clocks_ms(log)[last]
    assert see(sightings, log.records[end:]) == verdicts(log)[end:]


def test_the_time_is_less_than_the_time_given() -> None:
    """At exactly the time the id is new again; a repeated record is a sighting too."""
    sightings = Sightings(100)
    records = [Record(0, "a", 1000), Record(1, "a", 1099), Record(2, "a", 1198), Record(3, "a", 1298)]
    assert see(sightings, records) == [False, True, True, False]


def test_time_that_goes_back_does_not_forget() -> None:
    """An old timestamp counts as now: the id is known for the whole time after it was read."""
    sightings = Sightings(100)
    assert see(sightings, [Record(0, "x", 1000), Record(1, "a", 10), Record(2, "a", 1099)])[2]


def test_reading_again_from_too_far_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the sightings kept one by one nothing can be said, and nothing is."""
    monkeypatch.setattr(dedupe, "TAIL", 4)
    records = [Record(n, f"e-{n}", n) for n in range(20)]
    sightings = Sightings(1000)
    see(sightings, records)
    floor = next(n for n in range(20) if sightings.can_resume(n))
    assert floor == 16
    with pytest.raises(RuntimeError, match="offset 15 is read again, ids are known from 16 on"):
        see(sightings, records[15:])
    assert see(sightings, records[16:]) == [False] * 4


def test_what_lies_ahead_or_was_never_read_cannot_be_resumed() -> None:
    """A partition read by somebody else in between is not known."""
    sightings = Sightings(1000)
    assert sightings.can_resume(0)
    assert not sightings.can_resume(1)
    see(sightings, [Record(4, "a", 1)])
    assert sightings.can_resume(5)
    assert not sightings.can_resume(6)
    sightings.continue_at(9)
    assert sightings.can_resume(9)
    sightings.continue_at(5)
    assert sightings.next_offset == 9
    assert see(sightings, [Record(4, "a", 1), Record(10, "a", 2)]) == [False, True]


def test_no_records_change_nothing() -> None:
    """A batch of which every record was refused."""
    sightings = Sightings(1000)
    assert see(sightings, []) == []
    assert sightings.next_offset == len(sightings) == 0


@pytest.mark.parametrize("chunk_ids", [64, 2**18])
def test_ids_are_dropped_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch, chunk_ids: int) -> None:
    """Of distinct ids there are never more than the time holds, plus the tail and one chunk."""
    monkeypatch.setattr(dedupe, "TAIL", 16)
    monkeypatch.setattr(dedupe, "CHUNK_IDS", chunk_ids)
    dedupe_ms, batch = 1000, 10
    bound = dedupe_ms + dedupe_ms // CHUNKS + 2 * 16 + batch
    sightings, most = Sightings(dedupe_ms), 0
    for first in range(0, 10 * dedupe_ms, batch):  # one id a millisecond
        see(sightings, [Record(n, f"e-{n}", n) for n in range(first, first + batch)])
        most = max(most, len(sightings))
        assert all(chunk.hashes.size <= chunk_ids for chunk in sightings._chunks)
    assert dedupe_ms <= most <= bound
    for first in range(0, 64, 32):
        see(sightings, [Record(10**6 + first + n, "again", 10**6 + dedupe_ms * first) for n in range(32)])
    assert len(sightings) <= 2


def test_an_id_seen_all_the_time_is_held_once_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that retries for ever takes no more room than its ids."""
    monkeypatch.setattr(dedupe, "TAIL", 16)
    sightings = Sightings(10**9)
    for n in range(0, 5000, 10):
        see(sightings, [Record(i, f"e-{i % 3}", i) for i in range(n, n + 10)])
    assert len(sightings) < 3 * 30


def test_a_chunk_is_held_until_its_last_sighting_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a silence a chunk may hold ids of very different age."""
    monkeypatch.setattr(dedupe, "TAIL", 2)
    sightings = Sightings(1000)
    see(sightings, [Record(0, "x", 0), Record(1, "a", 900), Record(2, "y", 901), Record(3, "z", 902)])
    see(sightings, [Record(n, f"e-{n}", 1096 + n) for n in range(4, 8)])
    assert see(sightings, [Record(8, "x", 1200), Record(9, "a", 1200)]) == [False, True]


def test_chunks_that_are_merged_keep_the_last_time_of_each_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen early is forgotten early, what was seen in both is known from the later one on."""
    monkeypatch.setattr(dedupe, "TAIL", 2)
    sightings = Sightings(1000)
    seen = [
        "a 0",
        "p 0",
        "q 1",
        "r 1",
        "b 200",
        "c 200",
        "p 201",
        "e 201",
        "f 202",
        "g 202",
        "h 203",
        "i 203",
    ]
    records = [Record(n, one[0], int(one[2:])) for n, one in enumerate(seen)]
    for first in range(0, len(records), 2):
        see(sightings, records[first : first + 2])
    again = [Record(len(seen) + n, id_, 1100) for n, id_ in enumerate("abpq")]
    assert see(sightings, again) == [False, True, True, False]
