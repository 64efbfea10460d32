"""What a worker holds is bounded by the journey file, not by what it is sent; nothing refused is dropped."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import MAX_BYTES, Codec, Reason
from monitor.counting.judging import counter_names
from monitor.counting.metrics import POSITION
from monitor.counting.panes import LONG, Counts, merge_into
from monitor.counting.times import rfc3339
from monitor.journey_file.model import Stage
from streams.kafka.outgoing import Outgoing
from streams.kafka.topics import MAX_RECORD_BYTES
from streams.state.latest import MOST
from streams.state.partition import PaneRecord, Partition
from streams.state.stage import StageProcessor
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, counted, touchpoint
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.system.test_worker import Record, checkout, read_topic, send

CHECKOUT = JOURNEY.stage("web_checkout")
STORE = JOURNEY.stage("store")
CALLS = JOURNEY.stage("call_queue")
GROUP = "touchpoint-monitor"

UNKNOWN = 10_000
OVERSIZED = 20
NOW = 1_800_000_000_000


# -- unknown names ------------------------------------------------------------------------------------


def known(stage: Stage) -> list[bytes]:
    """Events that make every series of the stage appear: a known, an unknown and no partner."""
    partners = [*stage.partners, "someone", None]
    return [checkout(i, stage=stage.name, partner=partner) for i, partner in enumerate(partners)]


def unknown(stage: Stage, number: int) -> bytes:
    """A bad event that says nothing but names nobody has heard of."""
    names = ("segment", "partner", "location", "reason", "channel", "touchpoint")
    fields = {name: f"{name}-{number}" for name in names}
    return checkout(number, stage=stage.name, outcome="failed", **fields)


def series(worker: WorkerProcess) -> set[str]:
    """Name and labels of everything exposed but positions, which a partition has from its first record on."""
    lines = worker.get("/metrics").decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith(("#", POSITION.name))}


def in_changelog(bootstrap: str, stage: Stage) -> Counts:
    """All that the stage's changelog says has been counted."""
    partitions: dict[int, Partition] = {}
    for record in read_topic(bootstrap, f"{GROUP}-{stage.name}-changelog"):
        held = partitions.setdefault(record.partition, Partition(JOURNEY.horizon_ms))
        held.restore(PaneRecord(record.key, record.value))
    sums: Counts = {}
    for held in partitions.values():
        for key, counts in held.panes():
            if key.grain_ms == LONG.ms:
                merge_into(sums, counts)
    return sums


def test_unknown_names_add_no_series() -> None:
    """10,000 unknown segments, partners, locations, reasons and outcomes, and records too large to read,
    leave the set of series as it was; the events are counted as `other`, the others are dead letters."""
    stages = (CHECKOUT, STORE)
    with running(TansuNode()) as broker, WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()
        expected = 0
        for stage in stages:
            send(broker.bootstrap, stage.topic, [(None, value, []) for value in known(stage)])
            expected += len(known(stage))
        until(lambda: counted(worker) == expected, "known names counted")
        before = series(worker)
        assert len(before) > 1000
        for stage in stages:
            some: list[Record] = []
            for number in range(UNKNOWN):
                key = str(number).encode()
                some.append((key, unknown(stage, number), []))
                some.append((key, checkout(number, stage=stage.name, outcome=f"outcome-{number}"), []))
            for number in range(OVERSIZED):
                some.append((None, b"%d" % number + b"x" * MAX_BYTES, []))
            send(broker.bootstrap, stage.topic, some)
            expected += UNKNOWN
        until(lambda: counted(worker) == expected, "unknown names counted")
        refused = len(stages) * (UNKNOWN + OVERSIZED)
        until(lambda: worker.scrape().sum("touchpoint_records_total", result="refused") == refused, "refused")
        assert series(worker) == before
        scrape = worker.scrape()
        for stage in stages:
            labels = {"experience": stage.experiences[0].name, "segment": "other", "partner": "other"}
            assert scrape.sum("touchpoint_window_events", window="1h", **labels) == UNKNOWN
            for reason, n in ((Reason.UNKNOWN_OUTCOME, UNKNOWN), (Reason.TOO_LARGE, OVERSIZED)):
                found = scrape.sum("touchpoint_dead_letters_total", topic=stage.topic, reason=reason)
                assert found == n
        assert worker.end()[0] == 0
        for stage in stages:
            sums = in_changelog(broker.bootstrap, stage)
            assert sums.keys() <= set(counter_names(JOURNEY, stage))
            assert sums["reason/other"] == UNKNOWN
            outcomes = sum(n for name, n in sums.items() if name.startswith("outcome/"))
            assert outcomes == UNKNOWN + len(known(stage))


