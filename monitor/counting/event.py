"""Bytes in, an `Event` or a `Refused` with a named reason out: no bytes raise or do anything else.

Three framings are read: plain JSON, CloudEvents 1.0 structured (`content-type:
application/cloudevents+json`, or a body with `specversion`) and CloudEvents binary (`ce_*` headers). A
Confluent schema prefix (byte 0 and a 4-byte id) before the JSON is skipped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from monitor.counting.display import duration
from monitor.counting.formats import (
    BOM,
    BRIEF_BYTES,
    MAX_SECONDS,
    PERSONAL,
    SCHEMA_PREFIX,
    Unreadable,
    absent,
    decode_named,
    malformed,
    mended,
    mistaken,
    out_of_range,
    shortened,
    text_of,
)
from monitor.counting.times import epoch_ms
from monitor.journey_file.model import SCALES, Journey, Stage

MAX_BYTES = 1_000_000
"""Kafka's own default limit of a record is 1 MiB; an event is a few hundred, more is a mistake."""

AHEAD_MS = 5 * 60_000
"""How far a clock may run ahead. An event far in the future would expire everything before it."""

YEARS = range(1971, 9999)
"""Others do not fit into records, nor into a customer's life: 1970 begins with the zero of Unix clocks."""

YEARS_MS = range(*(epoch_ms(datetime(year, 1, 1, tzinfo=UTC)) for year in (YEARS.start, YEARS.stop)))

OPENING_FIELDS = ("stage", "outcome", "id", "time", "segment", "partner", "encounter_id")
"""What is read of an event that opens an encounter."""

Headers = Iterable[tuple[str, bytes | None]]

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]


class Reason(StrEnum):
    """Why a record was refused: the `reason` label and the `dlq.reason` header."""

    EMPTY = "empty"
    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    BAD_TIME = "bad_time"
    UNKNOWN_STAGE = "unknown_stage"
    WRONG_TOPIC = "wrong_topic"
    UNKNOWN_OUTCOME = "unknown_outcome"
    IN_FUTURE = "in_future"
    TOO_OLD = "too_old"
    PERSONAL_DATA = "personal_data"
    UNREADABLE = "unreadable"
    UNPROCESSABLE = "unprocessable"


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is not counted; `error` tells a person what is wrong, without quoting the data."""

    reason: Reason
    error: str


class Score(Struct, frozen=True):
    """An answer to a survey question, on that question's own scale."""

    kind: Literal["nps", "csat", "ces"]
    value: Annotated[float, Meta(ge=-1000, le=1000)]


class Promise(Struct, frozen=True):
    """Something promised to the customer: a delivery window, a call back, a courier's call ahead."""

    id: Id
    kind: str
    due_from: Time | None = None
    due: Time | None = None
    kept: bool | None = None


class Handoff(Struct, frozen=True, rename={"from_": "from"}):
    """Something one system or partner hands to another."""

    id: Id
    from_: str
    to: str


class Event(Struct, frozen=True, gc=False):
    """One encounter. `id` and `time` may stand in a CloudEvents envelope, so may be absent here."""

    stage: str
    outcome: str
    id: Id | None = None
    time: Time | None = None
    journey_id: Id | None = None
    case_id: Id | None = None
    customer_ref: Id | None = None
    segment: str | None = None
    channel: str | None = None
    touchpoint: str | None = None
    partner: str | None = None
    location: str | None = None
    reason: str | None = None
    initiator: Literal["company", "customer"] | None = None
    duration_s: Seconds | None = None
    wait_s: Seconds | None = None
    system_wait_s: Seconds | None = None
    internal_ok: bool | None = None
    score: Score | None = None
    promise: Promise | None = None
    handoff: Handoff | None = None
    encounter_id: Id | None = None

    @property
    def at_ms(self) -> int:
        """When it happened, in ms since 1970; only of an event the codec let through."""
        assert self.time is not None  # noqa: S101 - the codec holds it
        return epoch_ms(self.time)


