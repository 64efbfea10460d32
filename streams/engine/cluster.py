"""Whether Kafka's cluster is there, and whether its topics are still those that the worker began with.

Without traffic nothing else tells that Kafka is gone; and no fetch tells that a topic is another one by now.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.kafka.security import kafka_options
from streams.kafka.topic_ids import TopicState, topic_states
from streams.settings import Settings

log = logging.getLogger(__name__)

ASK_S = 4.0
"""How often Kafka is asked whether it is there; three answers may be missed before a worker is not ready."""

STALLED_S = 15.0
"""A worker that has heard or committed nothing for so long is not ready; a commit comes every second."""

GONE = 4
"""A topic of our own that is missing in so many answers has been deleted, and nobody else makes it anew. A
broker that has just started may not know of it yet."""

RETRY_S = 0.2


class TopicsChangedError(Exception):
    """What is read is no longer of the topics that were there at the start."""


class Cluster:
    """Kafka as its metadata of `topics` tell, which have so many partitions; asked for through `client`.

    `change` says how these have changed since the start.
    """

    def __init__(self, settings: Settings, client: Callable[[], AIOKafkaClient]) -> None:
        self._settings = settings
        self._client = client
        self.answered_s = asyncio.get_running_loop().time()
        """When Kafka answered last, by the loop's clock."""
        self._compared_s = 0.0
        self._asking = asyncio.Lock()
        self.topics: dict[str, int] = {}
        self.own: set[str] = set()
        """Topics that workers make; those of stages may be deleted to be made anew by whoever publishes."""
        self._missing: Counter[str] = Counter()
        self.ids: Mapping[str, str] = {}
        self.change: str | None = None
        self.changed = asyncio.Event()

    def know(self, states: Mapping[str, TopicState]) -> None:
        """Take these for the topics that there are; before the start."""
        self.ids = {name: state.topic_id for name, state in states.items() if state.topic_id}

    @property
    def silent_s(self) -> float:
        """For how long Kafka has not answered."""
        return asyncio.get_running_loop().time() - self.answered_s

    @property
    def is_heard(self) -> bool:
        """Whether Kafka has answered lately."""
        return self.silent_s < STALLED_S

    async def watch(self) -> None:
        """Ask every `ASK_S`, until cancelled."""
        while True:
            if await self._asked() or await self._knocked():
                self.answered_s = asyncio.get_running_loop().time()
            else:
                log.info("Kafka does not answer")
            await asyncio.sleep(ASK_S)

    async def confirm(self) -> None:
        """Return once Kafka has said that topics are still the same, later than now; else TopicsChangedError.

        What was read before may be written then: its offsets are of the topics that are known here.
        """
        asked_s = asyncio.get_running_loop().time()
        while self.ids and self._compared_s <= asked_s:
            async with self._asking:
                if self._compared_s <= asked_s and not await self._asked():
                    await asyncio.sleep(RETRY_S)
        if self.change is not None:
            raise TopicsChangedError(self.change)

    async def _asked(self) -> bool:
        """Whether Kafka answers on the connection that there is."""
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ASK_S):
                states = await topic_states(self._client(), self.topics)
        except (KafkaError, OSError, AttributeError):  # the last while the producer starts or stops
            return False
        self._compare(states)
        self._compared_s = began_s
        return True

    def _compare(self, states: Mapping[str, TopicState]) -> None:
        """Note a topic that is another one, has been given other partitions, or was ours and is gone."""
        self._missing = Counter({one: self._missing[one] + 1 for one in self.own - states.keys()})
        for topic, times in self._missing.items():
            if times >= GONE:
                self._note(f"topic {topic} was deleted")
        for topic, state in states.items():
            if state.topic_id != self.ids.get(topic, state.topic_id):
                change = f"topic {topic} was deleted and created again"
            elif state.partitions not in (0, self.topics[topic]):
                change = f"topic {topic} has {state.partitions} partitions, no longer {self.topics[topic]}"
            else:
                continue
            self._note(change)

    def _note(self, change: str) -> None:
        self.change = self.change or change
        self.changed.set()

    async def _knocked(self) -> bool:
        """Whether Kafka answers on a new one: the old one may wait for an answer lost with a broker."""
        client = AIOKafkaClient(
            bootstrap_servers=self._settings.kafka.split(","), **kafka_options(self._settings)
        )
        try:
            async with asyncio.timeout(ASK_S):
                await client.bootstrap()
        except (KafkaError, OSError):
            return False
        finally:
            await client.close()
        return True
