"""All faults by name, and which a kind of broker can bear."""

from collections.abc import Callable, Mapping

from tests.soak.kafka_faults import (
    BROKER_KILL,
    BROKER_STOP,
    CHANGELOG,
    ONE_CUT_OFF,
    ONE_HUNG,
    ONE_KILLED,
    PARTITIONS,
    POISON,
    RECREATED,
    SLOW,
    TRANSACTION,
    KafkaFaults,
)
from tests.soak.rounds import KILL
from tests.soak.worker_faults import CLOCK, DISK, JOURNEY, SCALE, SLEEP, STOP, WorkerFaults

EMBEDDED = (KILL, STOP, SLEEP, POISON)

APACHE = (
    *(*EMBEDDED, SCALE, BROKER_STOP, BROKER_KILL, CHANGELOG, SLOW, DISK, CLOCK, JOURNEY),
    *(TRANSACTION, PARTITIONS, RECREATED),
)

CLUSTER = (*APACHE, ONE_KILLED, ONE_HUNG, ONE_CUT_OFF)


class Faults(WorkerFaults, KafkaFaults):
    """The rounds of a soak."""

    harmless = frozenset((POISON, TRANSACTION, PARTITIONS, RECREATED))

    @property
    def injectors(self) -> Mapping[str, Callable[[], int]]:
        """What each fault does."""
        return {
            KILL: self._kill,
            STOP: self._stop,
            SCALE: self._scale,
            SLEEP: self._sleep,
            BROKER_STOP: self._stop_broker,
            BROKER_KILL: self._kill_broker,
            CHANGELOG: self._refuse_changelog,
            SLOW: self._slow_producer,
            DISK: self._fill_disk,
            CLOCK: self._jump_back,
            JOURNEY: self._change_journey,
            POISON: self._poison,
            TRANSACTION: self._leave_open,
            PARTITIONS: self._add_partitions,
            RECREATED: self._create_again,
            ONE_KILLED: self._kill_one,
            ONE_HUNG: self._hang_one,
            ONE_CUT_OFF: self._cut_one_off,
        }
