"""What bytes are that are no event, said so that whoever sends them knows what to change."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from monitor.journey_file.model import SCALES

BOM = b"\xef\xbb\xbf"

BEHIND_PREFIX = re.compile(rb"\A((?:\x00.{4})?)" + BOM + rb"(?!\x00)", re.DOTALL)
"""A mark before text, which may stand behind the prefix of a schema registry, but never before one."""

LEAP_SECOND = re.compile(rb"([Tt ][0-2][0-9]:[0-5][0-9]):60(?=[.Zz+-])")
"""Written where the Earth is waited for; it counts as the second before it."""

ENDS_EARLY = "Input data was truncated"
AT_BYTE = re.compile(r"\(byte ([0-9]+)\)$")
"""What msgspec says of a text; where it begins half a surrogate pair, it takes it for cut off."""

HALF_A_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)")
NO_NUMBER = re.compile(rb"NaN|Infinity")
"""What languages write for a number that is none; msgspec has read the sign before it."""

EMAIL = re.compile(r"[^\s@]@[^\s@.]+\.[^\s@.]")
"""Anywhere in the text: `Ann <ann@example.com>` is no better."""

_GAP = r"() \u00a0\u2010-\u2015-"
"""What stands between the digits of a phone number, as members of a class."""

PHONE = re.compile(
    rf"^\s*(?=(?:[^0-9]*[0-9]){{7,15}}[^0-9]*$)(?:\(?\+(?=[{_GAP}]*[1-9])|(?=\([0-9]+\)))[0-9{_GAP}]*\s*$"
)
"""Its country code after a plus, or its area code in brackets, and from 7 digits of a short local number to
the 15 of E.164. Any other could as well be a customer's number, filled up with zeros; no country code begins
with one."""

PERSONAL = {"an e-mail address": (EMAIL,), "a phone number": (PHONE,)}
"""What a pseudonym must not look like. The published schema has them too, so they are in ECMA 262's words."""

