"""A snapshot says what the windows hold: the weakest experience, and nothing of nothing."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.counting.event import Event
from monitor.counting.judging import Judge, counter_names
from monitor.counting.measures import Share
from monitor.counting.panes import LONG, SHORT, PaneKey, Tally
from monitor.counting.staff import stage_windows
from monitor.counting.windows import WINDOW_LABELS, StageWindows
from monitor.journeys.encounters import UnderWay
from monitor.live.journeys import PartitionLag
from monitor.live.snapshot import Seen, Silence, Snapshot, StageSnapshot, stage_snapshot
from monitor.rules.verdict import State
from tests.kit.shipped import SHIPPED as CHAIR

CHECKOUT = CHAIR.stage("web_checkout")
COMPLETED, SPEED = CHECKOUT.experiences
NOW = 1_800_000_030_000

Many = tuple[int, int, dict[str, Any]]
"""How many events, how long before now, and what they say."""


def taken(*events: Many, last_ms: int | None = None) -> StageSnapshot:
    """A snapshot of the checkout after these events; its worker has taken the last of them at `last_ms`."""
    windows = stage_windows(CHAIR, CHECKOUT)
    tally = Tally(Judge(CHAIR, CHECKOUT))
    for n, age_ms, fields in events:
        tally.add([Event(stage=CHECKOUT.name, **fields)] * n, [NOW - age_ms] * n)
    for key, counts in tally.panes():
        windows.add(key, counts)
    last_event_ms = {} if last_ms is None else {"klarna": last_ms - 9000, "none": last_ms}
    seen = Seen(last_event_ms=last_event_ms, began_ms=NOW - 9 * 86_400_000)
    return stage_snapshot(CHAIR, CHECKOUT, windows, NOW, seen)


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


def test_what_few_say_is_not_good() -> None:
    """One good event makes no good stage, and one bad event no bad one; they hide nothing that many say."""
    for event in (OK, SLOW):
        assert taken((1, 0, event)).weakest.state is State.TOO_FEW
    held = taken((40, 0, {"outcome": "ok"}), (2, 0, SLOW), (1, 0, OK))
    assert held.headlines["checkout_fast"].state is State.TOO_FEW
    assert (held.weakest.experience, held.weakest.state) == (COMPLETED, State.GOOD)


def alone(*stages: StageSnapshot, **more: Any) -> Snapshot:
    """A worker that counts all partitions and has these stages."""
    return Snapshot(CHAIR, NOW, True, stages, "1", **{"partitions": 8, "owned": 8, **more})


def test_a_stage_with_a_rhythm_falls_silent() -> None:
    """No event in the narrowest window that expected twenty, as alerts begin to call silence. They go on
    until a tenth comes again: until then the stage is not called good, whatever came before."""
    held = taken((400, 100_000, OK))
    known = alone(held)
    assert known.silence(held) == Silence("1m", 500.0, 90_000, 900.0)  # 36,000 an hour, in 50 s and in 90 s
    assert known.state(held) is State.SILENT
    heard = taken((400, 100_000, OK), (1, 0, OK))
    assert (alone(heard).silence(heard), alone(heard).state(heard)) == (None, State.TOO_FEW)
    for came, state in ((9, State.TOO_FEW), (10, State.GOOD)):
        slow = taken(*steady((900, -10), n=came))
        assert alone(slow).state(slow) is state
    bad = taken((400, 100_000, OK), (49, 0, {"outcome": "failed"}))
    assert alone(bad).state(bad) is State.DEGRADED
    slow = replace(held, stage=replace(CHECKOUT, per_hour=288.0))  # 4 in 50 s
    assert alone(slow).silence(slow) is None
    earlier = taken((400, 400_000, OK))
    long = replace(slow, sums=earlier.sums, came=earlier.came)
    wider = alone(long).silence(long)
    assert wider is not None
    assert wider.window == "5m"
    assert wider.expected == pytest.approx(23.2)  # 288 an hour, in 290 s


def steady(*spans: tuple[int, int], n: int = 100, fields: dict[str, Any] = OK) -> list[Many]:
    """So many events every ten seconds, over spans of seconds before now: the older end, the newer."""
    return [(n, age_s * 1000, fields) for older, newer in spans for age_s in range(older, newer, -10)]


def test_what_a_silence_was_held_for_is_not_called_good() -> None:
    """`StageSilent` goes on for five minutes after the last moment at which next to nothing came."""
    for since_s, state in ((60, State.TOO_FEW), (280, State.TOO_FEW), (400, State.GOOD)):
        back = taken(*steady((900, since_s + 120), (since_s, -10)))
        assert alone(back).silence(back) is None
        assert alone(back).state(back) is state
    part = taken(*steady((900, 180), (60, -10), n=200))
    assert alone(part, owned=4).state(part) is State.TOO_FEW  # nor by who sees a part of it
    failed = taken(*steady((900, 180)), *steady((60, -10), fields=FAILED))
    assert alone(failed).state(failed) is State.DEGRADED
    new = taken(*steady((60, -10)))
    for looked_s, state in ((9 * 86_400, State.TOO_FEW), (160, State.TOO_FEW), (100, State.GOOD)):
        seen = replace(new, began_ms=NOW - looked_s * 1000)  # for a minute and more before the first event?
        assert alone(seen).state(seen) is state


def test_closing_ends_what_a_silence_was_held_for() -> None:
    """After a break nothing is held any more: it is 10:00:30 in Helsinki, and opening time was at ten."""
    back = taken(*steady((900, 180), (60, -10)))
    for opens, state in ((9 * 60, State.TOO_FEW), (10 * 60, State.GOOD)):
        stage = replace(CHECKOUT, hours=(((opens, 17 * 60),),) * 7)
        open_again = replace(back, stage=stage)
        assert alone(open_again).state(open_again) is state


WEEK_S = 7 * 86_400


def test_without_a_rhythm_what_came_a_week_ago_is_expected() -> None:
    """A stage that names no rhythm is not called good, either, while `StageSilent` may go on."""
    then = steady((WEEK_S + 1800, WEEK_S - 60))
    for spans, state in (
        (((900, 100),), State.TOO_FEW),  # nothing for 90 s
        (((900, 180), (60, -10)), State.TOO_FEW),  # and a minute ago it came again
        (((900, -10),), State.GOOD),
    ):
        now = taken(*then, *steady(*spans))
        free = replace(now, stage=replace(CHECKOUT, per_hour=None))
        assert alone(free).state(free) is state
    trickle = taken(*then, (40, 2_000_000, OK), (1, 0, OK))
    free = replace(trickle, stage=replace(CHECKOUT, per_hour=None))
    assert alone(free).state(free) is State.TOO_FEW
    unknown = taken(*steady((900, 100)))  # nor was it heard a week ago: nothing is expected
    free = replace(unknown, stage=replace(CHECKOUT, per_hour=None))
    assert alone(free).state(free) is State.GOOD


LASTED = [
    (100_000, None, 90_000),  # recovered: of the pane that holds it, its end
    (100_000, NOW - 97_500, 97_500),
    (2 * 3_600_000, None, 7_190_000),
    (2 * 3_600_000, NOW - 2 * 3_600_000, 7_200_000),
    (100_000, NOW - 3_600_000, 90_000),  # another worker took the last, and its partition came over
    (100_000, NOW + 60_000, 90_000),  # a clock ahead: not yet to be counted
]


@pytest.mark.parametrize(("age_ms", "last_ms", "lasted_ms"), LASTED)
def test_silence_lasts_since_the_last_event(age_ms: int, last_ms: int | None, lasted_ms: int) -> None:
    """To the millisecond where this worker took it, else since the end of the pane that it recovered."""
    held = taken((400, age_ms, OK), last_ms=last_ms)
    found = alone(held).silence(held)
    assert found is not None
    assert held.last_ms == NOW - lasted_ms
    assert found.lasted_ms == lasted_ms
    assert found.missed == pytest.approx(lasted_ms / 100)


TEXTS = [
    (Silence("1m", 500.0, 97_500, 975.0), "No event for 1 min 37 s; about 975 were expected."),
    (Silence("1m", 125.0, 432_000, 1080.4), "No event for 7 min; about 1,080 were expected."),
    (Silence("1d", 48.0, 93_600_000, 52.0), "No event for 1 d 2 h; about 52 were expected."),
    (Silence("1m", 125.0), "No event so far; about 125 were expected in the last 1 min."),
]


@pytest.mark.parametrize(("silence", "text"), TEXTS)
def test_silence_in_words(silence: Silence, text: str) -> None:
    """It says how long nothing has come, and how many events that time should have brought."""
    assert silence.text == text


def test_a_stage_never_heard_of_is_silent() -> None:
    """Once the group has counted for all of the window, of whatever stage, and a minute: a new one cannot
    know, nor one that knows not when it began."""
    never = taken()
    slow = replace(never, stage=replace(CHECKOUT, per_hour=2.0))  # 48 a day
    for held, enough_s, window in ((never, 120, "1m"), (slow, 86_460, "1d")):
        for looked_s, is_silent in ((enough_s, True), (enough_s - 20, False)):
            earlier = replace(never, began_ms=NOW - looked_s * 1000)
            late = replace(held, began_ms=NOW)
            found = alone(earlier, late).silence(late)
            assert (found.window if found else None) == (window if is_silent else None)
    unknown = replace(never, began_ms=None)
    assert alone(unknown).state(unknown) is State.QUIET


def test_silence_is_said_only_where_it_is_known() -> None:
    """Not without a rhythm, outside opening hours, by one of several workers, before all is read, or while
    not ready.
    """
    held = taken((400, 100_000, OK))
    assert alone(held).silence(held) is not None
    for change in ({"per_hour": None}, {"hours": ((),) * 7}):
        other = replace(held, stage=replace(CHECKOUT, **change))
        assert alone(other).silence(other) is None
    behind = replace(held, lags=(PartitionLag(0, 0, 0.0), PartitionLag(1, 3, 0.1)))
    assert alone(behind).silence(behind) is None
    assert alone(held, owned=4).silence(held) is None
    assert replace(alone(held), ready=False).silence(held) is None


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
    held = stage_snapshot(CHAIR, CHECKOUT, None, NOW)
    assert not held.sums
    assert held.trend(COMPLETED) == []
    assert held.weakest.state is State.QUIET
    assert held.weakest.share.quality is None
    assert held.top_reason("1m") is None
    assert held.worst_segment(held.weakest) is None
    assert held.events("5m") == 0


def test_is_a_copy() -> None:
    """What happens after it was taken does not reach a snapshot."""
    windows = stage_windows(CHAIR, CHECKOUT)
    results = {"counted": 1}
    held = stage_snapshot(CHAIR, CHECKOUT, windows, NOW, Seen(results))
    results["counted"] = 2
    tally = Tally(Judge(CHAIR, CHECKOUT))
    tally.add([Event(stage=CHECKOUT.name, outcome="ok")], [NOW])
    for key, counts in tally.panes():
        windows.add(key, counts)
    assert held.results == {"counted": 1}
    assert held.events("1m") == 0


@pytest.mark.parametrize(
    ("counted", "expected_s"),
    [
        ({"begun/queued": 30, "outcome/ok": 20}, 60),
        ({"begun/queued": 30, "begun/started": 10, "outcome/ok": 20, "outcome/abandoned": 5}, 80),
        ({"begun/queued": 30}, None),
    ],
)
def test_who_comes_now_waits_as_long_as_the_queue_takes(
    counted: dict[str, int], expected_s: float | None
) -> None:
    """Four wait; they leave at the pace at which encounters started, or ended where no start is told."""
    windows = StageWindows(counter_names(CHAIR, CHECKOUT))
    windows.add(PaneKey(SHORT.ms, SHORT.start_of(NOW)), counted)
    windows.add(PaneKey(LONG.ms, LONG.start_of(NOW)), counted)
    cells = {("queued", "new"): 3, ("queued", "other"): 1, ("started", "new"): 9}
    since_ms = {("queued", "new"): NOW - 5_000, ("queued", "other"): NOW - 63_000, ("started", "new"): 0}
    held = stage_snapshot(CHAIR, CHECKOUT, windows, NOW, Seen(under_way=UnderWay(cells, since_ms)))
    assert held.open_encounters("queued") == (4, NOW - 63_000)
    assert held.expected_wait_s() == expected_s
