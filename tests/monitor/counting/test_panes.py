"""Merging panes is adding; an event is in one pane of each grain; panes expire by event time."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.counting.event import Event, Score
from monitor.counting.judging import Judge
from monitor.counting.panes import (
    LONG,
    SHORT,
    SLACK_MS,
    Counts,
    Grain,
    Pane,
    PaneKey,
    Tally,
    is_expired,
    keep_ms,
    merge_into,
)
from tests.kit.shipped import SHIPPED as CHAIR

STORE = CHAIR.stage("store")
HOUR = 3_600_000
DAY = 24 * HOUR
T = 1_800_000_000_000
"""A boundary of both grains."""

COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2**40), max_size=4)


def merged(a: Counts, b: Counts) -> Counts:
    """The sum of two, leaving both as they are."""
    left = dict(a)
    merge_into(left, b)
    return left


@given(COUNTS, COUNTS, COUNTS)
def test_merge_is_associative(a: Counts, b: Counts, c: Counts) -> None:
    """How panes are bracketed does not change their sum."""
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@given(COUNTS, COUNTS)
def test_merge_is_commutative(a: Counts, b: Counts) -> None:
    """The order of panes does not change their sum."""
    assert merged(a, b) == merged(b, a)


@given(COUNTS)
def test_nothing_is_the_identity(a: Counts) -> None:
    """Merging nothing, on either side, changes nothing."""
    assert merged(a, {}) == a == merged({}, a)


@given(st.lists(COUNTS, max_size=5))
def test_repeated_merging_adds_up(many: list[Counts]) -> None:
    """Merging one after another holds each counter's sum, and leaves what it adds up untouched."""
    before = [dict(one) for one in many]
    names = {name for one in many for name in one}
    summed: Counts = {}
    for one in many:
        merge_into(summed, one)
    assert summed == {name: sum(one.get(name, 0) for one in many) for name in names}
    assert many == before


@given(COUNTS, COUNTS, st.integers(-1, 99), st.integers(-1, 99))
def test_pane_adds(a: Counts, b: Counts, first: int, second: int) -> None:
    """A pane adds counts and keeps the highest watermark, in either order."""
    one, other = Pane(), Pane()
    one.add(a, first)
    one.add(b, second)
    other.add(b, second)
    other.add(a, first)
    assert (one.counts, one.watermark) == (other.counts, other.watermark)
    assert one.watermark == max(first, second)


@pytest.mark.parametrize(
    ("grain", "at_ms", "start_ms"),
    [
        (SHORT, T - 1, T - 10_000),
        (SHORT, T, T),
        (SHORT, T + 1, T),
        (SHORT, T + 9_999, T),
        (SHORT, T + 10_000, T + 10_000),
        (LONG, T - 1, T - 300_000),
        (LONG, T, T),
        (LONG, T + 299_999, T),
        (LONG, T + 300_000, T + 300_000),
        (SHORT, 0, 0),
        (LONG, 0, 0),
    ],
)
def test_pane_boundaries(grain: Grain, at_ms: int, start_ms: int) -> None:
    """A moment on a boundary belongs to the later pane, one a millisecond before it to the earlier."""
    assert grain.start_of(at_ms) == start_ms


@given(st.integers(0, 2**42))
def test_long_panes_hold_short_ones(at_ms: int) -> None:
    """A short pane lies wholly in one long pane, so summing either grain counts each event once."""
    start = SHORT.start_of(at_ms)
    assert LONG.start_of(start) == LONG.start_of(start + SHORT.ms - 1) == LONG.start_of(at_ms)


TIMED = st.lists(
    st.tuples(
        st.integers(T - 700_000, T + 700_000),
        st.sampled_from(STORE.outcomes),
        st.one_of(st.none(), st.floats(0, 1e5)),
        st.one_of(st.none(), st.floats(0, 1e5)),
    ),
    max_size=30,
)


