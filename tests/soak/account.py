"""Published against counted, exactly: by stage, partition, pane and every named counter."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from monitor.counting.judging import counter_names
from monitor.counting.panes import LONG, Counts
from monitor.counting.staff import ANSWERED, RELEASED
from monitor.journey_file.model import NONE, OTHER, Journey
from streams.engine.commitment import Commitment
from streams.kafka.topic_ids import TopicState, topic_states
from streams.kafka.topics import changelog_topic
from streams.state.partition import PaneRecord, Partition
from tests.soak.events import BASE, LOOSE_EXPERIENCE, LOOSE_STAGE, VERSIONS, block_counts, blocks, journey
from tests.soak.fleet import Offsets

GROUP = "touchpoint-soak"

Ends = Mapping[tuple[str, int], int]
"""Where partitions end, by topic and number."""

Place = tuple[str, int, int]
"""Stage, partition, start of a long pane in ms."""

Counted = dict[Place, Counter[str]]


class Expected:
    """Turns what the load reports into counters."""

    def __init__(self, seed: int) -> None:
        stages = journey(BASE).stages
        made = {stage.name: blocks(stage, seed) for stage in stages}
        self._counts = {
            (version, stage.name): block_counts(journey(version), stage.name, made[stage.name])
            for version in VERSIONS
            for stage in stages
        }

    def panes(self, report: list[dict[str, Any]]) -> dict[Place, Counter[str]]:
        """The counters of every long pane."""
        found: dict[Place, Counter[str]] = {}
        for writer in report:
            stage, partition = writer["stage"], writer["partition"]
            for version, start_ms, block, times in writer["counted"]:
                pane = found.setdefault((stage, partition, start_ms), Counter())
                for name, n in self._counts[version, stage][block].items():
                    pane[name] += n * times
        return found


def read_report(file: Path) -> list[dict[str, Any]]:
    """What the load has written down."""
    report: list[dict[str, Any]] = json.loads(file.read_bytes())
    return report


def is_loose(stage: str, name: str) -> bool:
    """Whether only bounds of a counter are known."""
    return stage == LOOSE_STAGE and f"/{LOOSE_EXPERIENCE}/" in name


# -- during the run ----------------------------------------------------------------------------------


def committed(bootstrap: str, wanted: Offsets) -> bool:
    """Whether the group has committed at least these offsets; False as well when Kafka does not say.

    What it had committed in a topic that was deleted since does not count: the topic's id stands beside it.
    Some brokers keep none.
    """
    wanted = {place: offset for place, offset in wanted.items() if offset}

    async def ask() -> tuple[dict[Any, Any], dict[str, TopicState]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
        try:
            await admin.start()
            ids = await topic_states(admin._client, {topic for topic, _ in wanted})
            partitions = [TopicPartition(*place) for place in wanted]
            return await admin.list_consumer_group_offsets(GROUP, partitions=partitions), ids
        finally:
            await admin.close()

    try:
        found, ids = asyncio.run(ask())
    except (KafkaError, OSError, TimeoutError):
        return False
    offsets = {
        (tp.topic, tp.partition): said.offset
        for tp, said in found.items()
        if tp.topic in ids and Commitment.read(said.metadata).topic_id in ("", ids[tp.topic].topic_id)
    }
    return all(offsets.get(place, -1) >= offset for place, offset in wanted.items())


Cell = tuple[str, str, str, str, str]
"""Metric, stage, experience, segment, partner."""


def windows_wanted(journey: Journey, panes: dict[Place, Counter[str]]) -> Counter[Cell]:
    """What the 7d window must show under a journey file; of staff all together, as it is shown."""
    found: Counter[Cell] = Counter()
    staff = staff_stages(journey)
    known = {stage.name: set(counter_names(journey, stage)) for stage in journey.stages}
    for (stage, _, _), counts in panes.items():
        for name, n in counts.items():
            kind, *cell = name.split("/")
            if kind in ("good", "bad") and name in known[stage] and not is_loose(stage, name):
                experience, segment, partner = (cell[0], OTHER, NONE) if stage in staff else cell
                found["touchpoint_window_events", stage, experience, segment, partner] += n
                if kind == "good":
                    found["touchpoint_window_good", stage, experience, segment, partner] += n
    return +found


def staff_stages(journey: Journey) -> set[str]:
    """In each partition of them up to `MIN_GROUP - 1` of their answers wait to be shown, of those that tell
    how long they waited and of others."""
    return {stage.name for stage in journey.stages if stage.kind == "staff"}


def in_blocks(panes: Counted, waiting: dict[tuple[str, int], Counts]) -> Counted:
    """Of staff by pane how many answered, and all that they answered by partition: when a block is told
    depends on the order of events. `waiting` is what is withheld."""
    found: dict[Place, Counter[str]] = {}
    staff = staff_stages(journey(BASE))
    for (stage, partition, start_ms), counts in panes.items():
        if stage not in staff:
            found[stage, partition, start_ms] = counts
            continue
        for name, n in counts.items():
            kind, *cell = name.removeprefix(RELEASED).split("/")
            if kind == "outcome":
                if not name.startswith(RELEASED):
                    found.setdefault((stage, partition, start_ms), Counter())[ANSWERED] += n
                continue
            shown = "/".join([kind, cell[0], OTHER, NONE] if kind in ("good", "bad") else [kind, *cell])
            found.setdefault((stage, partition, 0), Counter())[shown] += n
    for (stage, partition), some in waiting.items():
        for name, n in some.items():
            if (shown := name.partition(" ")[2]) != ANSWERED:
                found.setdefault((stage, partition, 0), Counter())[shown] += n
    return found


SHOWN = ("touchpoint_window_events{", "touchpoint_window_good{")


def windows_shown(scrapes: Iterable[str]) -> Counter[Cell]:
    """What the 7d windows of all workers add up to."""
    found: Counter[Cell] = Counter()
    for scrape in scrapes:
        lines = [line for line in scrape.splitlines() if line.startswith(SHOWN) and 'window="7d"' in line]
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                labels = sample.labels
                if labels["experience"] != LOOSE_EXPERIENCE:
                    cell = (labels["stage"], labels["experience"], labels["segment"], labels["partner"])
                    found[sample.name, *cell] += int(sample.value)
    return +found


# -- at the end --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verdict:
    """The comparison; differences by name, the first ones in words."""

    published: int = 0
    counted: int = 0
    lost: int = 0
    double: int = 0
    counters: int = 0
    differing: int = 0
    bad: int = 0
    letters: int = 0
    letters_lost: int = 0
    letters_extra: int = 0
    rewritten_letters: int = 0
    poison: Counter[str] = field(default_factory=Counter)
    """What was published of each kind."""
    examples: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.double or self.differing or self.letters_lost or self.letters_extra)


def judge(
    bootstrap: str,
    expected: dict[Place, Counter[str]],
    report: list[dict[str, Any]],
    letters_before: Sequence[Ends],
    *,
    end_known: bool,
) -> Verdict:
    """Read changelogs and dead letters, and compare; `letters_before` each deletion of a topic."""
    verdict = Verdict()
    expected, counted = in_blocks(expected, {}), _counted(bootstrap, end_known)
    for place in sorted(expected.keys() | counted.keys()):
        compare(place, expected.get(place, Counter()), counted.get(place, {}), verdict)
    letters = _letters(bootstrap, letters_before, end_known)
    compare_letters(report, letters, verdict)
    verdict.poison = sum((Counter(writer["poison"]) for writer in report), Counter())
    return verdict


def compare(place: Place, wanted: Counter[str], found: Counts, verdict: Verdict) -> None:
    """Add one pane's differences to the verdict."""
    events = 0
    for name in sorted(wanted.keys() | found.keys()):
        n, got = wanted[name], found.get(name, 0)
        if is_loose(place[0], name):
            events += got
            continue
        verdict.counters += 1
        if n != got:
            verdict.differing += 1
            if len(verdict.examples) < 40:
                verdict.examples.append(f"{place}: {name}: published {n}, counted {got}")
        if name.startswith("outcome/"):
            verdict.published += n
            verdict.counted += got
            verdict.lost += max(n - got, 0)
            verdict.double += max(got - n, 0)
    published = sum(n for name, n in wanted.items() if name.startswith("outcome/"))
    if events > published:
        verdict.differing += 1
        verdict.examples.append(f"{place}: {LOOSE_EXPERIENCE} judged {events} of {published}")


