"""Whether a consumer group is one of Kafka's new protocol (KIP-848), which no Faust worker can join.

A broker answers such an attempt with an unknown error: it cannot read what Faust's members say of themselves.
"""

from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)


class NewProtocolError(KafkaError):
    """The group has members of the new protocol."""


class _Response(Response):
    """As much of it as says whether the first group is there."""

    API_KEY = 69
    API_VERSION = 0
    SCHEMA = Schema(("throttle_time_ms", Int32), ("groups", UnsignedVarInt32), ("error_code", Int16))


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 69
    API_VERSION = 0
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("group_ids", CompactArray(CompactString("utf-8"))),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Describe(Request[_Struct]):
    """https://kafka.apache.org/protocol.html#The_Messages_ConsumerGroupDescribe."""

    API_KEY = 69

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class([self._group], False, {})


async def is_of_new_protocol(client: Any, group: str) -> bool:
    """Ask the group's coordinator; `client` is a started `AIOKafkaClient`. False where nobody can tell."""
    try:
        coordinator = await client.coordinator_lookup(0, group)
        answer = await client.send(coordinator, _Describe(group))
    except (NotImplementedError, IncompatibleBrokerVersion, KafkaError, OSError):
        return False
    return bool(answer.error_code == 0)
