"""What bytes are that are no event, said so that whoever sends them knows what to change."""

import re

import msgspec
from msgspec import Struct

BOM = b"\xef\xbb\xbf"

BEHIND_PREFIX = re.compile(rb"\A((?:\x00.{4})?)" + BOM, re.DOTALL)

LEAP_SECOND = re.compile(rb"([Tt ][0-2][0-9]:[0-5][0-9]):60(?=[.Zz+-])")
"""Written where the Earth is waited for; it counts as the second before it."""

_COMPRESSED = "it is compressed with {}: let the producer compress (`compression.type`)"

_BEGINNINGS = (
    (b"\x1f\x8b", f"{_COMPRESSED.format('gzip')}, not the service"),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED.format("zstd")),
    ((b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"{\0\0\0", b"\0\0\0{"), "it is UTF-32: write UTF-8"),
    ((b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{"), "it is UTF-16: write UTF-8"),
    (b"[object ", "it is a JavaScript object as a string: publish JSON.stringify(event)"),
    (b"Obj\x01", "it is an Avro file: publish JSON"),
    (b'"', "it is JSON in a JSON text, encoded twice: encode the event once"),
)
SCHEMA_PREFIX = 5
"""Byte 0 and a schema id of four bytes, as clients of a schema registry write them."""


class _Wrapped(Struct):
    """Enough of what wraps an event elsewhere."""

    specversion: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    schema: msgspec.Raw = msgspec.Raw()
    op: msgspec.Raw = msgspec.Raw()
    after: msgspec.Raw = msgspec.Raw()


_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_several = msgspec.json.Decoder(list[_Wrapped]).decode


def mended(value: bytes) -> bytes:
    """The same without a byte-order mark, and with the second before it for a leap second."""
    return LEAP_SECOND.sub(rb"\1:59", BEHIND_PREFIX.sub(rb"\1", value))


def mistaken(value: bytes) -> str | None:
    """What it is and what to do instead; None when nothing is known."""
    for beginnings, said in _BEGINNINGS:
        if value.startswith(beginnings):
            return said
    if value[0] == 0:
        number = int.from_bytes(value[1:SCHEMA_PREFIX], "big")
        binary = f"it is Avro or Protobuf with schema id {number}: publish JSON"
        return _mistaken_json(value[SCHEMA_PREFIX:]) or binary
    return _mistaken_json(value)


def _mistaken_json(value: bytes) -> str | None:
    """The same of what is JSON."""
    try:
        if value.lstrip()[:1] == b"[":
            several = _decode_several(value)
            what = "a CloudEvents batch" if several and several[0].specversion else "an array"
            return f"it is {what} of {len(several)}: publish each event as a record of its own"
        wrapped = _decode_wrapped(value)
    except (ValueError, RecursionError):
        return None
    if bytes(wrapped.schema) and bytes(wrapped.payload):
        return (
            "it is an envelope of Kafka Connect: set `schemas.enable=false`, so that the payload stands alone"
        )
    if bytes(wrapped.op) and bytes(wrapped.after):
        return "it is an envelope of Debezium: unwrap it (ExtractNewRecordState), and make an event of it"
    return None