def _counted(bootstrap: str, end_known: bool) -> Counted:
    """The long panes a successor would recover."""
    stages = {changelog_topic(GROUP, stage.name): stage.name for stage in journey(BASE).stages}
    partitions: dict[tuple[str, int], Partition] = {}

    def restore(record: Any) -> None:
        place = (stages[record.topic], record.partition)
        panes = partitions.setdefault(place, Partition(40 * 86_400_000))
        panes.restore(PaneRecord(record.key, record.value))

    _read(bootstrap, list(stages), restore, end_known)
    long = {
        (stage, partition, key.start_ms): Counter(counts)
        for (stage, partition), panes in partitions.items()
        for key, counts in panes.panes()
        if key.grain_ms == LONG.ms
    }
    return in_blocks(long, {place: panes.withheld() for place, panes in partitions.items()})


Letter = tuple[str, int, int, int]
"""Which record a dead letter is of: topic, its incarnation, partition, offset."""


def _letters(bootstrap: str, before: Sequence[Ends], end_known: bool) -> Counter[Letter]:
    found: Counter[Letter] = Counter()

    def note(record: Any) -> None:
        said = dict(record.headers)
        place = (record.topic, record.partition)
        incarnation = sum(place in ends and record.offset >= ends[place] for ends in before)
        topic, partition, offset = (said[f"dlq.{name}"].decode() for name in ("topic", "partition", "offset"))
        found[topic, incarnation, int(partition), int(offset)] += 1

    _read(bootstrap, [stage.dead_letter_topic for stage in journey(BASE).stages], note, end_known)
    return found


