"""What is read first of whole journeys is what their counters add up to, window by window."""

from dataclasses import replace

from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.windows import StageWindows
from monitor.journeys.counters import counter_names
from monitor.live.journeys import JourneysSnapshot, ages, journey_facts
from tests.kit.shipped import SHIPPED as CHAIR

NOW = 1_800_000_030_000


def held(counts: dict[str, int], *, ago_ms: int = 0) -> JourneysSnapshot:
    """A worker of 12 open journeys that has counted this so long ago, with five things overdue."""
    windows = StageWindows(counter_names(CHAIR))
    for grain in (SHORT, LONG):
        windows.add(PaneKey(grain.ms, grain.start_of(NOW - ago_ms)), counts)
    overdue = [
        ("promise/call_back", "none", NOW - 1000),
        ("promise/delivery_window", "matkahuolto", NOW - 90_000_000),
        ("promise/delivery_window", "matkahuolto", NOW - 1000),
        ("promise/courier_call_ahead", "matkahuolto", NOW - 1000),
        ("handoff/warehouse/delivery", "postnord", NOW - 1000),
    ]
    return JourneysSnapshot(
        topic="steps",
        column=windows.column,
        sums=windows.sums(NOW),
        results={},
        open_journeys=12,
        overdue=ages(overdue, NOW),
        clocks_ms={0: NOW - 60_000, 1: NOW - 61_000},
        slowest={0: ("store", 2), 1: ("delivery", 0)},
        lags=(),
    )


COUNTS = {
    "closed/met/new": 5, "closed/met/business": 2, "closed/missed/new": 3, "closed/visit/other": 1,
    "hit/store/new": 4, "hit/store/other": 1, "weakest/store/new": 2, "weakest/delivery/new": 1,
    "weakest/delivery/business": 2, "labyrinth/new": 1, "labyrinth/other": 1,
    "handoff/warehouse/delivery/postnord/lost": 3, "handoff/warehouse/delivery/none/lost": 1,
    "handoff/warehouse/delivery/postnord/received": 50, "handoff/warehouse/delivery/postnord/late": 2,
}  # fmt: skip


def test_adds_up_segments() -> None:
    """Open, over by result, hit by stage, weakest, overdue by partner, labyrinths, lost hand-overs: all."""
    facts = journey_facts(CHAIR, held(COUNTS))
    over = {"met": 7, "missed": 3, "visit": 1}
    assert (facts.open_journeys, facts.over, facts.labyrinths) == (12, {"1h": over, "1d": over}, 2)
    assert (facts.judged_ms, facts.slowest) == (NOW - 61_000, ("delivery", 0))
    assert {stage: n for stage, n in facts.hit.items() if n} == {"store": 5}
    assert facts.weakest == ("delivery", 3)
    assert facts.handoffs_lost == 4
    assert list(facts.overdue.items()) == [("matkahuolto", 3), ("none", 1)]


def test_each_in_its_window() -> None:
    """What was two hours ago is no longer over in an hour, nor hit now; a day still tells of it."""
    facts = journey_facts(CHAIR, held(COUNTS, ago_ms=2 * 3_600_000))
    assert facts.over["1h"] == {"met": 0, "missed": 0, "visit": 0}
    assert facts.over["1d"]["met"] == 7
    assert set(facts.hit.values()) == {0}
    assert (facts.weakest, facts.labyrinths, facts.handoffs_lost) == (("delivery", 3), 2, 4)


def test_no_partition_waits_for_nobody() -> None:
    """A worker that keeps no partition of journeys knows neither up to when they are judged nor why."""
    facts = journey_facts(CHAIR, replace(held(COUNTS), clocks_ms={}, slowest={}))
    assert (facts.judged_ms, facts.slowest) == (None, None)


def test_nothing_is_no_stage() -> None:
    """Where every journey was good no stage is the weakest; no customer passes through the staff."""
    facts = journey_facts(CHAIR, held({"closed/met/new": 5}))
    assert facts.weakest is None
    assert set(facts.hit) == {stage.name for stage in CHAIR.stages if stage.kind != "staff"}
