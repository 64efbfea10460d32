"""Whatever is read of staff, and whenever: two readings differ by five answers or more, or by none."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting.event import Event, Score
from monitor.counting.judging import Judge
from monitor.counting.panes import WITHHELD, Counts, Tally, merge_into
from monitor.counting.staff import MIN_GROUP, stage_tally, stage_windows
from monitor.counting.windows import StageWindows
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.live.exposition import render
from monitor.live.share import added, share
from monitor.live.snapshot import Snapshot, stage_snapshot
from streams.settings import SHIPPED_JOURNEY
from streams.web.answers import stages_answer
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.snapshots import NOW
from tests.streams.web.snapshots import snapshot as snapshot_of_all

PULSE = CHAIR.stage("staff_pulse")
NONE_YET = replace(snapshot_of_all(), owned=0)

ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 7_200), st.sampled_from((1, 5)), st.sampled_from(("", *CHAIR.segments)), st.booleans()
    ),
    max_size=25,
)
"""When (seconds before now), what, of which segment, and whether it is read after a reading."""

LINE = re.compile(
    r'touchpoint_window_(events|good|answers|reasons|outcomes)\{(.*stage="staff_pulse".*)\} (\S+)'
)

SUMMED = r'(segment|partner|class)="\w+",?'
"""Labels that are added up: together they are one sum."""


class Counted:
    """What one partition counts, answer by answer, into windows of its own or of all partitions."""

    def __init__(self, journey: Journey = CHAIR, windows: StageWindows | None = None) -> None:
        stage = journey.stage(PULSE.name)
        self.windows = windows or stage_windows(journey, stage)
        self._tally = stage_tally(stage, Judge(journey, stage))
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
    """By how many answers any sum differs; good alone, and reasons, are parts of the sum of all judged."""
    names = {name for name in {*before, *after} if not name.startswith(("good ", "reasons "))}
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


OVERLAPPING = parse(
    SHIPPED_JOURNEY.read_text().replace(
        "judges: {score.kind: [csat]}\n        good: {score.value: {at_least: 4}}",
        "judges: {score.kind: [csat], outcome: [ok]}\n        good: {score.value: {at_least: 4}}",
    )
)
"""An experience that does not judge all who answer: its sum and that of the answers overlap."""

PARTITIONS = 2

COLLEAGUES = st.lists(
    st.tuples(
        st.integers(0, PARTITIONS - 1),
        st.integers(0, 7_200),
        st.sampled_from(("nps", "csat", "csat", "csat")),
        st.sampled_from((1, 5)),
        st.sampled_from(("ok", "ok", "failed")),
        st.sampled_from((None, *CHAIR.segments)),
        st.booleans(),
    ),
    min_size=MIN_GROUP,
    max_size=36,
)
"""Partition, when (seconds before now), asked for what, value, outcome, segment, whether they waited."""


def one_answer(number: int, kind: Any, value: int, outcome: str, segment: str | None, waited: bool) -> Event:
    """Each takes twice as many ms as the one before: a sum of durations says of whom it is."""
    return Event(
        PULSE.name, outcome, segment=segment, reason="tools", score=Score(kind, value),
        duration_s=2**number / 1000, wait_s=3.0 if waited else None,
    )  # fmt: skip


def shown(counts: Mapping[str, int]) -> Counts:
    """Without segment and partner; all outcomes are `ok`."""
    found: Counts = {}
    for name, n in counts.items():
        kind, *of = name.split("/")
        if kind in ("good", "bad"):
            of = [of[0], "other", "none"]
        merge_into(found, {"outcome/ok" if kind == "outcome" else "/".join([kind, *of]): n})
    return found


def whole(journey: Journey, event: Event) -> Counts:
    """All that one answer adds to."""
    tally = Tally(Judge(journey, journey.stage(PULSE.name)))
    tally.add([event], [NOW])
    return shown(next(tally.panes())[1])


def whose(sums: Mapping[str, int]) -> set[int]:
    """The numbers of the answers that a sum of durations is of."""
    return {number for number in range(40) if sums.get("duration_ms", 0) >> number & 1}


def taken(windows: StageWindows, now_ms: int) -> list[Counts]:
    """One reading: what each window says."""
    rows = windows.sums(now_ms).values()
    return [{name: int(n) for name, n in zip(windows.names, row, strict=True) if n} for row in rows]


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("journey", [CHAIR, OVERLAPPING], ids=["shipped", "overlapping"])
@given(
    COLLEAGUES,
    st.lists(st.tuples(st.integers(0, 36), st.integers(0, 7_200)), min_size=2, max_size=6),
)
def test_whatever_is_read_is_of_five_whole_answers(
    journey: Journey, colleagues: list[tuple[Any, ...]], moments: list[tuple[int, int]]
) -> None:
    """Each counter of each window, whenever it is read, is the sum over the same answers; whoever are in one
    sum and not in another are five or more. Partitions are counted by one worker or more: that adds."""
    windows = stage_windows(journey, journey.stage(PULSE.name))
    partitions = [Counted(journey, windows) for _ in range(PARTITIONS)]
    events = [one_answer(number, *said) for number, (_, _, *said) in enumerate(colleagues)]
    readings: list[Counts] = [{}]
    for number, event in enumerate(events):
        partition, ago_s, *_ = colleagues[number]
        partitions[partition].add(event, NOW - ago_s * 1000)
        for _, later_s in (one for one in moments if one[0] == number):
            readings += taken(windows, NOW + later_s * 1000)
    readings += taken(windows, NOW)
    for sums in readings:
        expected: Counts = {}
        for number in whose(sums):
            merge_into(expected, whole(journey, events[number]))
        assert sums == {name: n for name, n in expected.items() if n}
    for one, other in permutations(map(whose, readings), 2):
        assert not 0 < len(one - other) < MIN_GROUP


@pytest.mark.parametrize("last", [1, 5])
def test_no_reason_tells_who_was_unhappy(last: int) -> None:
    """Four of twenty were; of the next one nothing is seen, not that there was one."""
    counted = Counted()
    for value in [1, 5, 5, 5, 5] * 4:
        counted.add(Event(PULSE.name, "ok", score=Score("csat", value)), NOW)
    before = read(worker(counted.windows))
    counted.add(Event(PULSE.name, "ok", score=Score("csat", last)), NOW)
    assert read(worker(counted.windows)) == before


def test_sums_that_overlap_are_of_the_same_answers() -> None:
    """What is answered and what is judged of it: else their difference would tell how the sixth was."""
    counted = Counted(OVERLAPPING)
    for outcome, value in [("ok", 5), ("ok", 5), ("failed", 5), ("ok", 5), ("ok", 5), ("ok", 1)]:
        counted.add(Event(PULSE.name, outcome, score=Score("csat", value)), NOW)
    *_, week = taken(counted.windows, NOW)
    cell = "staff_well/other/none"
    assert week == {"outcome/ok": 5, "answer/csat/good/all/all": 5, f"good/{cell}": 4}


@pytest.mark.parametrize(("n", "shown"), [(4, 0), (5, 5), (6, 5), (9, 5), (10, 10)])
def test_answers_are_told_five_at_a_time(n: int, shown: int) -> None:
    """One more is told with four others, as is that they answered."""
    counted = Counted()
    for _ in range(n):
        counted.add(Event(PULSE.name, "ok", score=Score("csat", 5)), NOW - 1000)
    one = worker(counted.windows)
    (stage,) = stages_answer(one)["stages"]
    assert (stage["n"], one.stages[0].events("1h")) == (shown, shown)
    assert stages_answer(added(one, share(one)))["stages"][0]["n"] == 2 * shown
