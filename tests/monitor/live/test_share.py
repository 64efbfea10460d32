"""Two workers that count a part each look, added up, as one that counts all of it."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from monitor.counting.event import Event, Score
from monitor.counting.windows import WINDOW_LABELS
from monitor.journeys.encounters import UnderWay
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.share import added, decode, encode, overlaps, share
from monitor.live.snapshot import Snapshot
from monitor.rules.verdict import State
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.snapshots import FAILED, GOOD, NOW, held

STAFF = next(stage.name for stage in CHAIR.stages if stage.kind == "staff")


def worker(name: str, events: Sequence[Event], partition: int, waiting: int = 0) -> Snapshot:
    """One that has counted these, and owns that partition of every stage."""
    stages = tuple(
        replace(
            held(stage, [event for event in events if event.stage == stage.name]),
            lags=(PartitionLag(partition, waiting, 0),),
        )
        for stage in CHAIR.stages
    )
    n = len(CHAIR.stages)
    return Snapshot(CHAIR, NOW, True, stages, "1", partitions=2 * n, owned=n, worker=name)


def together(one: Snapshot, other: Snapshot) -> Snapshot:
    """As whoever asks the other over the network has it."""
    return added(one, decode(encode(share(other))))


def test_halves_are_the_whole() -> None:
    """Every window, the trend, the state, the weakest segment, the reason: what Prometheus would add up."""
    events = [GOOD] * 40 + [FAILED] * 3
    both = together(worker("a", events[::2], 0), worker("b", events[1::2], 1))
    whole = replace(worker("c", events, 0), owned=both.partitions)
    assert both.owned == both.partitions
    for mine, all_of_it in zip(both.stages, whole.stages, strict=True):
        for experience in mine.stage.experiences:
            assert mine.shares(experience) == all_of_it.shares(experience)
            assert mine.trend(experience) == all_of_it.trend(experience)
        for window in WINDOW_LABELS:
            assert mine.events(window) == all_of_it.events(window)
            assert mine.top_reason(window) == all_of_it.top_reason(window)
        for grain_ms, came in mine.came.items():
            assert came.counts.tolist() == all_of_it.came[grain_ms].counts.tolist()
        assert (both.state(mine), mine.last_ms) == (whole.state(all_of_it), all_of_it.last_ms)


@pytest.mark.parametrize(("mine", "theirs"), [(NOW - 9, NOW - 5), (NOW - 5, NOW - 9), (None, NOW - 9)])
def test_the_group_began_when_its_first_worker_did(mine: int | None, theirs: int) -> None:
    """As far as they know."""
    one, other = worker("a", [GOOD], 0), worker("b", [GOOD], 1)
    one = replace(one, stages=tuple(replace(stage, began_ms=mine) for stage in one.stages))
    other = replace(other, stages=tuple(replace(stage, began_ms=theirs) for stage in other.stages))
    assert {stage.began_ms for stage in together(one, other).stages} == {NOW - 9}


def test_a_silent_stage_is_not_called_good_by_who_sees_a_part() -> None:
    """Alone neither can know; together they say what `StageSilent` says, once all is read."""
    long_ago = replace(worker("a", [GOOD] * 40, 0), at_ms=NOW + 50 * 60_000)
    later = [replace(one, sums={**one.sums, **dict.fromkeys(("20s", "1m", "5m", "30m"), one.sums["20s"] * 0)})
             for one in long_ago.stages]  # fmt: skip
    long_ago = replace(long_ago, stages=tuple(later))
    (mine,) = [one for one in long_ago.stages if one.stage.name == "web_checkout"]
    assert long_ago.silence(mine) is None
    for waiting, silent in ((0, True), (7, False)):
        both = together(long_ago, worker("b", [], 1, waiting))
        (one,) = [one for one in both.stages if one.stage.name == "web_checkout"]
        assert (both.silence(one) is not None) == silent
        assert (both.state(one) == State.SILENT) == silent


def test_open_encounters_are_added_up() -> None:
    """How many are open in both, and the oldest of them."""
    cell, other = ("queued", "new"), ("started", "new")
    mine = UnderWay({cell: 2}, {cell: NOW - 5_000})
    theirs = UnderWay({cell: 3, other: 1}, {cell: NOW - 63_000, other: NOW})
    one, another = (
        replace(taken, stages=tuple(replace(held, under_way=known) for held in taken.stages))
        for taken, known in ((worker("a", [], 0), mine), (worker("b", [], 1), theirs))
    )
    both = together(one, another).stages[0].under_way
    assert both.n == {cell: 5, other: 1}
    assert both.since_ms == {cell: NOW - 63_000, other: NOW}


def test_a_small_group_of_staff_is_not_told() -> None:
    """Nothing at all, until there are five."""
    asked = Event(stage=STAFF, outcome="ok", score=Score("csat", 5))
    few = share(worker("a", [asked] * 4, 0)).stages[STAFF]
    many = share(worker("a", [asked] * 5, 0)).stages[STAFF]
    assert set(few.sums) == set()
    assert set(many.sums) > {"outcome/ok"}


def test_what_two_count_at_once_is_seen() -> None:
    """While a partition moves both may own it for a moment; then one is left out."""
    mine = worker("a", [GOOD], 0)
    assert overlaps(mine, share(worker("b", [GOOD], 0)))
    assert not overlaps(mine, share(worker("b", [GOOD], 1)))


def test_journeys_are_added_too() -> None:
    """Open ones, what is overdue, and up to when the slowest partition is judged."""

    def kept(partition: int, n: int) -> JourneysSnapshot:
        return JourneysSnapshot(
            "steps", {}, {window: held(CHAIR.stages[0], ()).sums[window] for window in WINDOW_LABELS}, {}, n,
            {("promise/call_back", "none", "1h"): n}, {partition: NOW - n}, (PartitionLag(partition, 0, 0),),
            slowest={partition: ("store", partition)},
        )  # fmt: skip

    both = together(
        replace(worker("a", [], 0), journeys=kept(0, 2)), replace(worker("b", [], 1), journeys=kept(1, 3))
    ).journeys
    assert both is not None
    assert (both.open_journeys, both.overdue) == (5, {("promise/call_back", "none", "1h"): 5})
    assert both.clocks_ms == {0: NOW - 2, 1: NOW - 3}
    assert both.slowest == {0: ("store", 0), 1: ("store", 1)}


@pytest.mark.parametrize("field", ["windows", "sums", "trend"])
def test_what_another_version_counts_is_not_added(field: str) -> None:
    """Its windows are others: added up place by place they would be wrong, or none at all."""
    told = share(worker("a", [GOOD] * 40, 0))
    if field == "windows":
        other = msgspec.structs.replace(told, windows=(*told.windows[:-1], "14d"))
    else:
        rows = {name: row[1:] for name, row in getattr(told.stages[GOOD.stage], field).items()}
        assert rows
        stage = msgspec.structs.replace(told.stages[GOOD.stage], **{field: rows})
        other = msgspec.structs.replace(told, stages=told.stages | {GOOD.stage: stage})
    with pytest.raises(msgspec.ValidationError):
        decode(encode(other))


def test_one_that_is_not_ready_adds_nothing() -> None:
    """It says why, and no numbers."""
    told = share(replace(worker("b", [GOOD], 1), ready=False, problems=("recovering",)))
    assert (told.ready, told.problems, told.stages, told.journeys) == (False, ("recovering",), {}, None)


@pytest.mark.parametrize("moment", [2**62, -(2**62)])
def test_numbers_that_no_worker_counts_are_refused(moment: int) -> None:
    """They were added, and then no page of any worker could be written."""
    told = share(worker("b", [GOOD], 1))
    stages = {"web_checkout": msgspec.structs.replace(told.stages["web_checkout"], last_ms=moment)}
    for wrong in (
        msgspec.structs.replace(told, owned=moment),
        msgspec.structs.replace(told, stages=stages),
    ):
        with pytest.raises(msgspec.ValidationError):
            decode(encode(wrong))
