"""Three Apache Kafka nodes that replicate to each other: what two of them hold outlives the third."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.kafka.kafka import KafkaNode, Place

NODES = 3

REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "replica.lag.time.max.ms": "6000",  # for so long a write waits for a node that hangs; 30 s by default
}


class KafkaCluster:
    """All of them at once; `nodes` are for what happens to one.

    `places` says where each runs, on loopback unless given.
    """

    def __init__(
        self, directory: Path, config: Mapping[str, str] | None = None, places: Sequence[Place] = ()
    ) -> None:
        places = places or [Place(number) for number in range(1, NODES + 1)]
        config = {**REPLICATED, **(config or {})}
        self.nodes = [
            KafkaNode(directory / str(place.node_id), config=config, place=place) for place in places
        ]
        for node in self.nodes:
            node.join([one.voter for one in self.nodes])

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port of each."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Returns when every node serves clients."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.await_started()

    def stop(self) -> None:
        """All in order, and together: the last one could not leave a cluster that has no majority."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """All of them, as when their power fails."""
        for node in self.nodes:
            node.kill()
