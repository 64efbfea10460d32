"""What is committed beside an offset: of which topics it is, and since when their windows are whole.

A changelog that was deleted takes with it what was counted up to that offset. So its id is committed too:
who finds another changelog than the one that was counted into says that windows begin anew.
"""

import re
from typing import NamedTuple

WRITTEN = re.compile(r"([^:]+):([^:]*):([0-9]{1,13})")


class Commitment(NamedTuple):
    """The metadata of one partition's offset. Ids are Kafka's (KIP-516), empty while they are not known.

    `whole_since_ms` is 0 while no changelog was lost.
    """

    topic_id: str = ""
    changelog_id: str = ""
    whole_since_ms: int = 0

    @classmethod
    def read(cls, metadata: str) -> "Commitment":
        """What was written; older versions wrote the first id alone, others whatever they like."""
        found = WRITTEN.fullmatch(metadata)
        return cls(found[1], found[2], int(found[3])) if found else cls(metadata)

    def write(self) -> str:
        """As metadata; empty where no id is known."""
        return f"{self.topic_id}:{self.changelog_id}:{self.whole_since_ms}" if self.topic_id else ""

    def of(self, topic_id: str | None, changelog_id: str | None, now_ms: int) -> "Commitment":
        """The same for the topics of now, as far as these are known."""
        changelog_id = changelog_id or self.changelog_id
        is_lost = self.changelog_id not in ("", changelog_id)
        return Commitment(topic_id or self.topic_id, changelog_id, now_ms if is_lost else self.whole_since_ms)