PACKINGS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
ENCODINGS = {
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"{\0\0\0", b"\0\0\0{"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{"),
}
"""What bytes begin with that are no UTF-8; of UTF-32 that of UTF-16 is the beginning."""

_BEGINNINGS = (
    ((b"[object ", b'"[object '), "it is a JavaScript object as a string: publish JSON.stringify(event)"),
    (b"Obj\x01", "it is an Avro file: publish JSON"),
    (b'"', "it is JSON in a JSON text, encoded twice: encode the event once"),
)
SCHEMA_PREFIX = 5
"""Byte 0 and a schema id of four bytes, as clients of a schema registry write them."""


MAX_SECONDS = 1_000_000_000
"""Thirty years, so that no sum of seconds overflows."""

RANGES = dict.fromkeys(
    ("`$.duration_s`", "`$.wait_s`", "`$.system_wait_s`"), f"a number from 0 to {MAX_SECONDS:,}"
)
RANGES["`$.score.value`"] = "on its scale: " + ", ".join(
    f"{kind} {least} to {greatest}" for kind, (least, greatest) in SCALES.items()
)
"""What a number has to be, for whoever sends another."""


MAX_WORD = 100
"""Characters of a name that are kept. Names of a journey file have 40 at most, so a longer one is none of
them, whatever its end; and what a service writes at length would fill memory and outgrow a record."""

BRIEF_BYTES = 1_000
"""An event of no more is kept as it is: to cut its names takes five times as long as to decode it."""

Told = TypeVar("Told", bound=Struct)


class Unreadable(bytes):
    """In the place of a value that Kafka's client cannot read: empty, with why, and what is known of it."""

    error: str
    size: int
    head: bytes

    def __new__(cls, error: str, size: int, head: bytes = b"") -> "Unreadable":
        """`size` in bytes of the value, or of its batch where no more is known; `head` is its beginning."""
        found = super().__new__(cls)
        found.error, found.size, found.head = error, size, head
        return found


class Named(Struct):
    """Just enough to know whose it is."""

    stage: msgspec.Raw = msgspec.Raw()
    specversion: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    data_base64: msgspec.Raw = msgspec.Raw()

    @property
    def is_envelope(self) -> bool:
        """Whether it is a CloudEvent with something in it."""
        return bool(bytes(self.specversion) and bytes(self.data) + bytes(self.data_base64))


_written = msgspec.json.Encoder().encode
decode_named = msgspec.json.Decoder(Named).decode


class _Required(Struct):
    """What an envelope may have instead, as it is written."""

    id: msgspec.Raw = msgspec.Raw()
    time: msgspec.Raw = msgspec.Raw()


class _Wrapped(Struct):
    """Enough of what wraps an event elsewhere."""

    specversion: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    schema: msgspec.Raw = msgspec.Raw()
    op: msgspec.Raw = msgspec.Raw()
    after: msgspec.Raw = msgspec.Raw()


_decode_required = msgspec.json.Decoder(_Required).decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_several = msgspec.json.Decoder(list[_Wrapped]).decode


def mended(value: bytes) -> bytes:
    """The same without a byte-order mark, and with the second before it for a leap second."""
    if BOM in value[: SCHEMA_PREFIX + len(BOM)]:  # to look first takes a quarter of the time
        value = BEHIND_PREFIX.sub(rb"\1", value)
    return LEAP_SECOND.sub(rb"\1:59", value) if b":60" in value else value


def shortened(event: Told) -> Told:
    """The same, with each name cut to `MAX_WORD` if all of it takes more than `BRIEF_BYTES` of JSON.

    MessagePack cannot write a time whose year is 0 or 10000 in UTC.
    """
    return event if len(_written(event)) <= BRIEF_BYTES else _short(event)


def _short(told: Any) -> Any:
    """Ids have a bound of their own."""
    if isinstance(told, str):
        return told[:MAX_WORD]
    if not isinstance(told, Struct):
        return told
    fields = structs.asdict(told).items()
    names = {name: _short(one) for name, one in fields if not name.endswith(("id", "_ref"))}
    return structs.replace(told, **names)


def text_of(value: bytes) -> bytes:
    """The JSON text of a record, mended, without the prefix of a schema registry."""
    fit = mended(value)
    return fit[SCHEMA_PREFIX:] if fit.startswith(b"\0") else fit


def packed_with(value: bytes) -> str | None:
    """What has packed it, as its first bytes say."""
    return next((name for name, beginning in PACKINGS.items() if value.startswith(beginning)), None)


def encoding_of(value: bytes) -> str | None:
    """How its text is encoded where that is not UTF-8, as its first bytes say."""
    return next((name for name, beginnings in ENCODINGS.items() if value.startswith(beginnings)), None)


def mistaken(value: bytes) -> str | None:
    """What it is and what to do instead; None when nothing is known."""
    if packing := packed_with(value):
        told = "let the producer compress (`compression.type`), not the service"
        return f"it is compressed with {packing}: {told}"
    if encoding := encoding_of(value):
        return f"it is {encoding}: write UTF-8"
    for beginnings, said in _BEGINNINGS:
        if value.startswith(beginnings):
            return said
    if value[0] == 0 and value[SCHEMA_PREFIX : SCHEMA_PREFIX + 1] == b"{":
        return _mistaken_json(value[SCHEMA_PREFIX:])
    if value[0] == 0:
        number = int.from_bytes(value[1:SCHEMA_PREFIX], "big")
        return f"it is Avro or Protobuf with schema id {number}: publish JSON"
    return _mistaken_json(value)


def absent(value: bytes, name: str) -> str:
    """Whether a field that nobody may leave out is missing, or null."""
    try:
        written = bytes(getattr(_decode_required(value.removeprefix(BOM)), name))
    except ValueError:  # it is framed; who looks sees it
        return "missing"
    return "null" if written == b"null" else "missing"


def out_of_range(message: str) -> str | None:
    """What a number has to be, where that is what msgspec says is wrong with one."""
    path = message.rpartition(" - at ")[2]
    if path in RANGES and ("out of range" in message or "` >= " in message or "` <= " in message):
        return f"must be {RANGES[path]} - at {path}"
    return None


def malformed(value: bytes, error: Exception) -> str:
    """Why it is no JSON text, without quoting it, and what to do where that is known."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply: keep `attributes` flat"
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8: write UTF-8"
    if not value.strip():
        return "the value is blank"
    said = str(error).removeprefix("JSON is malformed: ")
    ends_early = said == ENDS_EARLY
    if "surrogate" in said or (ends_early and HALF_A_PAIR.search(value)):
        return "half a surrogate pair: write the whole character"
    if (found := AT_BYTE.search(said)) and NO_NUMBER.match(value, int(found[1]) + _prefix(value)):
        return "JSON has neither NaN nor Infinity: leave the field out"
    return f"the value is not JSON text: {'it ends too early' if ends_early else said}"


def _prefix(value: bytes) -> int:
    """Bytes before the JSON text."""
    return SCHEMA_PREFIX if value[0] == 0 else 0


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
