"""Which topic a name stands for: Kafka's topic ids tell one that was deleted and created again (KIP-516).

aiokafka asks for metadata in version 5 at most; ids come with version 10
(https://kafka.apache.org/protocol.html#The_Messages_Metadata).
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class TopicState(NamedTuple):
    """A topic as a broker knows it: an id that no other topic ever has, and its partition count.

    Brokers before Kafka 2.8 know no ids: empty.
    """

    topic_id: str
    partitions: int


class _Uuid(AbstractType[UUID]):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


NO_ID = UUID(int=0)


class _Response(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                ("name", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Request(Request[_Struct]):
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        topics: list[tuple[UUID, str, dict[int, bytes]]] = [(NO_ID, name, {}) for name in self._names]
        return request_struct_class(topics, False, False, False, {})


async def topic_states(client: Any, names: Iterable[str]) -> dict[str, TopicState]:
    """Those of the topics that exist, as some broker knows them now.

    `client` is a started `AIOKafkaClient`. KafkaError when it gets no answer.
    """
    node = client.get_random_node()
    try:
        answer = await client.send(node, _Request(sorted(names)))
    except (NotImplementedError, IncompatibleBrokerVersion):
        cluster = await client.fetch_all_metadata()
        counts = {name: len(cluster.partitions_for_topic(name) or ()) for name in names}
        return {name: TopicState("", partitions) for name, partitions in counts.items() if partitions}
    return {
        name: TopicState("" if topic_id == NO_ID else str(topic_id), len(partitions))
        for error, name, topic_id, _, partitions, _, _ in answer.topics
        if error == 0
    }