@given(TIMED)
def test_tally_counts_once_in_each_grain(
    events: list[tuple[int, str, float | None, float | None]],
) -> None:
    """A tally equals its events one by one: each in the one pane of each grain that holds its time."""
    judge = Judge(CHAIR, STORE)
    tally = Tally(judge)
    expected: dict[PaneKey, Counts] = {}
    for at_ms, outcome, duration_s, wait_s in events:
        event = Event(stage="store", outcome=outcome, duration_s=duration_s, wait_s=wait_s)
        assert tally.add([event], [at_ms]) == [judge.judge(event).bad_for]
        alone = Tally(judge)
        alone.add([event], [at_ms])
        [(_, counts), _] = alone.panes()
        assert counts.get("duration_ms", 0) == round((duration_s or 0) * 1000)
        assert counts.get("wait_ms", 0) == round((wait_s or 0) * 1000)
        assert sum(n for name, n in counts.items() if name.startswith("outcome/")) == 1
        assert sum(n for name, n in counts.items() if name.startswith("wait/")) == (wait_s is not None)
        for grain in (SHORT, LONG):
            merge_into(expected.setdefault(PaneKey(grain.ms, grain.start_of(at_ms)), {}), counts)
    found = list(tally.panes())
    assert len(found) == len(dict(found))
    assert dict(found) == expected


SECONDS = st.one_of(st.none(), st.floats(0, 1e5))


@given(st.lists(st.tuples(SECONDS, SECONDS, st.sampled_from(CHAIR.channels)), max_size=20))
def test_tally_counts_tools_and_places(events: list[tuple[float | None, float | None, str]]) -> None:
    """Time of tools counts where the whole is known, beside that whole; each channel has its judgements."""
    tally = Tally(Judge(CHAIR, STORE))
    for duration_s, tool_s, channel in events:
        visit = Event(stage="store", outcome="ok", channel=channel)
        tally.add([msgspec.structs.replace(visit, duration_s=duration_s, system_wait_s=tool_s)], [T])
    counts: Counts = next((counts for _, counts in tally.panes()), {})
    both = [(tool, of) for of, tool, _ in events if tool is not None and of is not None]
    assert counts.get("tool_ms", 0) == sum(round(tool * 1000) for tool, _ in both)
    assert counts.get("tool_of_ms", 0) == sum(round(of * 1000) for _, of in both)
    for name in CHAIR.channels:
        came = sum(channel == name for *_, channel in events)
        assert counts.get(f"spread_good/store_served/channel/{name}", 0) == came


def test_tally_counts_answers() -> None:
    """An answer counts once, beside the judgement of its event; one off its scale does not."""
    tally = Tally(Judge(CHAIR, CHAIR.stage("feedback")))
    for value in (10, 9, 6, 11):
        score = Score(kind="nps", value=value)
        tally.add([Event(stage="feedback", outcome="ok", segment="new", channel="app", score=score)], [T])
    (_, counts), (_, long) = tally.panes()
    assert counts == long
    assert {name: n for name, n in counts.items() if name.startswith("answer/")} == {
        "answer/nps/promoter/app/new": 2,
        "answer/nps/detractor/app/new": 1,
    }
    assert counts["good/would_recommend/new/none"] == 3


@pytest.mark.parametrize(
    ("grain", "horizon_ms", "kept_ms"),
    [
        (SHORT, 8 * DAY, HOUR + SLACK_MS),
        (SHORT, 30 * DAY, HOUR + SLACK_MS),
        (LONG, 8 * DAY, 8 * DAY + SLACK_MS),
        (LONG, 7 * DAY, 7 * DAY + SLACK_MS),
        (LONG, DAY, 7 * DAY + SLACK_MS),  # never shorter than the longest window
    ],
)
@pytest.mark.parametrize(("more_ms", "expired"), [(-1, False), (0, True), (1, True), (DAY, True)])
def test_expires_by_event_time(
    grain: Grain, horizon_ms: int, kept_ms: int, more_ms: int, expired: bool
) -> None:
    """A pane expires when its end is as far behind the newest event as panes of its grain are kept."""
    assert keep_ms(grain, horizon_ms) == kept_ms
    key = PaneKey(grain.ms, T)
    assert is_expired(key, T + grain.ms + kept_ms + more_ms, horizon_ms) is expired
    assert not is_expired(key, T - DAY, horizon_ms)
