"""Refused records as they stand in the dead-letter topic: the original, byte for byte, and why."""

from typing import Any

from monitor.counting.event import Refused
from streams.kafka.outgoing import Outgoing

ATTEMPT = "dlq.attempt"


def dead_letter(topic: str, record: Any, refused: Refused) -> Outgoing:
    """The dead letter of a refused consumer record: same key, value and headers, plus `dlq.*` text headers.

    `dlq.attempt` counts how often the record has been refused; earlier `dlq.*` headers are replaced.
    """
    headers = [(name, value) for name, value in record.headers if not name.startswith("dlq.")]
    attempts = [value for name, value in record.headers if name == ATTEMPT and value is not None]
    known = bool(attempts) and attempts[-1].isdigit() and len(attempts[-1]) < 10  # anybody can write it
    attempt = int(attempts[-1]) + 1 if known else 1
    described = {
        "dlq.reason": refused.reason,
        "dlq.error": refused.error,
        "dlq.topic": record.topic,
        "dlq.partition": record.partition,
        "dlq.offset": record.offset,
        "dlq.timestamp": record.timestamp,
        ATTEMPT: attempt,
    }
    key = record.key
    if key is None and record.value is None:
        key = b""  # the producer refuses a record with neither, and a worker must get past one
    headers += [(name, str(value).encode()) for name, value in described.items()]
    return Outgoing(topic, None, key, record.value, headers)
