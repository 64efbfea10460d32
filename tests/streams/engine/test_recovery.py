"""What recovery makes of a fetch, and its lines for the log, with the clock turned by hand."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.recovery import Progress, compacted
from streams.state.partition import PaneRecord


class Record(NamedTuple):
    """As much of a consumer record as recovery reads."""

    key: bytes
    value: bytes | None
    offset: int


CHANGELOGS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=2)))


@given(CHANGELOGS)
def test_a_fetch_is_read_as_if_compacted(changelog: list[tuple[bytes, bytes | None]]) -> None:
    """Exactly the records that no later one of their key follows are left, in their order."""
    records = [Record(key, value, offset) for offset, (key, value) in enumerate(changelog)]
    left = [
        PaneRecord(one.key, one.value)
        for one in records
        if all(one.key != later.key for later in records[one.offset + 1 :])
    ]
    assert compacted(records) == left


def test_progress_is_told_at_once_then_once_a_second() -> None:
    """The first fetch is told, then at most one line a second; the last line has the whole length."""
    progress = Progress()
    progress.start(100.0)
    assert progress.read(4_000, 196_000, 100.5) == (
        "recovering counts: 4,000 records read, at most 196,000 left, 0.5 s"
    )
    assert progress.read(56_000, 140_000, 101.4) is None
    assert progress.read(60_000, 80_000, 101.5) == (
        "recovering counts: 120,000 records read, at most 80,000 left, 1.5 s"
    )
    assert progress.end(103.25) == "counts recovered: 120,000 records read in 3.2 s"


def test_a_rebalance_starts_progress_over() -> None:
    """What was read for the assignment before is not counted in."""
    progress = Progress()
    progress.start(100.0)
    progress.read(5_000, 0, 101.0)
    progress.start(101.2)
    assert progress.read(300, 700, 101.3) == ("recovering counts: 300 records read, at most 700 left, 0.1 s")
    assert progress.end(101.4) == "counts recovered: 300 records read in 0.2 s"