class _Envelope(Struct):
    specversion: str
    id: Id | None = None
    time: Time | None = None
    data: msgspec.Raw = msgspec.Raw()  # a union with None would refuse every object
    data_base64: bytes | None = None


class _Context(Struct):
    ce_id: Id | None = None
    ce_time: Time | None = None


_decode_text = msgspec.json.Decoder(str).decode
_decode_base64 = msgspec.json.Decoder(bytes).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Codec:
    """Decodes the records of one stage's topic."""

    def __init__(self, journey: Journey, stage: Stage, *, refuse_personal_data: bool = True) -> None:
        self._refuse_personal_data = refuse_personal_data
        self.journey, self.stage = journey, stage
        self._stage = stage.name
        self._stages = {known.name for known in journey.stages}
        self._outcomes = frozenset(stage.outcomes)

    def decode(self, value: bytes | None, headers: Headers = ()) -> Event | Refused:
        """Read one record. Whether its time is acceptable is asked of `refuse_time`."""
        event = decoded(value, headers)
        if isinstance(event, Refused):
            return event
        if event.stage != self._stage:
            if event.stage in self._stages:
                return Refused(Reason.WRONG_TOPIC, f"this topic is for stage `{self._stage}`")
            known = ", ".join(sorted(self._stages))
            return Refused(Reason.UNKNOWN_STAGE, f"stage must be one of {known}")
        if event.outcome not in self._outcomes:
            return self._opening(event)
        if event.promise is None and event.customer_ref is None and event.score is None:
            return event
        return self._refuse_content(event) or event

    def _opening(self, event: Event) -> Event | Refused:
        """An event that says that an encounter has begun: it says nothing yet of how that went."""
        if event.outcome not in self.stage.openings:
            known = ", ".join(sorted(self._outcomes))
            return Refused(Reason.UNKNOWN_OUTCOME, f"outcome must be one of {known}")
        if event.encounter_id is None:
            return Refused(Reason.MISSING_FIELD, "`encounter_id` says which event ends what begins here")
        return self._refuse_content(event) or Event(**{name: getattr(event, name) for name in OPENING_FIELDS})

    def _refuse_content(self, event: Event) -> Refused | None:
        if event.promise is not None and (refused := _refused_deadline(event.promise)):
            return refused
        if event.score is not None and (refused := _refused_score(event.score)):
            return refused
        if event.customer_ref is not None and self._refuse_personal_data:
            return refuse_personal_data(event.customer_ref)
        return None

    def accepted_ms(self, now_ms: int) -> tuple[int, int]:
        """The earliest and the latest event time that is counted."""
        return now_ms - self.journey.horizon_ms, now_ms + AHEAD_MS

    def refuse_time(self, at_ms: int, now_ms: int) -> Refused | None:
        """Refusal of an event too far ahead of `now_ms`, or further back than the horizon."""
        earliest_ms, latest_ms = self.accepted_ms(now_ms)
        if earliest_ms <= at_ms <= latest_ms:
            return None
        if refused := refuse_year(at_ms):
            return refused
        if at_ms > latest_ms:
            return Refused(Reason.IN_FUTURE, f"{duration((at_ms - now_ms) // 1000)} ahead of the clock")
        age, horizon = duration((now_ms - at_ms) // 1000), duration(self.journey.horizon_ms // 1000)
        return Refused(Reason.TOO_OLD, f"{age} old, beyond the horizon of {horizon}")


def decoded(value: bytes | None, headers: Headers = ()) -> Event | Refused:
    """An event with id and time, of whatever stage and outcome; no journey file says which there are. Long
    names are cut, so whoever keeps it, or a part of it, keeps little."""
    if not value:
        return _refused_empty(value)
    if len(value) > MAX_BYTES:
        return Refused(Reason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_BYTES} are read")
    try:
        event = _unwrap(value, headers) if headers or value[0] == 0 else _decode_plain(value)
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError inside a string
        read = _read_mended(value, headers, error)
        if isinstance(read, Refused):
            return read
        event = read
    if event.id is None or event.time is None:
        missing = "id" if event.id is None else "time"
        return Refused(Reason.MISSING_FIELD, f"required field `{missing}` is {absent(value, missing)}")
    return event if len(value) <= BRIEF_BYTES else shortened(event)


def refuse_year(at_ms: int) -> Refused | None:
    """Refusal of an event in a year that is none of a customer's life."""
    if at_ms in YEARS_MS:
        return None
    return Refused(Reason.BAD_TIME, f"the year is not within {YEARS.start} to {YEARS.stop - 1} - at `$.time`")


def refuse_personal_data(customer_ref: str) -> Refused | None:
    """Refusal of what looks like an e-mail address or a phone number instead of a pseudonym."""
    if "@" not in customer_ref and (customer_ref[0].isalpha() or customer_ref[-1].isalpha()):
        return None  # nearly every pseudonym: a phone number neither begins nor ends with a letter
    for what, patterns in PERSONAL.items():
        if any(pattern.search(customer_ref) for pattern in patterns):
            return Refused(Reason.PERSONAL_DATA, f"customer_ref looks like {what}")
    return None


def _refused_deadline(promise: Promise) -> Refused | None:
    """Refusal of a deadline that nobody has named: the first and the last day of a calendar are defaults."""
    for name, time in (("due_from", promise.due_from), ("due", promise.due)):
        if time is not None and time.year not in YEARS:
            told = f"the year is {time.year}: leave out a time that is not known"
            return Refused(Reason.BAD_TIME, f"{told} - at `$.promise.{name}`")
    return None


def _refused_empty(value: bytes | None) -> Refused:
    if isinstance(value, Unreadable):
        return Refused(Reason.UNREADABLE, value.error)
    if value is None:
        return Refused(Reason.TOMBSTONE, "the record has no value: it deletes its key from a compacted topic")
    return Refused(Reason.EMPTY, "the value is empty")


def _refused_score(score: Score) -> Refused | None:
    """Refusal of an answer that its question does not offer."""
    least, greatest = SCALES[score.kind]
    if least <= score.value <= greatest:
        return None
    return Refused(Reason.BAD_VALUE, f"{score.kind} is {least} to {greatest} - at `$.score.value`")


def _refused_as_event(value: bytes, error: Exception) -> Refused:
    """Refusal of bytes that are no event, or not quite."""
    known = mistaken(value)
    if isinstance(error, msgspec.ValidationError):
        refused = _refused_by_schema(str(error))
        return refused if known is None else Refused(refused.reason, known)
    return Refused(Reason.NOT_JSON, known or malformed(value, error))


def _read_mended(value: bytes, headers: Headers, error: Exception) -> Event | Refused:
    """What could not be read as it stands, read once more in the form it should have."""
    fit, fit_headers = mended(value), [(name, content and mended(content)) for name, content in headers]
    if not fit[SCHEMA_PREFIX * value.startswith(b"\0") :]:
        return Refused(Reason.NOT_JSON, mistaken(value) or "it is a byte-order mark and nothing else")
    if (fit, fit_headers) != (value, [*headers]):
        try:
            return _unwrap(fit, fit_headers)
        except (ValueError, RecursionError) as again:
            value, error = fit, again
    return _refused_as_event(value, error)


def _decode_plain(value: bytes) -> Event:
    """An envelope is one also where its extension attributes would make an event: `data` is what counts."""
    # JSON may spell a letter of the key as an escape; writers do so for control characters, so it is rare
    if not (b'"specversion"' in value or (b"\\" in value and (b"\\u006" in value or b"\\u007" in value))):
        return _decode_event(value)
    if (named := decode_named(value)).is_envelope:
        return _decode_structured(value)
    try:
        return _decode_event(value)
    except msgspec.ValidationError:
        if bytes(named.specversion):  # not only somewhere in `attributes`
            return _decode_structured(value)
        raise


class Codecs:
    """Those of all stages, for records that no topic says the stage of."""

    def __init__(self, journey: Journey, *, refuse_personal_data: bool) -> None:
        self._of_stage = {
            stage.name: Codec(journey, stage, refuse_personal_data=refuse_personal_data)
            for stage in journey.stages
        }

    def of(self, value: bytes, stage: str | None = None) -> Codec:
        """That of this stage, or of the one that an event names; any refuses one that names none of them."""
        return self._of_stage.get(stage or stage_of(value) or "") or next(iter(self._of_stage.values()))


def stage_of(value: bytes) -> str | None:
    """The stage that an event names, itself or in the data of its envelope; None when that cannot be told."""
    try:
        named = decode_named(value[SCHEMA_PREFIX * value.startswith(b"\0") :].removeprefix(BOM))
        if bytes(named.data)[:1] == b"{" and named.is_envelope:
            named = decode_named(named.data)
        elif bytes(named.data_base64) and named.is_envelope:
            named = decode_named(text_of(_decode_base64(named.data_base64)))
        return _decode_text(named.stage) if bytes(named.stage) else None
    except (ValueError, RecursionError):
        return None


def _decode_structured(value: bytes) -> Event:
    envelope = _decode_envelope(value)
    data = bytes(envelope.data)
    packed = b"" if data else envelope.data_base64
    if not data and packed is None:
        raise msgspec.ValidationError("Object missing required field `data`")
    try:
        event = _decode_event(data or text_of(packed or b""))
    except ValueError as error:
        known = mistaken(packed) if packed and not isinstance(error, msgspec.ValidationError) else None
        raise msgspec.DecodeError(f"in `data_base64`, {known}") if known else error from None
    return _with_context(event, envelope.id, envelope.time)


def _unwrap(value: bytes, headers: Headers) -> Event:
    named = {name.lower(): content or b"" for name, content in headers}
    value = value[SCHEMA_PREFIX * value.startswith(b"\0") :]
    if named.get("content-type", b"").startswith(b"application/cloudevents+json"):
        return _decode_structured(value)
    if "ce_specversion" not in named:
        return _decode_plain(value)
    try:
        texts = {name: named[name].decode() for name in ("ce_id", "ce_time") if name in named}
    except UnicodeDecodeError:
        raise msgspec.ValidationError("Invalid UTF-8 in header `ce_id` or `ce_time`") from None
    context = msgspec.convert(texts, _Context)
    return _with_context(_decode_event(value), context.ce_id, context.ce_time)


def _with_context(event: Event, id_: str | None, time: datetime | None) -> Event:
    changes = {key: given for key, given in (("id", id_), ("time", time)) if given is not None}
    return msgspec.structs.replace(event, **changes)


def _refused_by_schema(message: str) -> Refused:
    where = message[message.rfind(" - at") :]
    # an envelope may have them instead; nobody may leave them out
    if message.endswith(("`$.id`", "`$.time`")):
        message = message.replace(" | null`", "`")
    if ranged := out_of_range(message):
        return Refused(Reason.BAD_VALUE, ranged)
    if message.startswith("Invalid enum value"):  # first, because it quotes the data
        return Refused(Reason.BAD_VALUE, f"not one of the known values{where}")
    if "missing required field" in message:
        return Refused(Reason.MISSING_FIELD, message)
    if message.endswith("`$.time`") or "RFC3339" in message or "timezone" in message:
        return Refused(Reason.BAD_TIME, f"not a time with its zone, like 2026-03-01T12:00:00Z{where}")
    if ", got `" in message:
        return Refused(Reason.WRONG_TYPE, message)
    return Refused(Reason.BAD_VALUE, message)
