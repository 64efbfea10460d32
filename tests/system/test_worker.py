"""Workers as processes on the embedded broker: exactly once, scaling, refusals, clear errors."""

import asyncio
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.settings import SHIPPED_JOURNEY
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import TOUCHPOINT, Samples, WorkerProcess, counted, environment, touchpoint

TOPIC = "touchpoint.web-checkout.v1"
CHANGELOG = "touchpoint-monitor-web_checkout-changelog"


def checkout(number: int, **fields: Any) -> bytes:
    """A checkout event of just now."""
    event = {
        "id": f"e-{number}",
        "time": datetime.now(UTC).isoformat(),
        "stage": "web_checkout",
        "outcome": "failed" if number % 10 == 0 else "ok",
        "segment": ("new", "returning", "business")[number % 3],
        "partner": ("klarna", "adyen")[number % 2],
        "duration_s": 30,
    }
    return orjson.dumps(event | fields)


Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


def send(bootstrap: str, topic: str, records: list[Record]) -> None:
    """Produce (key, value, headers) and wait for all of them."""

    async def produce() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=20, max_request_size=2_000_000
        )
        await producer.start()
        try:
            for key, value, headers in records:
                await producer.send(topic, value, key, headers=headers)
        finally:
            await producer.stop()

    asyncio.run(produce())


def checkouts(bootstrap: str, first: int, last: int) -> None:
    """Publish checkouts `first` up to but not including `last`."""
    send(bootstrap, TOPIC, [(str(i).encode(), checkout(i), []) for i in range(first, last)])


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """What a reader of committed records sees of a topic."""

    async def read() -> list[Any]:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        found: list[Any] = []
        try:
            while batches := await consumer.getmany(timeout_ms=2000):
                for records in batches.values():
                    found += records
        finally:
            await consumer.stop()
        return found

    return asyncio.run(read())


def create_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """A topic somebody else made."""

    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            await admin.close()

    asyncio.run(create())