async def test_unknown_names_are_not_kept() -> None:
    """What a stage keeps in memory has the same names after 10,000 unknown ones as before them."""

    async def produce(records: Sequence[Outgoing]) -> Sequence[int]:
        return range(len(records))

    processor = StageProcessor(Codec(JOURNEY, CHECKOUT), "changelog", produce)
    await processor.own(frozenset({0}), 1, lambda: True)
    time = rfc3339(NOW)

    async def fold(first: int, values: list[bytes]) -> None:
        records = [
            SimpleNamespace(
                offset=first + i,
                value=value,
                key=None,
                headers=(),
                timestamp=NOW,
                topic=CHECKOUT.topic,
                partition=0,
            )
            for i, value in enumerate(values)
        ]
        processor.fold(SimpleNamespace(value=records, partition=0, offset=records[-1].offset), NOW)
        await processor.flush(lambda _: None)

    def at_noon(value: bytes, **fields: Any) -> bytes:
        return orjson.dumps(orjson.loads(value) | {"time": time} | fields)

    def names() -> dict[str, Any]:
        counters = {name for panes in processor._partitions.values() for _, c in panes.panes() for name in c}
        return {
            "judged": set(processor._judge._memo),
            "counters": counters,
            "refusals": set(processor.refusals),
            "last events": set(processor.last_event_ms),
            "results": set(processor.results),
            "unwritten": (len(processor._dead_letters), len(processor._unacknowledged), processor.unwritten),
        }

    warm = [at_noon(value) for value in known(CHECKOUT)]
    warm += [at_noon(unknown(CHECKOUT, -1)), at_noon(warm[0], outcome="meh")]
    await fold(0, warm)
    before = names()
    some = [at_noon(unknown(CHECKOUT, number)) for number in range(UNKNOWN)]
    some += [at_noon(warm[0], outcome=f"outcome-{number}") for number in range(UNKNOWN)]
    await fold(len(warm), some)
    assert processor.results["counted"] + processor.results["refused"] == len(warm) + len(some)
    assert names() == before
    assert len(processor.failures()) == MOST


# -- a flood of bad records ---------------------------------------------------------------------------

FLOOD = 60_000
"""Several fetches of each partition: some seconds of work, after the first of which the good ones are due."""

GOOD = 300


def read_until(bootstrap: str, topic: str, number: int, deadline_s: float = 60) -> list[Any]:
    """At least so many records of a topic, some still on their way; fewer after the deadline."""

    async def read() -> list[Any]:
        found: list[Any] = []
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    while len(found) < number:
                        for records in (await consumer.getmany(timeout_ms=200)).values():
                            found += records
        return found

    return asyncio.run(read())


