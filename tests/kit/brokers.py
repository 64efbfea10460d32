"""The brokers that tests run against: what is started here is stopped here, and nothing else is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from streams.demo.broker import EmbeddedBroker as TansuNode

__all__ = ["Node", "TansuNode", "running"]


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
