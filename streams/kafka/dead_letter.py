"""Refused records as they stand in the dead-letter topic: the original, byte for byte, and why.

One that is larger than any event may be has only the first `HEAD_BYTES` of its value, and the true size in
`dlq.size`: the original lies at `dlq.topic`, `dlq.partition` and `dlq.offset`. One that cannot be read has
what is known of its key and value, and no headers. One that its topic does not take, for others have made
it with a smaller `max.message.bytes`, is written again with less. Letters are compressed: what a few bytes
inflate to fills no topic.
"""

from typing import Any

from aiokafka import TopicPartition

from monitor.counting.event import MAX_BYTES, Refused
from monitor.counting.formats import Unreadable
from streams.kafka.outgoing import Outgoing
from streams.kafka.records import HEAD_BYTES

ATTEMPT = "dlq.attempt"
SIZE = "dlq.size"
"""Of letters that hold a part of their record only: how many bytes its value has."""

MAX_LETTER_BYTES = MAX_BYTES + HEAD_BYTES
"""Of key, value and headers. What is larger was never an event, and a few bytes inflate to megabytes."""


class Letter(Outgoing):
    """A refused record on its way."""

    __slots__ = ()

    def shorter(self) -> "Letter | None":
        """Half of it, `HEAD_BYTES` at most, with its true size; None when only `dlq.*` headers are left."""
        headers = [one for one in self.headers or () if one[0].startswith("dlq.")]
        longest = max(len(self.key or b""), len(self.value or b""))
        if not longest and len(headers) == len(self.headers or ()):
            return None
        if SIZE not in dict(headers):
            headers.append((SIZE, str(len(self.value or b"")).encode()))
        room = min(longest // 2, HEAD_BYTES)
        return self._replace(
            key=self.key and self.key[:room], value=self.value and self.value[:room], headers=headers
        )


def dead_letter(topic: str, origin: TopicPartition, record: Any, refused: Refused) -> Letter:
    """The dead letter of a record refused there: same key, value and headers, plus `dlq.*` text headers.

    `dlq.attempt` counts how often the record has been refused; earlier `dlq.*` headers are replaced.
    """
    headers = [(name, value) for name, value in record.headers if not name.startswith("dlq.")]
    attempts = [value for name, value in record.headers if name == ATTEMPT and value is not None]
    known = bool(attempts) and attempts[-1].isdigit() and len(attempts[-1]) < 10  # anybody can write it
    attempt = int(attempts[-1]) + 1 if known else 1
    described = {
        "dlq.reason": refused.reason,
        "dlq.error": refused.error,
        "dlq.topic": origin.topic,
        "dlq.partition": origin.partition,
        "dlq.offset": record.offset,
        "dlq.timestamp": record.timestamp,
        ATTEMPT: attempt,
    }
    key, value = record.key, record.value
    if key is None and value is None:
        key = b""  # the producer refuses a record with neither, and a worker must get past one
    if isinstance(value, Unreadable):
        described[SIZE] = value.size
        value = value.head
    elif _size(key, value, headers) > MAX_LETTER_BYTES:
        described[SIZE] = len(value or b"")
        key, value, headers = key and key[:HEAD_BYTES], value and value[:HEAD_BYTES], []
    headers += [(name, str(text).encode()) for name, text in described.items()]
    return Letter(topic, None, key, value, headers, is_packed=True)


def _size(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> int:
    """In bytes, with what frames each header."""
    framed = sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)
    return len(key or b"") + len(value or b"") + framed
