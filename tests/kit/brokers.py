"""The brokers that tests run against: what is started here is stopped here, and nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from aiokafka.admin import AIOKafkaAdminClient

from streams.demo.broker import EmbeddedBroker as TansuNode

__all__ = ["Node", "TansuNode", "as_admin", "running"]


class Node(Protocol):
    """What a test may do with a broker of its own: `TansuNode` or deploy/kafka's `KafkaNode`."""

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""

    def start(self) -> None:
        """Returns when the broker serves clients."""

    def stop(self) -> None:
        """Shuts down in order."""

    def kill(self) -> None:
        """SIGKILL."""


AnyNode = TypeVar("AnyNode", bound=Node)


@contextmanager
def running(node: AnyNode) -> Iterator[AnyNode]:
    """The node, started; stopped at the end, whatever happened."""
    node.start()
    try:
        yield node
    finally:
        node.stop()


def as_admin(kafka: str, work: Callable[[Any], Awaitable[object]]) -> None:
    """Do something to the cluster."""

    async def connected() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await work(admin)
        finally:
            await admin.close()

    asyncio.run(connected())
