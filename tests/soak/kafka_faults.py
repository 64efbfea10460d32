"""What happens to Kafka: brokers die, hang, are cut off, and topics change under those who read them."""

import asyncio
import os
import signal
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic

from monitor.journey_file.model import Stage
from streams.kafka.topics import changelog_topic
from tests.kit.brokers import as_admin
from tests.kit.polling import until
from tests.kit.programs import Samples
from tests.soak import account, events, kafka_configs
from tests.soak.fleet import SoakError
from tests.soak.rounds import WORKERS, Rounds

BROKER_STOP = "broker stopped, started"
BROKER_KILL = "broker kill -9, restart"
CHANGELOG = "changelog sends refused"
SLOW = "slow producer"
ONE_KILLED = "one broker of three: kill -9"
ONE_HUNG = "one broker of three: SIGSTOP"
ONE_CUT_OFF = "one broker of three: cut off"
POISON = "poison of every kind"
TRANSACTION = "transaction left open"
PARTITIONS = "partitions added to a stage"
RECREATED = "topic deleted, created again"

SLOW_BYTES_PER_S, SHORT_SLOW_BYTES_PER_S = (600_000, 300_000, 100_000, 50_000), (100_000, 50_000)
"""Slower and slower until it shows: what workers write for journeys is little once these take no more steps.
At 15 KB/s the short form waited for minutes, and a worker gave up, as it should, for what it had to write was
never taken."""

SLOW_WITHIN_S = 20.0
"""How long each is tried."""

SLOW_S = 4.0
"""What was published is committed within 2 s; beyond this Kafka answers late."""

BROKER_AWAY_S = 30.0
"""How long the broker is stopped the first time, and at most."""

ONE_AWAY_S = (12.0, 30.0)
"""How long one of three is away; its session takes 2 s, and 6 s until writes no longer wait for it."""

OPEN_S, SHORT_OPEN_S = 120.0, 3.0
"""How long a transaction is left open: until `MonitorBlind` must have told of it (`watch.LATE_S`)."""

MOST_PARTITIONS = 8
"""Of a stage; half an hour would give some more than that."""


