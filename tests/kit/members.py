"""Groups as their coordinator knows them; a member by Kafka's new protocol (KIP-848), not in aiokafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Schema, TaggedFields


class _Answer(Response):
    """As much of it as says whether the group has taken the member."""

    API_KEY = 68
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("error_code", Int16), ("error_message", CompactString("utf-8"))
    )


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 68
    API_VERSION = 1
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("group_id", CompactString("utf-8")),
        ("member_id", CompactString("utf-8")),
        ("member_epoch", Int32),
        ("instance_id", CompactString("utf-8")),
        ("rack_id", CompactString("utf-8")),
        ("rebalance_timeout_ms", Int32),
        ("subscribed_topic_names", CompactArray(CompactString("utf-8"))),
        ("subscribed_topic_regex", CompactString("utf-8")),
        ("server_assignor", CompactString("utf-8")),
        ("topic_partitions", CompactArray(Int32)),
        ("tags", TaggedFields),
    )


class _Heartbeat(Request[_Struct]):
    """https://kafka.apache.org/protocol.html#The_Messages_ConsumerGroupHeartbeat."""

    API_KEY = 68

    def __init__(self, group: str, topics: list[str]) -> None:
        self._group = group
        self._topics = topics

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        who = (self._group, str(uuid4()), 0, None, None, 60_000)
        return request_struct_class(*who, self._topics, None, None, [], {})


@asynccontextmanager
async def coordinator(bootstrap: str, group: str) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    """What sends a request to the broker that keeps the group, and returns its answer."""
    client: Any = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        node = None
        async with asyncio.timeout(60):
            while node is None:  # Kafka makes its topic of offsets at the first such question
                with suppress(GroupCoordinatorNotAvailableError):
                    node = await client.coordinator_lookup(0, group)
        yield partial(client.send, node)
    finally:
        await client.close()


async def join(bootstrap: str, group: str, topic: str) -> None:
    """Make the group one of the new protocol; its member stays until its session ends (45 s)."""
    async with coordinator(bootstrap, group) as send, asyncio.timeout(60):
        while (await send(_Heartbeat(group, [topic]))).error_code:
            pass