def committed(bootstrap: str) -> int:
    """Records of the checkouts up to what is committed, over partitions."""

    async def ask() -> int:
        tps = [TopicPartition(TOPIC, partition) for partition in range(4)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id="touchpoint-monitor", enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(tps)
            return sum([await consumer.committed(tp) or 0 for tp in tps])
        finally:
            await consumer.stop()

    return asyncio.run(ask())


def checkouts_in_hour(*scrapes: Samples) -> tuple[float, float]:
    """(judged, good) of checkout_completed in the 1h window, over workers."""
    return (
        sum(s.sum("touchpoint_window_events", experience="checkout_completed", window="1h") for s in scrapes),
        sum(s.sum("touchpoint_window_good", experience="checkout_completed", window="1h") for s in scrapes),
    )


def test_what_is_published_while_a_new_group_forms_is_counted(broker: Node, tmp_path: Path) -> None:
    """Nothing is committed yet, and a fetch under way while partitions move brings what nobody folds."""
    with (
        WorkerProcess(KAFKA=broker.bootstrap, STATE_DIR=str(tmp_path / "1")) as first,
        WorkerProcess(KAFKA=broker.bootstrap, STATE_DIR=str(tmp_path / "2")) as second,
    ):
        workers = first.ready(), second.ready()
        records: list[Record] = [(str(n).encode(), checkout(n), []) for n in range(400)]
        send(broker.bootstrap, TOPIC, records)
        until(lambda: checkouts_in_hour(*(one.scrape() for one in workers))[0] == 400, "all are counted")


def test_refused_records_reach_the_dead_letters_byte_for_byte(broker: Node) -> None:
    """Bad records go to the dead-letter topic as they came, with their reason; neighbours are counted."""
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    bad: list[tuple[bytes | None, bytes | None, str]] = [
        (b"k1", b"\xff\xfe not json", "not_json"),
        (b"k2", b'{"id":"x"}', "missing_field"),
        (b"k0", None, "tombstone"),
        (b"k3", checkout(1, stage="nowhere"), "unknown_stage"),
        (b"k4", checkout(1, stage="store"), "wrong_topic"),
        (b"k5", checkout(1, outcome="meh"), "unknown_outcome"),
        (b"k6", checkout(1, time=old), "too_old"),
        (b"k7", checkout(1, time=ahead), "in_future"),
        (b"k8", checkout(1, duration_s="fast"), "wrong_type"),
        (b"k9", checkout(1, attributes="x" * 1_000_000), "too_large"),  # with its headers beyond 1 MiB
    ]
    mixed: list[Record] = []
    for number, (key, value, _) in enumerate(bad):
        mixed.append((str(number).encode(), checkout(number), []))
        mixed.append((key, value, [("trace", b"\x00\x01"), ("dlq.attempt", b"2")]))
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()
        send(broker.bootstrap, TOPIC, mixed)
        until(lambda: counted(worker) == len(bad), "neighbours counted")
        scrape = worker.scrape()
        assert scrape.sum("touchpoint_records_total", topic=TOPIC, result="refused") == len(bad)
        for _, _, reason in bad:
            assert scrape.sum("touchpoint_dead_letters_total", topic=TOPIC, reason=reason) == 1, reason
        assert worker.end()[0] == 0
    letters = {record.key: record for record in read_topic(broker.bootstrap, f"{TOPIC}.dlq")}
    assert len(letters) == len(bad)
    for key, value, reason in bad:
        letter = letters[key]
        headers = dict(letter.headers)
        assert letter.value == value
        assert headers["dlq.reason"].decode() == reason
        assert headers["dlq.topic"].decode() == TOPIC
        assert headers["dlq.partition"].isdigit()
        assert headers["dlq.offset"].isdigit()
        assert headers["dlq.timestamp"].isdigit()
        assert headers["dlq.error"]
        assert headers["dlq.attempt"] == b"3"
        assert headers["trace"] == b"\x00\x01"


def test_debugging_prints_no_event(tmp_path: Path) -> None:
    """What is known of customers stays out of the log, counted or refused."""
    log, name = tmp_path / "log", "customer-4711"
    with running(TansuNode()) as node, log.open("wb") as file:
        settings = environment(
            KAFKA=node.bootstrap, HTTP="127.0.0.1:0", STATE_DIR=str(tmp_path), LOG_LEVEL="debug"
        )
        worker = subprocess.Popen([TOUCHPOINT, "worker"], stdout=file, stderr=file, env=settings)
        try:
            until(lambda: b"http://" in log.read_bytes(), "the worker has started", 60)
            whole = checkout(1, journey_id="j-1", customer_ref=name)
            send(node.bootstrap, TOPIC, [(b"1", whole, []), (b"1", whole[:-1], [])])
            until(lambda: read_topic(node.bootstrap, f"{TOPIC}.dlq"), "one is counted, one refused", 60)
        finally:
            worker.terminate()
            assert worker.wait(60) == 0
    said = log.read_text()
    assert "DEBUG" in said
    assert name not in said


def test_counts_survive_scaling_out_kill_and_restart(broker: Node) -> None:
    """A second worker takes half the partitions; the first is killed; sums stay exact throughout."""
    settings = {"KAFKA": broker.bootstrap}
    with WorkerProcess(**settings) as first:
        first.ready()
        checkouts(broker.bootstrap, 0, 3000)
        until(lambda: checkouts_in_hour(first.scrape()) == (3000, 2700), "first worker counts")
        with WorkerProcess(**settings) as second:
            checkouts(broker.bootstrap, 3000, 5000)  # while partitions move

            def shared() -> bool:
                owned = [worker.scrape().sum("touchpoint_partitions_owned") for worker in (first, second)]
                return owned == [16, 16]

            until(shared, "each owns half of the 32 partitions")
            until(lambda: checkouts_in_hour(first.scrape(), second.scrape()) == (5000, 4500), "sums right")
            checkouts(broker.bootstrap, 5000, 6000)
            first.end(signal.SIGKILL)
            checkouts(broker.bootstrap, 6000, 7000)
            until(lambda: checkouts_in_hour(second.scrape()) == (7000, 6300), "survivor has it all")
            assert second.end()[0] == 0
    with WorkerProcess(**settings) as third:
        until(lambda: checkouts_in_hour(third.scrape()) == (7000, 6300), "restart recovers the counts")
        scrape = third.scrape()
        assert scrape.sum("touchpoint_records_total", topic=TOPIC, result="counted") == 0
        assert (
            scrape.sum("touchpoint_window_duration_seconds_gcount", stage="web_checkout", window="1h") == 7000
        )


def test_an_event_published_again_counts_once_whoever_owns_its_partition(
    broker: Node, tmp_path: Path
) -> None:
    """With `dedupe_s` events that are published again count once: at once, after kill -9 and restart, and
    after a rebalance, when the ids seen by others are read back from the topic; those of now count."""
    file = tmp_path / "journey.yaml"
    file.write_text(
        SHIPPED_JOURNEY.read_text().replace("  web_checkout:\n", "  web_checkout:\n    dedupe_s: 300\n")
    )
    settings = {"KAFKA": broker.bootstrap, "JOURNEY": str(file)}
    n, published = 600, 0

    def publish(first: int, last: int) -> None:
        nonlocal published
        checkouts(broker.bootstrap, first, last)
        published += last - first

    def results(*workers: WorkerProcess) -> tuple[float, float]:
        """(counted, duplicate) since these workers began."""
        scrapes = [worker.scrape() for worker in workers]
        counted_of, duplicate = (
            sum(s.sum("touchpoint_records_total", topic=TOPIC, result=result) for s in scrapes)
            for result in ("counted", "duplicate")
        )
        return counted_of, duplicate

    with WorkerProcess(**settings) as first:
        first.ready()
        publish(0, n)
        until(lambda: results(first) == (n, 0), "all counted")
        publish(n // 2, n + 10)
        publish(0, n + 10)
        until(lambda: results(first) == (n + 10, published - n - 10), "none counted again")
        until(lambda: committed(broker.bootstrap) == published, "all committed")
        assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    publish(0, n + 20)  # while nobody is there
    with WorkerProcess(**settings) as second:
        until(lambda: results(second) == (10, n + 10), "after a restart only what is new")
        publish(0, n + 20)
        until(lambda: results(second) == (10, 2 * n + 30), "and again")
        until(lambda: committed(broker.bootstrap) == published, "all committed")
        with WorkerProcess(**settings) as third:

            def shared() -> bool:
                owned = [worker.scrape().sum("touchpoint_partitions_owned") for worker in (second, third)]
                return owned == [16, 16]

            until(shared, "each owns half of the 32 partitions")
            before = results(second, third)
            publish(0, n + 30)
            until(
                lambda: results(second, third) == (before[0] + 10, before[1] + n + 20),
                "after a rebalance only what is new",
            )
            assert results(third)[1] > 0
            totals = checkouts_in_hour(second.scrape(), third.scrape())
            assert totals == (n + 30, (n + 30) * 9 // 10)
            assert third.end()[0] == 0
        until(second.is_ready, "all partitions back")
        publish(0, n + 40)
        until(lambda: checkouts_in_hour(second.scrape())[0] == n + 40, "after the other left")
        until(lambda: committed(broker.bootstrap) == published, "all committed")
        assert checkouts_in_hour(second.scrape()) == (n + 40, (n + 40) * 9 // 10)
        assert second.end()[0] == 0


def test_window_metrics_are_withheld_until_ready() -> None:
    """Before Kafka is reached a worker is alive, not ready, says why, and exposes no windows."""
    with WorkerProcess(KAFKA="127.0.0.1:9") as worker:
        assert worker.get("/livez") == b"alive\n"
        assert not worker.is_ready()
        answer = worker.json("/api/stages")
        assert answer["problems"] == ["waiting for Kafka at 127.0.0.1:9"]
        assert {stage["quality"] for stage in answer["stages"]} == {None}
        scrape = worker.scrape()
        assert scrape.sum("touchpoint_ready") == 0
        assert scrape.labels("touchpoint_ready")
        assert not scrape.labels("touchpoint_window_events")
        assert worker.end()[0] == 0


def says_one_line(*arguments: str, **settings: str) -> str:
    """The only line a failing command says; it exits non-zero and without a traceback."""
    done = touchpoint(*arguments, **settings)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("http://")]
    assert done.returncode == 1, done
    assert len(lines) == 1, lines
    assert lines[0].startswith("touchpoint: ")
    return lines[0]


def test_an_unreachable_broker_is_one_line_after_a_bounded_retry() -> None:
    """No Kafka: bounded retry, one line, exit 1, for a worker as for a publisher."""
    for command in ("worker", "topics"):
        line = says_one_line(command, KAFKA="127.0.0.1:9", KAFKA_TIMEOUT_S="1", HTTP="127.0.0.1:0")
        assert "Kafka at 127.0.0.1:9 does not answer" in line


def test_a_taken_port_is_one_line(broker: Node) -> None:
    """An HTTP port that is in use ends the worker before it touches Kafka."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot serve HTTP on {address}" in says_one_line(
            "worker", KAFKA=broker.bootstrap, HTTP=address
        )
        assert f"cannot serve HTTP on {address}" in says_one_line("demo", "--for", "5", "--http", address)


def test_a_wrong_journey_file_is_told_with_line_and_path(tmp_path: Path) -> None:
    """A worker refuses a wrong journey file with every error; a missing file is one line."""
    file = tmp_path / "journey.yaml"
    file.write_text("version: 1\njourney: x\nsegments: []\nstages: {a: {kind: custmer, owner: me}}\n")
    done = touchpoint("worker", JOURNEY=str(file))
    assert done.returncode == 1
    assert "line 4: stages.a.kind: unknown kind `custmer`; did you mean `customer`?" in done.stderr
    assert "stages.a: missing key `experiences`" in done.stderr
    assert "Traceback" not in done.stderr
    assert "No such file" in says_one_line("worker", JOURNEY=str(tmp_path / "none.yaml"))


def test_a_misspelled_setting_is_one_line() -> None:
    """A typo in a setting is an error that names the nearest one."""
    assert "did you mean TOUCHPOINT_KAFKA?" in says_one_line("worker", KAFKKA="x:1")


def test_topics_of_another_partition_count_are_one_line(broker: Node, tmp_path: Path) -> None:
    """A changelog or a declared topic with another partition count is named, not crash-looped on."""
    create_topic(broker.bootstrap, CHANGELOG, 5)
    line = says_one_line("worker", KAFKA=broker.bootstrap, HTTP="127.0.0.1:0")
    assert f"topic {CHANGELOG} has 5 partitions, expected 4: give topic {TOPIC} as many" in line
    create_topic(broker.bootstrap, "six", 6)
    file = tmp_path / "journey.yaml"
    file.write_text(
        "version: 1\njourney: x\nsegments: []\n"
        "stages: {a: {kind: customer, owner: me, topic: six, partitions: 8, experiences:"
        " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
    )
    line = says_one_line("worker", KAFKA=broker.bootstrap, HTTP="127.0.0.1:0", JOURNEY=str(file))
    assert "topic six has 6 partitions, expected 8: `touchpoint topics --grow` adds the others" in line


def test_missing_topics_are_an_error_where_they_may_not_be_created(broker: Node) -> None:
    """With creation switched off every missing topic is named."""
    done = touchpoint("topics", KAFKA=broker.bootstrap, CREATE_TOPICS="false")
    assert done.returncode == 1
    assert done.stderr.count("does not exist") == 8  # the stages, and steps of journeys
    assert "Traceback" not in done.stderr


def test_a_worker_whose_broker_is_gone_says_so_and_ends() -> None:
    """Without Kafka a worker is soon not ready, says why, and after its patience ends with one line."""
    node = TansuNode()
    with running(node), WorkerProcess(KAFKA=node.bootstrap, WATCHDOG_S="4") as worker:
        worker.ready()
        node.kill()
        until(lambda: not worker.is_ready(), "not ready any more")
        assert worker.json("/api/stages")["problems"] == [f"Kafka at {node.bootstrap} does not answer"]
        code, said = worker.ended()
        assert code == 1
        assert "touchpoint: Kafka has not answered for" in said
        assert "Traceback" not in said


def starting(worker: WorkerProcess) -> bool:
    """Whether it has found Kafka and waits for its partitions or their counts."""
    problems: list[str] = worker.json("/api/stages")["problems"]
    return problems == ["waiting for partitions, or recovering their counts"]


def test_a_worker_whose_broker_dies_while_it_starts_ends_too() -> None:
    """Faust's start waits for the recovery for ever; the worker does not."""
    node = TansuNode()
    with running(node), WorkerProcess(KAFKA=node.bootstrap, WATCHDOG_S="4") as worker:
        until(lambda: starting(worker), "worker starting")
        node.kill()
        code, said = worker.ended(60)
        line = said.splitlines()[-1]
        assert code == 1
        assert "Traceback" not in said
        assert line.startswith("touchpoint: "), said
        assert "Kafka has not answered for" in line or line.endswith(
            f"Kafka at {node.bootstrap} does not answer"
        )


def test_a_worker_can_be_stopped_while_it_starts() -> None:
    """SIGTERM is heeded before the counts are recovered, even if they never will be."""
    node = TansuNode()
    with running(node), WorkerProcess(KAFKA=node.bootstrap) as worker:
        until(lambda: starting(worker), "worker starting")
        node.kill()
        code, said = worker.end()
        assert code in (0, 1), said  # it may have found Kafka gone a moment before
        assert "Traceback" not in said
