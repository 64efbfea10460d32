"""Records that nobody should publish: each must become one dead letter, and stop no worker."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from monitor.counting.event import Codec, Refused
from monitor.journey_file.model import Stage
from tests.soak.events import BASE, journey

MIB = 1024 * 1024

TOO_LARGE, UNREADABLE = 20 * MIB, 40 * MIB
"""Inflated: what Kafka's client still reads, and what it does not."""

Value = bytes | bytearray | None


def _event(stage: Stage, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"id": "poison", "time": at, "stage": stage.name, "outcome": stage.outcomes[0], **more}


def _promised(stage: Stage, due: str) -> bytes:
    """A default date of .NET."""
    promise = {"id": "p", "kind": "delivery_window", "due": due}
    return orjson.dumps(_event(stage, journey_id="poison", promise=promise))


KINDS: dict[str, Callable[[Stage], Value]] = {
    "tombstone": lambda _: None,
    "empty": lambda _: b"",
    "not UTF-8": lambda stage: orjson.dumps(_event(stage)).replace(b"poison", b"h\xe4\xff"),
    "UTF-16": lambda stage: orjson.dumps(_event(stage)).decode().encode("utf-16"),
    "gzip": lambda stage: gzip.compress(orjson.dumps(_event(stage))),
    "Avro": lambda _: b"\x00\x00\x00\x00\x07" + bytes(range(40)),
    "[object Object]": lambda _: b"[object Object]",
    "a batch": lambda stage: orjson.dumps([_event(stage), _event(stage)]),
    "deep": lambda _: b"[" * 100_000,
    "endless number": lambda stage: (
        orjson.dumps(_event(stage))[:-1] + b',"duration_s":1' + b"0" * 5000 + b"}"
    ),
    "duration beyond all": lambda stage: orjson.dumps(_event(stage, duration_s=1e300)),
    "first date of .NET": lambda stage: _promised(stage, "0001-01-01T00:00:00+02:00"),
    "last date of .NET": lambda stage: _promised(stage, "9999-12-31T23:59:59-05:00"),
    "of another stage": lambda stage: orjson.dumps({**_event(stage), "stage": "nowhere"}),
}
"""What is sent as it is."""

BOMBS: dict[str, Callable[[Stage], Value]] = {
    "bomb that can be read": lambda _: bytes(TOO_LARGE),
    "bomb that cannot": lambda _: bytes(UNREADABLE),
}
"""What is sent compressed."""

STRANGE_HEADERS = "header name that is not UTF-8"
"""Of events that count."""

ALL = (*KINDS, *BOMBS, STRANGE_HEADERS)


def require_refused(stage: Stage) -> None:
    """Raise unless each of `KINDS` is what a stage refuses."""
    codec = Codec(journey(BASE), stage)
    for name, make in KINDS.items():
        value = make(stage)
        if not isinstance(codec.decode(None if value is None else bytes(value)), Refused):
            raise AssertionError(f"stage {stage.name}: {name} is no poison: {value!r:.200}")
