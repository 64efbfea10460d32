"""What staff answer is told five at a time, whoever counts it: no two readings differ by fewer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.counting.event import Codec
from monitor.counting.judging import counter_name
from monitor.counting.panes import LONG, PaneKey
from monitor.counting.staff import MIN_GROUP
from monitor.counting.times import rfc3339
from monitor.live.exposition import render
from monitor.live.snapshot import Snapshot
from streams.kafka.outgoing import Outgoing
from streams.state.partition import PaneRecord
from streams.state.stage import StageProcessor
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.state.test_processor import NOW, Record

PULSE = CHAIR.stage("staff_pulse")
SERIES = dict[str, float]


def answer(number: int, **more: Any) -> bytes:
    """An answer of a colleague; each has a desk, a mood and tools of their own."""
    said: dict[str, Any] = {
        "id": f"s-{number}",
        "time": rfc3339(NOW - 1000 * number),
        "stage": PULSE.name,
        "outcome": "ok",
    }
    said |= {"score": {"kind": "csat", "value": 1 + number % 5}, "reason": "tools", "partner": "klarna"}
    said |= {"duration_s": 100 + 2**number, "system_wait_s": 2**number, "wait_s": 3 ** (number % 8)}
    said |= {"segment": CHAIR.segments[number % 2], "outcome": ("ok", "wow", "failed")[number % 3]}
    return orjson.dumps(said | more)


class Desk:
    """Workers of one stage, one after the other or side by side, and the changelog between them."""

    def __init__(self) -> None:
        self.changelog: list[Outgoing] = []
        self.generation = 0

    async def worker(self, *partitions: int) -> StageProcessor:
        """One that has read the changelog of these partitions and owns them."""
        found = StageProcessor(Codec(CHAIR, PULSE), "changelog", self._produce)
        self.generation += 1
        for partition in partitions:
            mine = [one for one in self.changelog if one.partition == partition]
            found.restore(partition, [PaneRecord(one.key or b"", one.value) for one in mine])
        await found.own(frozenset(partitions), self.generation, lambda: True)
        return found

    async def _produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        self.changelog += records
        return range(len(records))


def read(worker: StageProcessor) -> SERIES:
    """Every series that a scrape shows of the longest window."""
    one = Snapshot(CHAIR, NOW, True, (worker.snapshot(NOW, ()),), "", partitions=2, owned=1)
    found: SERIES = {}
    for family in text_string_to_metric_families(render(one, "text/plain")[0].decode()):
        for name, labels, value, *_ in family.samples:
            if labels.get("window") == "7d" and value and "expected" not in name:
                about = [f"{key}={of}" for key, of in labels.items() if key not in ("stage", "window")]
                found[" ".join([name.removeprefix("touchpoint_window_"), *about])] = value
    return found


def sums(series: SERIES) -> SERIES:
    """Of how many answers each sum is; parts of one sum are added up. Reasons are of the bad among them."""
    found: Counter[str] = Counter()
    for name, value in series.items():
        metric, *labels = name.split()
        if metric in ("answers", "events", "outcomes", "waits", "touchpoints") or metric.endswith("gcount"):
            about = [one for one in labels if one.startswith(("experience", "kind"))]
            found[" ".join([metric, *about])] += value  # type: ignore[assignment]
    return dict(found)


async def fold(worker: StageProcessor, partition: int, *numbers: int, **more: Any) -> None:
    """Count these answers, each at the offset of its number."""
    records = [Record(number, answer(number, **more)) for number in numbers]
    worker.fold(_Message(partition, records), NOW)


class _Message:
    def __init__(self, partition: int, records: list[Record]) -> None:
        self.partition, self.value = partition, records


@pytest.mark.parametrize("kept", range(10))
async def test_a_restart_tells_on_nobody(kept: int) -> None:
    """Nine answered, and this many of them were written when the worker died: it shows five, and its
    successor five, then ten after one more, the same ones."""
    desk = Desk()
    first = await desk.worker(0)
    for number in range(9):
        await fold(first, 0, number)
        if number < kept:
            await first.flush(lambda _: None)
    before = read(first)
    second = await desk.worker(0)
    assert set(sums(read(second)).values()) <= {MIN_GROUP}
    await fold(second, 0, *range(max(0, kept - 2), 9))
    assert read(second) == before
    assert set(sums(before).values()) == {MIN_GROUP}
    await fold(second, 0, 9)
    assert set(sums(read(second)).values()) == {2 * MIN_GROUP}


async def test_a_worker_that_dies_while_it_writes_tells_on_nobody() -> None:
    """Whatever part of the records it came to write, they show whole groups, and so does what follows."""
    desk = Desk()
    first = await desk.worker(0)
    await fold(first, 0, *range(4))
    await first.flush(lambda _: None)
    written = list(desk.changelog)
    await fold(first, 0, *range(4, 13), reason="pay")
    await first.flush(lambda _: None)
    whole, last = list(desk.changelog), read(first)
    for end in range(len(written), len(whole) + 1):
        desk.changelog = whole[:end]
        second = await desk.worker(0)
        assert set(sums(read(second)).values()) <= {MIN_GROUP, 2 * MIN_GROUP}, end
        await fold(second, 0, *range(4, 13), reason="pay")
        assert read(second) == last, end


async def test_a_partition_that_moves_takes_whole_groups_along() -> None:
    """Seven answered in one partition and eight in the other: whoever has them shows five of each."""
    desk = Desk()
    both = await desk.worker(0, 1)
    await fold(both, 0, *range(7))
    await fold(both, 1, *range(10, 18))
    await both.flush(lambda _: None)
    assert set(sums(read(both)).values()) == {2 * MIN_GROUP}
    other = await desk.worker(1)
    await both.own(frozenset({0}), desk.generation, lambda: True)
    assert set(sums(read(both)).values()) == set(sums(read(other)).values()) == {MIN_GROUP}


async def test_a_former_owner_that_writes_late_takes_no_group_away() -> None:
    """Its word of what waits comes after that of its successor, and counts for nothing."""
    desk = Desk()
    first = await desk.worker(0)
    await fold(first, 0, *range(4))
    await first.flush(lambda _: None)
    second = await desk.worker(0)
    mine = list(desk.changelog)
    await fold(first, 0, *range(4, 8))
    await first.flush(lambda _: None)
    late, desk.changelog = desk.changelog[len(mine) :], mine
    await fold(second, 0, 4, 5)
    changes = [one for records in second._writes() for one in records]
    expected = read(first)
    for end in range(1, len(changes) + 1):
        desk.changelog = [*mine, *changes[:end], *late]
        third = await desk.worker(0)
        await fold(third, 0, *range(4, 8))
        assert read(third) == expected, end


async def test_no_time_is_told_by_itself() -> None:
    """Not how long one colleague took, waited, or lost to tools; nor how it ended for one."""
    desk = Desk()
    worker = await desk.worker(0)
    readings = []
    for number in range(11):
        readings.append(read(worker))
        await fold(worker, 0, number)
    for before, after, number in zip(readings, readings[1:], range(11), strict=False):
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        assert bool(changed) == (number % MIN_GROUP == MIN_GROUP - 1), changed
    five = range(MIN_GROUP)
    assert readings[5]["tool_seconds"] == sum(2**number for number in five)
    assert readings[9]["tool_of_seconds"] == sum(100 + 2**number for number in five)
    assert readings[9]["duration_seconds_gsum"] == sum(100 + 2**number for number in five)


async def test_what_an_earlier_version_wrote_answer_by_answer_is_not_shown() -> None:
    """Nor how many answered; what they answer now is."""
    desk = Desk()
    first = await desk.worker(0)
    panes = first._panes(first._partitions[0])
    key = PaneKey(LONG.ms, LONG.start_of(NOW))
    cell = PULSE.experiences[0].name, CHAIR.segments[0], "none"
    panes._pane(key).add({counter_name("good", *cell): 4, counter_name("bad", *cell): 1, "outcome/ok": 5}, 4)
    panes._dirty.add(key)
    await first.flush(lambda _: None)
    second = await desk.worker(0)
    assert read(second) == {}
    await fold(second, 0, *range(5, 5 + MIN_GROUP))
    assert read(second)["outcomes outcome=ok"] == MIN_GROUP
