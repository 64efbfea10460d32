"""Faust's assignor for static members: what Kafka gives them back may be out of date.

A member that is restarted under its name gets its former assignment, and nobody is asked again. That is what
it is for; but partitions may have been added meanwhile, or the member may answer at another address.
"""

from typing import Any

from faust.assignor import partition_assignor
from faust.assignor.client_assignment import ClientMetadata

from streams.kafka import internals


class Assignor(partition_assignor.PartitionAssignor):
    """Has a static member join anew if the first assignment after its start does not fit."""

    _is_first = True
    _url_given: str | None = None

    def on_assignment(self, assignment: Any) -> None:
        """Take an assignment."""
        given = ClientMetadata.loads(internals.member_metadata(self, assignment))
        is_restarted = self._is_first and self.app.conf.consumer_group_instance_id is not None
        self._is_first = False
        if is_restarted and (given.url != self._url or not self._is_complete(given)):
            self._url_given = given.url
            self.app.consumer.kafka.join_anew()
        super().on_assignment(assignment)
        self._url_given = None

    @property
    def _url(self) -> str:
        """Where this member answers; Faust compares it with what the assignment says."""
        return self._url_given or str(self.app.conf.canonical_url)

    def _is_complete(self, given: Any) -> bool:
        """Whether every partition of every table has an owner."""
        expected = {
            (table.changelog_topic_name, partition)
            for table in self.app.tables.values()
            for partition in range(table.partitions)
        }
        owned = {
            (topic, partition)
            for topics in given.changelog_distribution.values()
            for topic, partitions in topics.items()
            for partition in partitions
        }
        return expected <= owned