def test_a_flood_of_bad_records_holds_up_no_other_stage(broker: Node) -> None:
    """One stage has nothing but bad records waiting: another's good events are in its changelog before the
    last of them is refused, and every bad record is a dead letter, once."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    meh = checkout(0, stage=CALLS.name, outcome="meh")
    send(broker.bootstrap, CALLS.topic, [(str(i).encode(), meh, []) for i in range(FLOOD)])
    send(broker.bootstrap, CHECKOUT.topic, [(b"one partition", checkout(i), []) for i in range(GOOD)])
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:

        def is_done() -> bool:
            scrape = worker.scrape()
            refused = scrape.sum("touchpoint_records_total", topic=CALLS.topic, result="refused")
            good = scrape.sum("touchpoint_records_total", topic=CHECKOUT.topic, result="counted")
            return (refused, good) == (FLOOD, GOOD)

        until(is_done, "flood worked off", 120)
        letters = read_until(broker.bootstrap, CALLS.dead_letter_topic, FLOOD)
        assert worker.end()[0] == 0
    assert sorted(int(letter.key) for letter in letters) == list(range(FLOOD))
    panes = read_topic(broker.bootstrap, f"{GROUP}-{CHECKOUT.name}-changelog")
    written_ms = max(pane.timestamp for pane in panes if pane.value is not None)
    assert written_ms < max(letter.timestamp for letter in letters)


# -- dead letters that cannot be written --------------------------------------------------------------


def limit_records(bootstrap: str, topic: str, max_bytes: int) -> None:
    """Let the broker refuse what is larger."""

    async def alter() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            limit = {"max.message.bytes": str(max_bytes)}
            answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, limit)])
            assert all(code == 0 for answer in answers for code, *_ in answer.resources), answers
        finally:
            await admin.close()

    asyncio.run(alter())


def committed(bootstrap: str, topic: str) -> dict[int, int]:
    """Committed offset by partition; partitions without one are left out."""

    async def ask() -> dict[int, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(GROUP)
        finally:
            await admin.close()
        return {
            tp.partition: int(found.offset)
            for tp, found in offsets.items()
            if isinstance(tp, TopicPartition) and tp.topic == topic and found.offset >= 0
        }

    return asyncio.run(ask())


@pytest.mark.full
def test_a_dead_letter_that_cannot_be_written_stops_the_worker(tmp_path: Path) -> None:
    """A worker whose dead letters Kafka refuses ends with one line, again and again, and commits nothing past
    the bad record; once they can be written, that record is there and its neighbours are counted once."""
    good, key = 50, b"one partition"
    with running(KafkaNode(tmp_path)) as broker:
        settings = {"KAFKA": broker.bootstrap}
        with WorkerProcess(**settings) as worker:
            worker.ready()
            send(broker.bootstrap, CHECKOUT.topic, [(key, checkout(i), []) for i in range(good)])
            until(lambda: list(committed(broker.bootstrap, CHECKOUT.topic).values()).count(good), "committed")
            limit_records(broker.bootstrap, CHECKOUT.dead_letter_topic, 100)
            bad: Record = (key, b"no JSON at all" * 20, [])
            later: list[Record] = [(key, checkout(i), []) for i in range(good)]
            send(broker.bootstrap, CHECKOUT.topic, [bad, *later])
            ends_with_one_line(worker)
        with WorkerProcess(**settings) as worker:
            ends_with_one_line(worker)
        assert max(committed(broker.bootstrap, CHECKOUT.topic).values()) == good
        assert read_topic(broker.bootstrap, CHECKOUT.dead_letter_topic) == []
        limit_records(broker.bootstrap, CHECKOUT.dead_letter_topic, MAX_RECORD_BYTES)
        with WorkerProcess(**settings) as worker:
            worker.ready()

            def in_window() -> float:
                labels = {"experience": "checkout_completed", "window": "1h"}
                return worker.scrape().sum("touchpoint_window_events", **labels)

            until(lambda: in_window() >= 2 * good, "neighbours counted")
            until(
                lambda: max(committed(broker.bootstrap, CHECKOUT.topic).values()) == 2 * good + 1, "committed"
            )
            assert in_window() == 2 * good
            assert worker.end()[0] == 0
        letters = read_topic(broker.bootstrap, CHECKOUT.dead_letter_topic)
        assert [(letter.key, letter.value) for letter in letters] == [bad[:2]]


def ends_with_one_line(worker: WorkerProcess) -> None:
    """The worker ends by itself with exit code 1 and says why in one line, without a traceback."""
    code, said = worker.ended()
    lines = [line for line in said.splitlines() if line.startswith("touchpoint: ")]
    assert code == 1
    assert len(lines) == 1, said
    assert (
        f"web_checkout cannot write: WriteError: {CHECKOUT.dead_letter_topic}: MessageSizeTooLargeError"
        in lines[0]
    )
    assert "Traceback" not in said
