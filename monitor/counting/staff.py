"""What staff answer reaches windows in groups: no two readings differ by fewer than `MIN_GROUP` answers.

Whoever reads a sum of five answers, and soon after one of six, knows the sixth. So answers wait until there
are five of a kind, and are added together, to the pane of the last. They leave a window together, too. Each
experience, each kind of answer and each reason is a sum of its own; segments and partners of an experience
are one. After a restart or a rebalance groups are formed anew.

Events by outcome are counted at once: that somebody answered is no secret, and a silent stage must be seen.
"""

from collections import Counter
from collections.abc import Mapping

from monitor.counting.judging import (
    answer_cells,
    answer_name,
    bad_name,
    counter_names,
    good_name,
    reason_labels,
    reason_name,
)
from monitor.counting.panes import LONG, Counts, PaneKey
from monitor.counting.windows import StageWindows
from monitor.journey_file.model import NONE, OTHER, Journey, Stage

MIN_GROUP = 5
"""In a smaller group people are known by their answers. The least that surveys of employees usually name."""


class StaffWindows(StageWindows):
    """Windows of a stage of staff."""

    def __init__(self, journey: Journey, stage: Stage) -> None:
        super().__init__(counter_names(journey, stage))
        self._sums = _sums(journey, stage)
        self._waiting: dict[str, Counter[str]] = {summed: Counter() for summed, _ in self._sums.values()}

    def add(self, key: PaneKey, counts: Mapping[str, int]) -> None:
        """Add counts to a pane, answers once there are enough. Both grains take them from the long pane, so
        that windows of either differ by whole groups."""
        super().add(key, {name: n for name, n in counts.items() if name not in self._sums})
        if key.grain_ms == LONG.ms and (group := self._group(counts)):
            for grain_ms in self._rings:
                super().add(PaneKey(grain_ms, key.start_ms), group)

    def _group(self, counts: Mapping[str, int]) -> Counts:
        """What these make enough of, with what has waited."""
        group: Counts = {}
        touched = dict.fromkeys(self._sums[name][0] for name in counts if name in self._sums)
        for name, n in counts.items():
            if name in self._sums:
                summed, shown = self._sums[name]
                self._waiting[summed][shown] += n
        for summed in touched:
            if self._waiting[summed].total() >= MIN_GROUP:
                group |= self._waiting[summed]
                self._waiting[summed].clear()
        return group


def stage_windows(journey: Journey, stage: Stage) -> StageWindows:
    """The windows of a stage, of which nothing is known yet."""
    if stage.kind == "staff":
        return StaffWindows(journey, stage)
    return StageWindows(counter_names(journey, stage))


def _sums(journey: Journey, stage: Stage) -> dict[str, tuple[str, str]]:
    """Counter -> the sum that must be large enough, and the counter it is shown as."""
    sums = {reason_name(one): (reason_name(one), reason_name(one)) for one in reason_labels(stage)}
    for kind, *rest in answer_cells(journey, stage):
        name = answer_name(kind, *rest)
        sums[name] = (f"answer/{kind}", name)
    for experience in stage.experiences:
        for segment in journey.segment_labels:
            for partner in stage.partner_labels:
                for verdict in (good_name, bad_name):
                    shown = verdict(experience.name, OTHER, NONE)
                    sums[verdict(experience.name, segment, partner)] = (f"judged/{experience.name}", shown)
    return sums
