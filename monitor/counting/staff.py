"""Windows and tally of any stage; of one of staff in blocks: no two readings differ by fewer than `MIN_GROUP`
answers.

Whoever reads a sum of five answers, and soon after one of six, knows the sixth. So answers wait until there
are five, and are shown together: all that is counted of them at one moment, in the pane of the last. They
leave a window together, too. Whatever is read is a sum of whole blocks, and so is every difference. Were one
counter ahead of another, or cut otherwise, their difference would tell on one.

Answers to one kind of question form a block, for one of five that was asked for something else would be known
by it. So do those that tell how long something took. What is answered never says when a block is full.
Segments and partners are one, and all outcomes are `ok`.

Blocks are formed where a partition is counted, in the order of its events. What is withheld is kept beside
its panes (`WITHHELD`). So whoever counts on after a crash forms the same blocks, and a partition that moves
takes whole blocks along.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from monitor.counting.event import Event
from monitor.counting.judging import Judge, counter_name, counter_names
from monitor.counting.panes import WITHHELD, Counts, PaneKey, PaneTally, Tally, by_pane, merge_into
from monitor.counting.windows import StageWindows
from monitor.journey_file.model import NONE, OTHER, Journey, Stage

MIN_GROUP = 5
"""In a smaller group people are known by their answers. The least that surveys of employees usually name."""

RELEASED = "block/"
"""How counters begin that hold whole blocks. Others hold single answers, and are not shown."""

ANSWERED = counter_name("outcome", "ok")


class StaffWindows(StageWindows):
    """Windows of a stage of staff."""

    def add(self, key: PaneKey, counts: Mapping[str, int]) -> None:
        """Add what is released."""
        released = {name.removeprefix(RELEASED): n for name, n in counts.items() if name.startswith(RELEASED)}
        super().add(key, released)


class StaffTally:
    """Counts answers of one partition, of which these are withheld already.

    A pane counts at once how many answered, for whoever asks what it holds (`Partition.holds`).
    """

    def __init__(self, judge: Judge, withheld: Mapping[str, int]) -> None:
        self._judge = judge
        self._before = withheld
        self._blocks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, n in withheld.items():
            asked, _, shown = name.partition(" ")
            self._blocks[asked][shown] += n
        self._slices: defaultdict[int, Counts] = defaultdict(dict)

    def add(self, events: Sequence[Event], times_ms: Sequence[int]) -> list[tuple[str, ...]]:
        """Count them one by one; returns the experiences that each was bad for."""
        bad_for = []
        for event, at_ms in zip(events, times_ms, strict=True):
            tally = Tally(self._judge)
            bad_for += tally.add([event], [at_ms])
            key, counts = next(tally.panes())
            block = self._blocks[_asked(event)]
            for name, n in counts.items():
                block[_shown(name)] += n
            merge_into(self._slices[key.start_ms], {ANSWERED: 1})
            if block[ANSWERED] >= MIN_GROUP:
                merge_into(self._slices[key.start_ms], {RELEASED + name: n for name, n in block.items()})
                block.clear()
        return bad_for

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """What is released, by pane of either grain; last, by how much what is withheld has changed."""
        yield from by_pane(self._slices)
        changed = Counter({name: -n for name, n in self._before.items()})
        for asked, block in self._blocks.items():
            changed.update({f"{asked} {name}": n for name, n in block.items()})
        yield WITHHELD, {name: n for name, n in changed.items() if n}


def stage_windows(journey: Journey, stage: Stage) -> StageWindows:
    """The windows of a stage, of which nothing is known yet."""
    windows = StaffWindows if stage.kind == "staff" else StageWindows
    return windows(counter_names(journey, stage))


def stage_tally(stage: Stage, judge: Judge) -> Callable[[Mapping[str, int]], PaneTally]:
    """What counts events of a stage, given what is withheld."""
    if stage.kind == "staff":
        return partial(StaffTally, judge)
    return lambda _withheld: Tally(judge)


def _asked(event: Event) -> str:
    """What an answer is to, and which times it tells: nothing of what it says."""
    times = {"duration": event.duration_s, "wait": event.wait_s, "tool": event.system_wait_s}
    kind = NONE if event.score is None else event.score.kind
    return "+".join([kind, *(name for name, seconds in times.items() if seconds is not None)])


def _shown(name: str) -> str:
    """The counter that it is shown as."""
    kind, of, *_ = (*name.split("/"), "")
    if kind in ("good", "bad"):
        return counter_name(kind, of, OTHER, NONE)
    return ANSWERED if kind == "outcome" else name
