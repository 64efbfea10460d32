"""A window is the sum of exactly the panes its definition names."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.counting.event import AHEAD_MS
from monitor.counting.judging import counter_names
from monitor.counting.panes import LONG, SHORT, Counts, Grain, PaneKey
from monitor.counting.windows import WINDOW_LABELS, WINDOWS, Ring, StageWindows, Window
from tests.kit.shipped import SHIPPED as CHAIR

T = 1_800_000_000_000
DAY = 86_400_000
NAMES = ("a", "b")

EVENTS = st.lists(
    st.tuples(
        st.one_of(
            st.integers(-AHEAD_MS, 120_000),  # how long before the newest pane reachable
            st.integers(0, 4_500_000),
            st.integers(0, 9 * DAY),
        ),
        st.sampled_from(NAMES),
    ),
    max_size=40,
)


def brute_force(events: list[tuple[int, str]], window_ms: int, grain: Grain, now_ms: int) -> list[int]:
    """Events whose pane is the one `now` falls into, or one of the W/grain - 1 before it."""
    newest = now_ms // grain.ms
    oldest = newest - (window_ms // grain.ms - 1)
    inside = [name for at_ms, name in events if oldest <= at_ms // grain.ms <= newest]
    return [inside.count(name) for name in NAMES]


def filled(events: list[tuple[int, str]]) -> StageWindows:
    """Windows that hold these events, added in this order."""
    windows = StageWindows(NAMES)
    for at_ms, name in events:
        for grain in (SHORT, LONG):
            windows.add(PaneKey(grain.ms, grain.start_of(at_ms)), {name: 1})
    return windows


@given(EVENTS, st.integers(0, DAY))
@example([(0, "a"), (604_800_000, "a"), (604_799_999, "b"), (3_600_000, "b"), (20_000, "a")], 0)
def test_windows_are_sums_of_their_panes(ages: list[tuple[int, str]], shift_ms: int) -> None:
    """Every window equals a count by hand, with events ahead of now and panes long overwritten."""
    now_ms = T + shift_ms
    events = [(now_ms - age_ms, name) for age_ms, name in ages]
    sums = filled(events).sums(now_ms)
    assert set(sums) == set(WINDOW_LABELS)
    for window in WINDOWS:
        assert sums[window.label].tolist() == brute_force(events, window.ms, window.grain, now_ms), window


@given(EVENTS, st.integers(0, DAY))
@example([(-120_000, "a"), (7_200_000, "a")], 0)
def test_the_last_event_lies_in_the_newest_pane(ages: list[tuple[int, str]], shift_ms: int) -> None:
    """It is 10 s wide while a window of short panes holds it, else 5 min; what is ahead is left out."""
    now_ms = T + shift_ms
    events = [(now_ms - age_ms, name) for age_ms, name in ages]
    newest_ms = SHORT.start_of(now_ms) + SHORT.ms
    last_ms = max((at_ms for at_ms, name in events if name == "a" and at_ms < newest_ms), default=0)
    pane = filled(events).newest(["a"], now_ms)
    if now_ms - last_ms < LONG.window_ms - LONG.ms:
        assert pane is not None
        start_ms, end_ms = pane
        assert start_ms <= last_ms < end_ms
        assert now_ms - last_ms >= SHORT.window_ms - SHORT.ms or end_ms - start_ms == SHORT.ms
    else:
        assert pane is None or pane[0] <= last_ms


@given(EVENTS, st.lists(st.integers(0, 2 * DAY), max_size=4))
def test_windows_move_on(ages: list[tuple[int, str]], steps_ms: list[int]) -> None:
    """As time passes between events, windows stay equal to a count by hand, row by overwritten row."""
    windows, now_ms = StageWindows(NAMES), T
    events: list[tuple[int, str]] = []
    for i, step_ms in enumerate([0, *steps_ms]):
        now_ms += step_ms
        for age_ms, name in ages[i::2]:
            at_ms = now_ms - age_ms
            events.append((at_ms, name))
            for grain in (SHORT, LONG):
                windows.add(PaneKey(grain.ms, grain.start_of(at_ms)), {name: 1})
        sums = windows.sums(now_ms)
        for window in WINDOWS:
            expected = brute_force(events, window.ms, window.grain, now_ms)
            assert sums[window.label].tolist() == expected, window


@pytest.mark.parametrize("window", WINDOWS, ids=WINDOW_LABELS)
def test_window_spans_its_length_less_a_pane(window: Window) -> None:
    """A window counts an event for at least its length less one pane and at most its length."""
    assert window.ms % window.grain.ms == 0
    assert window.ms <= window.grain.window_ms
    for at_ms in (T, T + window.grain.ms - 1):
        windows = filled([(at_ms, "a")])
        out_ms = T + window.ms
        assert windows.sums(at_ms)[window.label].tolist() == [1, 0]
        assert windows.sums(out_ms - 1)[window.label].tolist() == [1, 0]
        assert windows.sums(out_ms)[window.label].tolist() == [0, 0]


def test_events_ahead_wait() -> None:
    """An event ahead of now is in no window until its pane is reached, and then in all."""
    windows = filled([(T + 10_000, "a")])
    assert windows.sums(T + 9_999)["1m"].tolist() == [0, 0]
    assert windows.sums(T + 10_000)["1m"].tolist() == [1, 0]


@given(EVENTS, st.integers(0, DAY))
def test_trend_slices(ages: list[tuple[int, str]], shift_ms: int) -> None:
    """The trend is a count by minute, oldest first, the last minute being the one that holds now."""
    now_ms = T + shift_ms
    events = [(now_ms - age_ms, name) for age_ms, name in ages]
    last = now_ms // 60_000
    minutes = [at_ms // 60_000 for at_ms, name in events if name == "a"]
    trend = filled(events).trend(now_ms)
    assert trend[:, 0].tolist() == [minutes.count(last - back) for back in range(59, -1, -1)]


def test_late_panes_count_while_reachable() -> None:
    """Counts for a pane behind newer ones still add up; for one overwritten they are dropped."""
    windows = StageWindows(NAMES)
    windows.add(PaneKey(SHORT.ms, T), {"a": 1})
    windows.add(PaneKey(SHORT.ms, T - 3_590_000), {"a": 2})
    windows.add(PaneKey(SHORT.ms, T - 3_590_000), {"a": 3})
    assert windows.sums(T)["1h"].tolist() == [6, 0]
    ring = Ring(SHORT, 1, SHORT.window_ms)
    size = len(ring._start_ms)
    assert ring.row(T) is not None
    assert ring.row(T - size * SHORT.ms) is None
    assert ring.row(T + size * SHORT.ms) is not None
    assert ring.row(T) is None


@pytest.mark.parametrize("grain", [SHORT, LONG])
def test_ring_reaches_all_windows(grain: Grain) -> None:
    """Panes as far ahead as is accepted overwrite nothing that the longest window still needs."""
    ring = Ring(grain, 1, grain.window_ms)
    now_ms = T + grain.ms - 1
    oldest_ms = grain.start_of(now_ms) - grain.window_ms + grain.ms
    for start_ms in range(oldest_ms, grain.start_of(now_ms + AHEAD_MS) + 1, grain.ms):
        row = ring.row(start_ms)
        assert row is not None
        row += 1
    assert ring.sums([grain.window_ms], now_ms).tolist() == [[grain.window_ms // grain.ms]]


def test_ring_forgets_what_it_overwrites() -> None:
    """A pane that takes the row of one long past starts at 0."""
    ring = Ring(SHORT, 1, SHORT.window_ms)
    for turn in range(3):
        start_ms = T + turn * len(ring._start_ms) * SHORT.ms
        row = ring.row(start_ms)
        assert row is not None
        row += 1
        assert ring.sums([SHORT.window_ms], start_ms).tolist() == [[1]]


def test_passes_over_unknown_counters() -> None:
    """Counters of another journey file are passed over, and the known ones beside them counted."""
    windows = StageWindows(NAMES)
    counts: Counts = {"a": 1, "good/gone/new/none": 7}
    windows.add(PaneKey(SHORT.ms, T), counts)
    assert windows.sums(T)["20s"].tolist() == [1, 0]


@given(EVENTS)
def test_order_of_panes_is_free(ages: list[tuple[int, str]]) -> None:
    """Partitions recovered in another order give the same windows."""
    events = [(T - age_ms, name) for age_ms, name in ages]
    forth, back = filled(events).sums(T), filled(events[::-1]).sums(T)
    assert all(np.array_equal(forth[label], back[label]) for label in WINDOW_LABELS)


def test_columns_are_the_counters() -> None:
    """Columns stand in the order of the names given."""
    names = counter_names(CHAIR, CHAIR.stage("store"))
    windows = StageWindows(names)
    assert [windows.column[name] for name in names] == list(range(len(names)))


@pytest.mark.parametrize("now_ms", [1_800_000_000_000, 1_800_000_030_001, 1_800_000_299_999])
def test_a_window_says_where_it_begins(now_ms: int) -> None:
    """What lies at its start is in it, what lies a millisecond before is not."""
    for window in WINDOWS:
        start_ms = window.start_ms(now_ms)
        for at_ms, n in ((start_ms, 1), (start_ms - 1, 0)):
            windows = StageWindows(["n"])
            windows.add(PaneKey(window.grain.ms, window.grain.start_of(at_ms)), {"n": 1})
            assert windows.sums(now_ms)[window.label][0] == n, window.label