def compare_letters(report: list[dict[str, Any]], found: Counter[Letter], verdict: Verdict) -> None:
    """Each record that must be refused has its dead letter, and no other has one."""
    topics = {stage.name: stage.topic for stage in journey(BASE).stages}
    wanted = {
        (topics[writer["stage"]], incarnation, writer["partition"], offset)
        for writer in report
        for incarnation, offset in writer["bad"]
    }
    verdict.bad, verdict.letters = len(wanted), len(found)
    verdict.letters_lost, verdict.letters_extra = len(wanted - found.keys()), len(found.keys() - wanted)
    verdict.rewritten_letters = found.total() - len(found)
    examples = [f"no dead letter for {letter}" for letter in sorted(wanted - found.keys())[:10]]
    verdict.examples += examples + [f"dead letter for {one}" for one in sorted(found.keys() - wanted)[:10]]


def _read(bootstrap: str, topics: list[str], take: Callable[[Any], None], end_known: bool) -> None:
    """Every record of the topics, in the order of each partition."""

    async def read() -> None:
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
            while True:
                batches = await consumer.getmany(timeout_ms=100 if end_known else 1500)
                for record in _records(batches):
                    take(record)
                reached = [await consumer.position(tp) >= ends[tp] for tp in partitions]
                if not batches and (all(reached) or not end_known):  # the embedded broker names ends too low
                    return
        finally:
            await consumer.stop()

    asyncio.run(read())


def _records(batches: dict[Any, list[Any]]) -> Iterator[Any]:
    for records in batches.values():
        yield from records
