"""Whatever is read of staff, and whenever: two readings differ by five answers or more, or by none."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting.event import Event, Score
from monitor.counting.judging import Judge
from monitor.counting.panes import WITHHELD, Counts, merge_into
from monitor.counting.staff import MIN_GROUP, stage_tally, stage_windows
from monitor.counting.windows import StageWindows
from monitor.live.exposition import render
from monitor.live.share import added, share
from monitor.live.snapshot import Snapshot, stage_snapshot
from streams.web.answers import stages_answer
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.snapshots import NOW
from tests.streams.web.snapshots import snapshot as whole

PULSE = CHAIR.stage("staff_pulse")
NONE_YET = replace(whole(), owned=0)

ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 7_200), st.sampled_from((1, 5)), st.sampled_from(("", *CHAIR.segments)), st.booleans()
    ),
    max_size=25,
)
"""When (seconds before now), what, of which segment, and whether it is read after a reading."""

LINE = re.compile(r'touchpoint_window_(events|good|answers|reasons)\{(.*stage="staff_pulse".*)\} (\S+)')

SUMMED = r'(segment|partner|class)="\w+",?'
"""Labels that are added up: together they are one sum."""


class Counted:
    """What one partition counts, answer by answer."""

    def __init__(self) -> None:
        self.windows: StageWindows = stage_windows(CHAIR, PULSE)
        self._tally = stage_tally(CHAIR, PULSE, Judge(CHAIR, PULSE))
        self._waiting: Counts = {}

    def add(self, event: Event, at_ms: int) -> None:
        """One more."""
        tally = self._tally(dict(self._waiting))
        tally.add([event], [at_ms])
        for key, counts in tally.panes():
            if key == WITHHELD:
                merge_into(self._waiting, counts)
            self.windows.add(key, counts)


def worker(windows: object) -> Snapshot:
    """Another one of the group, which has counted answers of staff alone."""
    held = stage_snapshot(CHAIR, PULSE, windows, NOW)  # type: ignore[arg-type]
    return replace(NONE_YET, stages=(held,), journeys=None)


def read(snapshot: Snapshot) -> dict[str, float]:
    """Every sum of answers of staff that metrics, API, page and other workers are told."""
    found: Counter[str] = Counter()
    for name, labels, value in LINE.findall(render(snapshot, "text/plain")[0].decode()):
        found[f"{name} {re.sub(SUMMED, '', labels)}"] += float(value)  # type: ignore[assignment]
    (stage,) = stages_answer(snapshot)["stages"]
    found[f"api {stage['window']}"] = stage["n"]
    for name, row in share(snapshot).stages[PULSE.name].sums.items():
        if name.startswith(("good", "bad")):
            for window, n in enumerate(row):
                found[f"share {window}"] += n
    return dict(found)


def differences(before: Mapping[str, float], after: Mapping[str, float]) -> set[float]:
    """By how many answers any sum differs; good alone says less than the sum that it is of."""
    names = {name for name in {*before, *after} if not name.startswith("good ")}
    return {abs(after.get(name, 0) - before.get(name, 0)) for name in names}


@settings(max_examples=15, deadline=None)
@given(ANSWERS)
def test_no_difference_tells_on_fewer(answers: list[tuple[int, int, str, bool]]) -> None:
    """Of metrics, the API, what workers tell each other, and of two windows of one reading."""
    counted = Counted()
    readings = [read(worker(counted.windows))]
    for ago_s, value, segment, is_read in answers:
        score = Score("csat", value)
        event = Event(PULSE.name, "ok", segment=segment or None, reason="tools", score=score)
        counted.add(event, NOW - ago_s * 1000)
        if is_read:
            readings.append(read(worker(counted.windows)))
    for before, after in pairwise(readings):
        assert all(n == 0 or n >= MIN_GROUP for n in differences(before, after))
    last = [n for name, n in sorted(readings[-1].items()) if name.startswith("share")]
    assert all(abs(one - other) == 0 or abs(one - other) >= MIN_GROUP for one in last for other in last)


@pytest.mark.parametrize(("n", "shown"), [(4, 0), (5, 5), (6, 5), (9, 5), (10, 10)])
def test_answers_are_told_five_at_a_time(n: int, shown: int) -> None:
    """One more is told with four others; how many answered is told at once."""
    counted = Counted()
    for _ in range(n):
        counted.add(Event(PULSE.name, "ok", score=Score("csat", 5)), NOW - 1000)
    one = worker(counted.windows)
    (stage,) = stages_answer(one)["stages"]
    assert (stage["n"], one.stages[0].events("1h")) == (shown, n)
    assert stages_answer(added(one, share(one)))["stages"][0]["n"] == 2 * shown
