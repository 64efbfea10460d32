"""Offsets that go on growing when a topic is deleted and created again under its name.

The offsets of the new topic begin at 0, and watermarks of the old one would cover them. So each topic of that
name is an *incarnation*, and what state is kept by is a *place*: incarnation * 2^44 + offset. Each changelog
record says in a header of which incarnation its writer was, and which topic that is to Kafka (KIP-516).
"""

OFFSETS = 2**44
"""Of one incarnation: at a million records a second a partition takes half a year to get there."""

INCARNATIONS = range(2**18)
"""With them a place takes 62 bits, and is written in 64."""

WRITER = "source"
"""Name of that header; its value is `<incarnation>:<topic id>`."""


class Incarnation:
    """The incarnation that a partition's records are of. `topic_id` is empty while it is not known."""

    def __init__(self) -> None:
        self._number = 0
        self._topic_id = ""
        self._heard: dict[int, str] = {}

    def hear(self, header: bytes) -> None:
        """Note what a changelog record says of its writer; a former owner may write late.

        Raises for what no worker writes.
        """
        number_text, _, topic_id = header.decode().partition(":")
        number = int(number_text)
        if number not in INCARNATIONS:
            raise ValueError("no topic was created so often")
        self._heard[number] = topic_id

    def own(self, topic_id: str) -> None:
        """Read on from the topic of that id: another than before is the next incarnation.

        An incarnation that none could follow is none of ours: what it was to be followed by, nobody would
        read.
        """
        for number, heard_id in sorted(self._heard.items()):
            is_next = bool(topic_id and heard_id) and topic_id != heard_id
            if number >= self._number and number + is_next in INCARNATIONS:
                self._number, self._topic_id = number, heard_id
        self._heard.clear()
        if topic_id and self._topic_id:
            self._number += topic_id != self._topic_id
        self._topic_id = topic_id or self._topic_id

    @property
    def base(self) -> int:
        """The place of offset 0."""
        return self._number * OFFSETS

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Of changelog records written now."""
        return [(WRITER, f"{self._number}:{self._topic_id}".encode())] if self._topic_id else []
