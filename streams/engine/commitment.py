"""What is committed beside an offset: of which topics it is, and since when their windows are whole.

A changelog that was deleted takes with it what was counted up to that offset. So its id is committed too:
who finds another changelog than the one that was counted into says that windows begin anew.

Kafka forgets what is committed with the topic it is about. The topic of steps is the workers' own, and may be
deleted together with the changelog of journeys: so each stage commits also which one its journeys were in.
"""

import re
from typing import NamedTuple

WRITTEN = re.compile(r"([^:]+):([^:]*):([0-9]{1,13})(?::([^:]*):([0-9]{1,13}))?")


class Changelog(NamedTuple):
    """The id that Kafka gave it (KIP-516), empty while it is not known, and since when windows are whole.

    `whole_since_ms` is 0 while none was lost.
    """

    topic_id: str = ""
    whole_since_ms: int = 0

    def now(self, topic_id: str | None, now_ms: int) -> "Changelog":
        """The same for the changelog of now, as far as that is known."""
        topic_id = topic_id or self.topic_id
        is_lost = self.topic_id not in ("", topic_id)
        return Changelog(topic_id, now_ms if is_lost else self.whole_since_ms)


class Commitment(NamedTuple):
    """The metadata of one partition's offset: its topic's id, its changelog, and that of journeys."""

    topic_id: str = ""
    changelog: Changelog = Changelog()
    journeys: Changelog = Changelog()

    @classmethod
    def read(cls, metadata: str) -> "Commitment":
        """What was written; older versions wrote less, others whatever they like."""
        found = WRITTEN.fullmatch(metadata)
        if not found:
            return cls(metadata)
        journeys = Changelog(found[4], int(found[5])) if found[5] else Changelog()
        return cls(found[1], Changelog(found[2], int(found[3])), journeys)

    def write(self) -> str:
        """As metadata; empty where no id is known."""
        if not self.topic_id:
            return ""
        return ":".join(map(str, (self.topic_id, *self.changelog, *self.journeys)))

    @property
    def whole_since_ms(self) -> int:
        """Since when windows hold all of the partition; 0 where nothing was lost."""
        return self.changelog.whole_since_ms

    def now(
        self, topic_id: str | None, changelog_id: str | None, journeys_id: str | None, now_ms: int
    ) -> "Commitment":
        """The same for the topics of now, as far as these are known."""
        changelog, journeys = self.changelog.now(changelog_id, now_ms), self.journeys.now(journeys_id, now_ms)
        return Commitment(topic_id or self.topic_id, changelog, journeys)
