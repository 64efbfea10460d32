"""A snapshot says what the windows hold: the weakest experience, and nothing of nothing."""

from pathlib import Path
from typing import Any

from monitor.event import Event
from monitor.journey_file import parse
from monitor.judging import Judge, counter_names
from monitor.limits import State
from monitor.measures import Share
from monitor.panes import Tally
from monitor.snapshot import StageSnapshot, stage_snapshot, unknown_stage
from monitor.windows import WINDOW_LABELS, StageWindows

CHAIR = parse((Path(__file__).parent.parent / "monitor/journey.yaml").read_text())
CHECKOUT = CHAIR.stage("web_checkout")
COMPLETED, SPEED = CHECKOUT.experiences
NOW = 1_800_000_030_000

Many = tuple[int, int, dict[str, Any]]
"""How many events, how long before now, and what they say."""


def taken(*events: Many) -> StageSnapshot:
    """A snapshot of the checkout after these events."""
    windows = StageWindows(counter_names(CHAIR, CHECKOUT))
    tally = Tally(Judge(CHAIR, CHECKOUT))
    for n, age_ms, fields in events:
        for _ in range(n):
            tally.add(Event(stage=CHECKOUT.name, **fields), NOW - age_ms)
    for key, counts in tally.panes():
        windows.add(key, counts)
    return stage_snapshot(CHAIR, CHECKOUT, windows, NOW, results={}, refusals={}, last_event_ms={}, lags=())


OK = {"outcome": "ok", "segment": "new", "duration_s": 30}
SLOW = {"outcome": "ok", "segment": "new", "duration_s": 300}
UNEXPLAINED = {"outcome": "failed", "segment": "new"}
FAILED = UNEXPLAINED | {"reason": "payment_error"}


def test_counts_by_window() -> None:
    """A share adds up partners and, unless one is named, segments, window by window."""
    held = taken(
        (5, 0, OK),
        (3, 0, OK | {"segment": "business", "partner": "klarna"}),
        (2, 120_000, FAILED | {"segment": "martian", "partner": "martian"}),
        (1, 2 * 3_600_000, FAILED),
    )
    assert held.share(COMPLETED, "1m") == Share(8, 0)
    assert held.share(COMPLETED, "5m") == Share(8, 2)
    assert held.share(COMPLETED, "6h") == Share(8, 3)
    assert held.share(COMPLETED, "5m", "business") == Share(3, 0)
    assert held.share(COMPLETED, "5m", "other") == Share(0, 2)
    assert held.share(SPEED, "6h") == Share(8, 0)
    assert held.count("good/checkout_completed/business/klarna", "1m") == 3
    assert held.events("5m") == 10
    assert list(held.shares(COMPLETED)) == list(WINDOW_LABELS)


def test_weakest_is_the_most_severe() -> None:
    """The stage is its weakest experience: by state first, then by quality against target."""
    slow = taken((90, 0, OK), (60, 0, SLOW))
    assert slow.weakest.experience is SPEED
    assert slow.weakest.state is State.DEGRADED
    assert slow.weakest.share == Share(90, 60)
    assert slow.headlines["checkout_completed"].state is State.GOOD
    few = taken((180, 0, {"outcome": "ok"}), (20, 0, FAILED), (5, 0, SLOW))
    assert few.headlines["checkout_fast"].share == Share(0, 5)  # nothing, but of five only
    assert (few.weakest.experience, few.weakest.state) == (COMPLETED, State.BELOW)
    fine = taken((96, 0, OK), (4, 0, FAILED))
    assert (fine.weakest.experience, fine.weakest.state) == (COMPLETED, State.GOOD)


def test_silence_is_never_the_weakest() -> None:
    """An experience nothing was judged for does not hide one that was, however good."""
    held = taken((40, 0, {"outcome": "ok"}))
    assert held.headlines["checkout_fast"].state is State.QUIET
    assert held.weakest.experience is COMPLETED
    assert taken().weakest.state is State.QUIET


def test_worst_segment() -> None:
    """The worst segment is that furthest below its own target, among those with ten events."""
    held = taken(
        (96, 0, OK | {"segment": "business"}),
        (4, 0, FAILED | {"segment": "business"}),  # 96 % of 97 %
        (95, 0, OK | {"segment": "returning"}),
        (5, 0, FAILED | {"segment": "returning"}),  # 95 % of 95 %
        (9, 0, FAILED | {"segment": "new"}),  # too few
        (50, 0, FAILED | {"segment": "x"}),  # `other` is nobody to serve better
    )
    assert held.worst_segment(held.headlines["checkout_completed"]) == "business"
    assert taken((9, 0, OK)).worst_segment(held.headlines["checkout_completed"]) is None


def test_segment_served_never_is_the_worst() -> None:
    """A segment of which every event is bad is the worst, not one without opinion."""
    held = taken((20, 0, OK), (10, 0, FAILED | {"segment": "business"}))
    assert held.worst_segment(held.headlines["checkout_completed"]) == "business"


def test_top_reason() -> None:
    """The reason shown is the most frequent one of the window; without bad events there is none."""
    held = taken((2, 0, FAILED), (1, 0, FAILED | {"reason": "x"}), (5, 90_000, UNEXPLAINED))
    assert held.top_reason("1m") == "payment_error"
    assert held.top_reason("5m") == "unspecified"
    assert taken((3, 0, OK)).top_reason("1m") is None


def test_trend() -> None:
    """The trend is quality by minute, oldest first, without opinion where nothing was judged."""
    trend = taken((3, 0, OK), (1, 0, FAILED), (2, 120_000, FAILED)).trend(COMPLETED)
    assert trend == [None] * 57 + [0.0, None, 0.75]


def test_knows_nothing_while_not_recovered() -> None:
    """Without windows there are no sums, no trend and no opinion, and asking for one is no error."""
    held = unknown_stage(CHAIR, CHECKOUT)
    assert not held.sums
    assert held.trend(COMPLETED) == []
    assert held.weakest.state is State.QUIET
    assert held.weakest.share.quality is None
    assert held.top_reason("1m") is None
    assert held.worst_segment(held.weakest) is None
    assert held.events("5m") == 0


def test_is_a_copy() -> None:
    """What happens after it was taken does not reach a snapshot."""
    windows = StageWindows(counter_names(CHAIR, CHECKOUT))
    results = {"counted": 1}
    held = stage_snapshot(
        CHAIR, CHECKOUT, windows, NOW, results=results, refusals={}, last_event_ms={}, lags=()
    )
    results["counted"] = 2
    tally = Tally(Judge(CHAIR, CHECKOUT))
    tally.add(Event(stage=CHECKOUT.name, outcome="ok"), NOW)
    for key, counts in tally.panes():
        windows.add(key, counts)
    assert held.results == {"counted": 1}
    assert held.events("1m") == 0
