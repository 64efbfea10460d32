"""Spans are equal, whole and covered once; counts are those of Prometheus, and no others."""

from math import inf, nan

import pytest

from monitor.changes.questions import (
    Around,
    Span,
    around,
    changes,
    changes_question,
    compared,
    known,
    questions,
)
from monitor.counting import metrics
from monitor.counting.measures import Share
from monitor.report.questions import Answers, Sample
from tests.kit.shipped import SHIPPED

NOW_S = 1_763_769_630
STAGES = [SHIPPED.stage("store")]
EXPERIENCE = STAGES[0].experiences[0].name
CELL = {"stage": "store", "experience": EXPERIENCE, "segment": "new"}


@pytest.mark.parametrize("minutes", [1, 4, 5, 29, 30, 59, 60, 61, 1439, 1440])
def test_windows_cover_a_span_once(minutes: int) -> None:
    """They neither overlap nor leave a gap, and are few."""
    span, at_s = Span(600, 600 + 60 * minutes), 600
    tiles = list(span.tiles())
    for _, seconds, end_s in tiles:
        at_s += seconds
        assert at_s == end_s
    assert (at_s, span.minutes) == (span.to_s, minutes)
    assert len(tiles) <= minutes // 60 + 10


@pytest.mark.parametrize("ago", [150, 181.5, 3600, 86_399, 5 * 86_400])
def test_spans_are_equal_and_beside_the_change(ago: float) -> None:
    """A minute of scrapes lies between the change and what is after it; neither reaches beyond now."""
    found = around(NOW_S - ago, NOW_S)
    if found is None:
        assert ago < 240
        return
    assert found.before.minutes == found.after.minutes <= 1440
    assert found.before.to_s <= NOW_S - ago < found.before.to_s + 60
    assert 60 <= found.after.from_s - (NOW_S - ago) <= 120
    assert found.after.to_s <= NOW_S
    assert NOW_S - found.after.to_s < 60 or found.after.minutes == 1440


def test_a_change_of_this_minute_has_no_span() -> None:
    """Nor has one ahead of the clock; a shorter span is taken right beside the change."""
    assert around(NOW_S - 60, NOW_S) is None
    assert around(NOW_S + 299, NOW_S) is None
    found = around(NOW_S - 7200, NOW_S, 10)
    assert found is not None
    assert found.before.minutes == found.after.minutes == 10


def answered(spans: Around, missing: int = -1, **counts: float) -> Answers:
    """The same counts in every window but one."""
    asked = questions(spans, STAGES)
    value = {metrics.WINDOW_EVENTS.name: counts["n"], metrics.WINDOW_GOOD.name: counts["good"]}
    return {
        question: [] if number // 2 == missing else [Sample(CELL, value[question.about])]
        for number, question in enumerate(asked)
    }


AN_HOUR_AND_SOME = Around(Span(0, 4200), Span(4320, 8520))


def test_counts_are_added_up() -> None:
    """Over the windows, by segment; a window that Prometheus lacks is no zero."""
    answers = answered(AN_HOUR_AND_SOME, missing=0, n=100, good=90)
    before, after = (known(span, STAGES, answers) for span in AN_HOUR_AND_SOME)
    assert (before.minutes, after.minutes) == (10, 70)  # the first window is the hour
    (cell,) = after.cells
    assert (before.cells[cell], after.cells[cell]) == (Share(180, 20), Share(270, 30))
    found = compared(SHIPPED, STAGES, ["new"], before, after)[0]
    assert found.touched == (Share(180, 20), Share(270, 30))
    assert found.untouched == (Share(0, 0), Share(0, 0))
    assert compared(SHIPPED, STAGES, SHIPPED.segment_labels, before, after)[0].untouched is None


@pytest.mark.parametrize("n", [nan, inf, -1.0, 1e300])
def test_what_is_no_count_is_refused(n: float) -> None:
    """Whatever answers for Prometheus."""
    with pytest.raises(ValueError, match="is no count of events"):
        known(AN_HOUR_AND_SOME.before, STAGES, answered(AN_HOUR_AND_SOME, n=n, good=1))


def test_changes_are_told_by_time() -> None:
    """The latest first; times that no change can have are passed over."""
    values = (NOW_S - 5.5, NOW_S - 700_000, NOW_S - 3, nan, inf, -inf, 1e300)
    samples = [
        Sample({"stage": "store", "kind": "deploy", "title": str(n)}, at) for n, at in enumerate(values)
    ]
    found = changes({changes_question(NOW_S): samples}, NOW_S)
    assert [one.title for one in found] == ["2", "0"]