class KafkaFaults(Rounds):
    """Each returns how often it struck."""

    def _stop_broker(self) -> int:
        self._node.stop()
        is_first = not self.tallies[BROKER_STOP].injected
        least_s = BROKER_AWAY_S if is_first else 5
        self._run_for(self._rng.uniform(3, 6) if self._short else self._rng.uniform(least_s, BROKER_AWAY_S))
        self._node.start()
        self._since_s = time.monotonic()
        return 1

    def _kill_broker(self) -> int:
        self._node.kill()
        self._node.start()
        self._since_s = time.monotonic()
        return 1

    def _refuse_changelog(self) -> int:
        """Until workers have ended of it; those that are started again meanwhile end once more."""
        stage = self._rng.choice(events.journey(self._version).stages)
        before = self._fleet.restarts
        with kafka_configs.refused(self._node.bootstrap, changelog_topic(account.GROUP, stage.name)):

            def have_ended() -> bool:
                self._fleet.tend()
                return self._fleet.restarts - before >= WORKERS

            until(have_ended, f"workers end when the changelog of {stage.name} is refused")
            self._run_for(0 if self._short else self._rng.uniform(0, 15))
        self._since_s = time.monotonic()
        return self._fleet.restarts - before

    def _slow_producer(self) -> int:
        """Kafka acknowledges late; workers must neither end nor commit earlier."""
        before = self._fleet.restarts
        for bytes_per_s in SHORT_SLOW_BYTES_PER_S if self._short else SLOW_BYTES_PER_S:
            with kafka_configs.throttled(self._node.bootstrap, bytes_per_s // max(len(self._nodes), 1)):
                is_slow = self._becomes_slow()
                if is_slow:
                    self._run_for(0 if self._short else self._rng.uniform(10, 30))
            self._since_s = time.monotonic()
            if is_slow:
                break
        else:
            raise SoakError("no throttle of Kafka's made acknowledgements late")
        if self._fleet.restarts != before:
            raise SoakError("a worker ended because Kafka acknowledged late")
        return 1

    def _becomes_slow(self) -> bool:
        ends_s = time.monotonic() + SLOW_WITHIN_S
        while (asked_s := time.monotonic()) < ends_s:
            self._committed(self._published())
            if time.monotonic() - asked_s > SLOW_S:
                return True
        return False

    # -- one broker of three -------------------------------------------------------------------------

    def _away(self) -> None:
        self._run_for(self._rng.uniform(*ONE_AWAY_S))

    def _kill_one(self) -> int:
        node = self._rng.choice(self._nodes)
        node.kill()
        self._away()
        node.start()
        self._since_s = time.monotonic()
        return 1

    def _hang_one(self) -> int:
        pid = self._rng.choice(self._nodes).pid
        if pid is None:
            raise SoakError("a broker is down that should hang")
        os.kill(pid, signal.SIGSTOP)
        self._away()
        os.kill(pid, signal.SIGCONT)
        self._since_s = time.monotonic()
        return 1

    def _cut_one_off(self) -> int:
        """It runs, and neither hears nor is heard."""
        if self._network is None:
            raise SoakError("the brokers have no network of their own")
        with self._network.cut(self._rng.randrange(len(self._nodes))):
            self._away()
        self._since_s = time.monotonic()
        return 1

    # -- what stands in topics -----------------------------------------------------------------------

    def _poison(self) -> int:
        """Every round has its poison; this one has nothing else."""
        self._load.ask("poison")
        return 1

    def _leave_open(self) -> int:
        """Told as an open transaction, whatever it comes to in the end."""
        stage = self._a_stage()
        self._load.ask("begin", stages=[stage.name])
        about = {"topic": stage.topic, "partition": "0"}

        def is_named() -> bool:
            scrapes = self._fleet.scrapes() or []
            return any(
                Samples(text).sum("touchpoint_open_transaction_seconds", **about) > 0 for text in scrapes
            )

        until(is_named, f"an open transaction on {stage.topic} partition 0 is told", 60)
        self._run_for(SHORT_OPEN_S if self._short else OPEN_S)
        if not is_named():
            raise SoakError(f"the open transaction on {stage.topic} partition 0 is no longer told")
        self._load.ask("end", commit=self._rng.random() < 0.5)
        self._since_s = time.monotonic()
        return 1

    def _a_stage(self) -> Stage:
        return self._rng.choice(events.journey(self._version).stages)

    # -- topics that change --------------------------------------------------------------------------

    def _partitions_of(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._published() if place[0] == topic]

    def _add_partitions(self) -> int:
        stage = self._a_stage()
        total = len(self._partitions_of(stage.topic)) + 1
        if total > MOST_PARTITIONS:
            return 0
        as_admin(
            self._node.bootstrap, lambda admin: admin.create_partitions({stage.topic: NewPartitions(total)})
        )
        self._load.ask("grown", stages=[stage.name], partitions=total)
        return 1

    def _create_again(self) -> int:
        """All that the old topic held is counted by then, and must stay so."""
        stage = self._a_stage()
        self._committed(self._load.ask("hold", stages=[stage.name]))
        self.letters_before.append(self._ends(stage.dead_letter_topic))
        new = NewTopic(stage.topic, len(self._partitions_of(stage.topic)), len(self._nodes) or 1)

        async def work(admin: Any) -> None:
            await admin.delete_topics([stage.topic])
            async with asyncio.timeout(60):
                while (await admin.create_topics([new])).topic_errors[0][1]:  # it is still being deleted
                    continue

        as_admin(self._node.bootstrap, work)
        self._since_s = time.monotonic()
        self._load.ask("recreated", stages=[stage.name])
        self._load.ask("resume", stages=[stage.name], version=self._version)
        return 1

    def _ends(self, topic: str) -> account.Ends:
        async def ask() -> account.Ends:
            async with AIOKafkaConsumer(topic, bootstrap_servers=self._node.bootstrap) as consumer:
                ends = await consumer.end_offsets(consumer.assignment())
                return {(tp.topic, tp.partition): end for tp, end in ends.items()}

        return asyncio.run(ask())
