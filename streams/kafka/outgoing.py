"""A record on its way to Kafka, as the stages and the dead letters hand it over."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple


class Outgoing(NamedTuple):
    """A record to be produced; without a partition, the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None


Produce = Callable[[Outgoing], Awaitable[Awaitable[Any]]]
"""Hands a record to the producer; the inner awaitable resolves when the broker has acknowledged it."""
