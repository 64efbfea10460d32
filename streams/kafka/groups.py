"""Why a consumer group does not take a worker, where aiokafka cannot tell.

A group of Kafka's new protocol (KIP-848) answers with an unknown error: it cannot read what Faust's members
say of themselves. A static member whose name somebody else has taken (KIP-345) is unknown to Kafka, for
aiokafka tells its name only when it joins: it would join anew, and take the name back, for ever.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatResponse_v1, JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
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


class NameTakenError(KafkaError):
    """Another member has joined the group under the name of this one."""


FENCED_INSTANCE_ID = 82
"""https://kafka.apache.org/protocol.html#protocol_error_codes; aiokafka does not know it."""


class _HeartbeatResponse(Response):
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = HeartbeatResponse_v1.SCHEMA


class _HeartbeatStruct(RequestStruct):
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatStruct]):
    """https://kafka.apache.org/protocol.html#The_Messages_Heartbeat, with the member's name."""

    API_KEY = 12

    def __init__(self, *fields: str | int) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_HeartbeatStruct]) -> _HeartbeatStruct:
        return request_struct_class(*self._fields)


class StaticName:
    """Between a static member and its group: a member whose name has been taken does not join again.

    `send` is how aiokafka asks the group's coordinator. Kafka gives a name to whoever came last. `error` is
    set from then on, and nothing more of a join is sent: aiokafka tries again until the worker has ended, and
    the other may just have left the group, to join it anew.
    """

    def __init__(self, name: str, group: str, send: Callable[[Any], Awaitable[Any]]) -> None:
        self._name = name
        self._group = group
        self._send = send
        self._member: tuple[int, str] | None = None
        self.error: NameTakenError | None = None

    async def send(self, request: Any, member_id: str) -> Any:
        """Send the request of a member that has that id, which is empty after Kafka has called it unknown."""
        if not isinstance(request, JoinGroupRequest | SyncGroupRequest):
            return await self._send(request)
        if self.error is not None:
            raise self.error
        if isinstance(request, JoinGroupRequest) and self._member is not None and not member_id:
            self._require(await self._send(_Heartbeat(self._group, *self._member, self._name)))
            self._member = None  # its session has ended; should the answer below be lost, Kafka has a new one
        answer = await self._send(request)
        self._require(answer)
        if isinstance(request, JoinGroupRequest) and not answer.error_code:
            self._member = (answer.generation_id, answer.member_id)
        return answer

    def _require(self, answer: Any) -> None:
        if answer.error_code == FENCED_INSTANCE_ID:
            self.error = NameTakenError()
            raise self.error
