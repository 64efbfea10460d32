"""Windows and tally of any stage; of one of staff in groups: no two readings differ by fewer than `MIN_GROUP`
answers.

Whoever reads a sum of five answers, and soon after one of six, knows the sixth. So answers wait until there
are five of a kind, and are added together, to the pane of the last. They leave a window together, too. Each
experience, each kind of answer and each reason is a sum of its own, and so are durations, waits, what tools
took, and where people were; segments and partners of an experience are one.

Groups are formed where a partition is counted, in the order of its events. What is withheld is kept beside
its panes (`WITHHELD`). So whoever counts on after a crash forms the same groups, and a partition that moves
takes whole groups along.

How many answered is counted at once, as `ok` whatever the outcome: that somebody answered is no secret, and a
silent stage must be seen.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

from monitor.counting.event import Event
from monitor.counting.judging import (
    Judge,
    answer_cells,
    bucket_names,
    counter_name,
    counter_names,
    reason_labels,
    touchpoint_labels,
    waits_names,
)
from monitor.counting.panes import WITHHELD, Counts, PaneKey, PaneTally, Tally, by_pane, merge_into
from monitor.counting.windows import StageWindows
from monitor.journey_file.model import NONE, OTHER, Journey, Stage

MIN_GROUP = 5
"""In a smaller group people are known by their answers. The least that surveys of employees usually name."""

RELEASED = "told/"
"""How counters begin that hold whole groups. Others, of an earlier version, hold single answers."""

ANSWERED = counter_name("outcome", "ok")

Sums = Mapping[str, tuple[str, str]]
"""Counter -> the sum that must be large enough, and the counter it is shown as."""


class StaffWindows(StageWindows):
    """Windows of a stage of staff."""

    def add(self, key: PaneKey, counts: Mapping[str, int]) -> None:
        """Add what is released, and how many answered."""
        released = {name.removeprefix(RELEASED): n for name, n in counts.items() if name.startswith(RELEASED)}
        answered = sum(n for name, n in counts.items() if name.startswith("outcome/"))
        super().add(key, released | {ANSWERED: answered})


class StaffTally:
    """Counts answers of one partition, of which these are withheld already."""

    def __init__(self, judge: Judge, sums: Sums, withheld: Mapping[str, int]) -> None:
        self._judge = judge
        self._sums = sums
        self._before = withheld
        self._withheld: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, n in withheld.items():
            summed, _, shown = name.partition(" ")
            self._withheld[summed][shown] += n
        self._slices: defaultdict[int, Counts] = defaultdict(dict)

    def add(self, events: Sequence[Event], times_ms: Sequence[int]) -> list[tuple[str, ...]]:
        """Count them one by one; returns the experiences that each was bad for."""
        bad_for = []
        for event, at_ms in zip(events, times_ms, strict=True):
            tally = Tally(self._judge)
            bad_for += tally.add([event], [at_ms])
            key, counts = next(tally.panes())
            merge_into(self._slices[key.start_ms], {ANSWERED: 1})
            merge_into(self._slices[key.start_ms], self._released(counts))
        return bad_for

    def _released(self, counts: Mapping[str, int]) -> Counts:
        """What an answer makes enough of, with what was withheld. A sum counts its answers under no name."""
        released: Counts = {}
        held = [(self._sums[name], n) for name, n in counts.items() if name in self._sums]
        for (summed, shown), n in held:
            self._withheld[summed][shown] += n
        for summed in dict.fromkeys(summed for (summed, _), _ in held):
            group = self._withheld[summed]
            group[""] += 1
            if group[""] >= MIN_GROUP:
                released |= {RELEASED + shown: n for shown, n in group.items() if shown}
                group.clear()
        return released

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """What is released, by pane of either grain; last, by how much what is withheld has changed."""
        yield from by_pane(self._slices)
        changed = Counter({name: -n for name, n in self._before.items()})
        for summed, group in self._withheld.items():
            changed.update({f"{summed} {shown}": n for shown, n in group.items()})
        yield WITHHELD, {name: n for name, n in changed.items() if n}


def stage_windows(journey: Journey, stage: Stage) -> StageWindows:
    """The windows of a stage, of which nothing is known yet."""
    windows = StaffWindows if stage.kind == "staff" else StageWindows
    return windows(counter_names(journey, stage))


def stage_tally(journey: Journey, stage: Stage, judge: Judge) -> Callable[[Mapping[str, int]], PaneTally]:
    """What counts events of a stage, given what is withheld."""
    if stage.kind == "staff":
        return partial(StaffTally, judge, _sums(journey, stage))
    return lambda _withheld: Tally(judge)


def _sums(journey: Journey, stage: Stage) -> Sums:
    sums = {name: (name, name) for name in (counter_name("reason", one) for one in reason_labels(stage))}
    for kind, *rest in answer_cells(journey, stage):
        name = counter_name("answer", kind, *rest)
        sums[name] = (f"answer/{kind}", name)
    for experience in stage.experiences:
        for segment in journey.segment_labels:
            for partner in stage.partner_labels:
                for verdict in ("good", "bad"):
                    name = counter_name(verdict, experience.name, segment, partner)
                    sums[name] = (
                        f"judged/{experience.name}",
                        counter_name(verdict, experience.name, OTHER, NONE),
                    )
    waits = [name for outcome in stage.outcomes for name in waits_names(outcome)]
    places = [counter_name("touchpoint", *at) for at in product(touchpoint_labels(stage), stage.outcomes)]
    measured = {
        "duration": (*bucket_names("duration"), "duration_ms"),
        "wait": (*bucket_names("wait"), "wait_ms", *waits),
        "tool": ("tool_ms", "tool_of_ms"),
        "touchpoint": places,
    }
    return sums | {name: (summed, name) for summed, names in measured.items() for name in names}
