"""Any bytes with any headers give an `Event` or a `Refused` with a named reason; nothing raises."""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.counting.event import (
    AHEAD_MS,
    MAX_BYTES,
    Codec,
    Event,
    Reason,
    Refused,
    refuse_personal_data,
    stage_of,
)
from monitor.counting.formats import BRIEF_BYTES, MAX_WORD
from monitor.counting.times import epoch_ms
from monitor.journey_file.grammar import parse
from tests.kit.shipped import SHIPPED as CHAIR

CODEC = Codec(CHAIR, CHAIR.stage("web_checkout"))

VALID: dict[str, Any] = {
    "id": "e-1",
    "time": "2026-05-04T10:00:00+03:00",
    "stage": "web_checkout",
    "outcome": "ok",
}
FULL: dict[str, Any] = {
    **VALID,
    "journey_id": "j-1",
    "case_id": "c-1",
    "customer_ref": "p-1",
    "segment": "new",
    "channel": "web",
    "touchpoint": "checkout",
    "partner": "klarna",
    "location": "helsinki",
    "reason": "slow_page",
    "initiator": "customer",
    "duration_s": 42.5,
    "wait_s": 3,
    "system_wait_s": 0.25,
    "internal_ok": True,
    "score": {"kind": "nps", "value": 9},
    "promise": {"id": "p-1", "kind": "delivery_window", "due": "2026-05-05T10:00:00Z", "kept": None},
    "handoff": {"id": "h-1", "from": "web", "to": "warehouse"},
    "attributes": {"anything": [1, {"at": "all"}]},
}
OPTIONAL = [name for name in FULL if name not in VALID and name != "attributes"]

STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]
BINARY: list[tuple[str, bytes | None]] = [("ce_specversion", b"1.0")]
PREFIX = b"\x00\x00\x00\x00\x07"
"""A Confluent schema prefix: byte 0 and a 4-byte schema id."""

DEEP = 100_000


def body(**changes: Any) -> bytes:
    """The valid event with fields changed, or left out when given as `...`."""
    merged = {**VALID, **changes}
    return json.dumps({key: value for key, value in merged.items() if value is not ...}).encode()


def raw(field: str, text: str | bytes) -> bytes:
    """The valid event with one more field whose JSON text is given as it stands."""
    text = text.encode() if isinstance(text, str) else text
    return body()[:-1] + f', "{field}": '.encode() + text + b"}"


def envelope(**fields: Any) -> bytes:
    """A CloudEvents structured body."""
    return json.dumps({"specversion": "1.0", **fields}).encode()


def data(**changes: Any) -> dict[str, Any]:
    """The valid event as a mapping, for the data of an envelope."""
    result: dict[str, Any] = json.loads(body(**changes))
    return result


Headers = list[tuple[str, bytes | None]]

REFUSED: dict[str, tuple[bytes | None, Any, Reason]] = {
    "no bytes": (b"", [], Reason.EMPTY),
    "tombstone": (None, [], Reason.TOMBSTONE),
    "tombstone with headers": (None, BINARY, Reason.TOMBSTONE),
    "blank": (b"  \n", [], Reason.NOT_JSON),
    "plain text": (b"hello", [], Reason.NOT_JSON),
    "trailing comma": (body()[:-1] + b",}", [], Reason.NOT_JSON),
    "text after the value": (body() + b" x", [], Reason.NOT_JSON),
    "two values": (body() + body(), [], Reason.NOT_JSON),
    "single quotes": (body().replace(b'"', b"'"), [], Reason.NOT_JSON),
    "UTF-16": (body().decode().encode("utf-16"), [], Reason.NOT_JSON),
    "invalid UTF-8 in a string": (raw("segment", b'"\xff"'), [], Reason.NOT_JSON),
    "overlong UTF-8 in a string": (raw("segment", b'"\xc0\xaf"'), [], Reason.NOT_JSON),
    "half a surrogate pair": (raw("segment", '"\\ud800"'), [], Reason.NOT_JSON),
    "half a surrogate pair in an unknown field": (raw("more", '"\\ud800"'), [], Reason.NOT_JSON),
    "NaN": (raw("wait_s", "NaN"), [], Reason.NOT_JSON),
    "NaN in an unknown field": (raw("more", "NaN"), [], Reason.NOT_JSON),
    "Infinity": (raw("wait_s", "Infinity"), [], Reason.NOT_JSON),
    "1e999": (raw("wait_s", "1e999"), [], Reason.BAD_VALUE),
    "5000 digits": (raw("wait_s", "9" * 5000), [], Reason.BAD_VALUE),
    "deep in a number": (raw("wait_s", "[" * DEEP + "]" * DEEP), [], Reason.WRONG_TYPE),
    "deep in an unknown field": (raw("more", "[" * DEEP + "]" * DEEP), [], Reason.NOT_JSON),
    "deep in attributes": (raw("attributes", '{"a":' * DEEP + "1" + "}" * DEEP), [], Reason.NOT_JSON),
    "deep within a known field": (raw("score", '{"score":' * DEEP), [], Reason.NOT_JSON),
    "deep alone": (b"[" * DEEP, [], Reason.WRONG_TYPE),
    "10 MB": (raw("attributes", '"' + "x" * 10_000_000 + '"'), [], Reason.TOO_LARGE),
    "list": (b"[" + body() + b"]", [], Reason.WRONG_TYPE),
    "number": (b"17", [], Reason.WRONG_TYPE),
    "null": (b"null", [], Reason.WRONG_TYPE),
    "empty object": (b"{}", [], Reason.MISSING_FIELD),
    "no id": (body(id=...), [], Reason.MISSING_FIELD),
    "no time": (body(time=...), [], Reason.MISSING_FIELD),
    "no stage": (body(stage=...), [], Reason.MISSING_FIELD),
    "no outcome": (body(outcome=...), [], Reason.MISSING_FIELD),
    "null id": (body(id=None), [], Reason.MISSING_FIELD),
    "null time": (body(time=None), [], Reason.MISSING_FIELD),
    "null stage": (body(stage=None), [], Reason.WRONG_TYPE),
    "null outcome": (body(outcome=None), [], Reason.WRONG_TYPE),
    "number as id": (body(id=1), [], Reason.WRONG_TYPE),
    "number as stage": (body(stage=1), [], Reason.WRONG_TYPE),
    "list as outcome": (body(outcome=["ok"]), [], Reason.WRONG_TYPE),
    "text as duration": (body(duration_s="5"), [], Reason.WRONG_TYPE),
    "truth value as duration": (body(duration_s=True), [], Reason.WRONG_TYPE),
    "text as truth value": (body(internal_ok="true"), [], Reason.WRONG_TYPE),
    "number as score": (body(score=9), [], Reason.WRONG_TYPE),
    "score without a value": (body(score={"kind": "nps"}), [], Reason.MISSING_FIELD),
    "score of no known kind": (body(score={"kind": "stars", "value": 5}), [], Reason.BAD_VALUE),
    "score off every scale": (body(score={"kind": "nps", "value": 1001}), [], Reason.BAD_VALUE),
    "unknown initiator": (body(initiator="robot"), [], Reason.BAD_VALUE),
    "initiator like another error": (body(initiator="missing required field"), [], Reason.BAD_VALUE),
    "initiator like a time error": (body(initiator="RFC3339 timezone"), [], Reason.BAD_VALUE),
    "initiator like an error's path": (body(initiator="x - at `$.time`"), [], Reason.BAD_VALUE),
    "handoff from nobody": (body(handoff={"id": "h", "to": "web"}), [], Reason.MISSING_FIELD),
    "negative duration": (body(duration_s=-0.001), [], Reason.BAD_VALUE),
    "huge duration": (body(duration_s=1.1e9), [], Reason.BAD_VALUE),
    "empty id": (body(id=""), [], Reason.BAD_VALUE),
    "overlong id": (body(id="x" * 201), [], Reason.BAD_VALUE),
    "overlong journey_id": (body(journey_id="x" * 201), [], Reason.BAD_VALUE),
    "time without offset": (body(time="2026-05-04T10:00:00"), [], Reason.BAD_TIME),
    "day only": (body(time="2026-05-04"), [], Reason.BAD_TIME),
    "month 13": (body(time="2026-13-04T10:00:00Z"), [], Reason.BAD_TIME),
    "30 February": (body(time="2026-02-30T10:00:00Z"), [], Reason.BAD_TIME),
    "24 o'clock": (body(time="2026-05-04T24:00:00Z"), [], Reason.BAD_TIME),
    "a byte order mark alone, binary at a leap second": (
        b"\xef\xbb\xbf", [*BINARY, ("ce_time", b"2016-12-31T23:59:60Z")], Reason.NOT_JSON,
    ),
    "a byte order mark alone behind a schema prefix, binary": (
        PREFIX + b"\xef\xbb\xbf", [*BINARY, ("ce_time", b"2026-02-29T00:00:00Z")], Reason.NOT_JSON,
    ),
    "a byte order mark before a schema prefix": (b"\xef\xbb\xbf\0\0\0\0\x07 1.0", [], Reason.NOT_JSON),
    "the same behind one": (PREFIX + b"\xef\xbb\xbf\0\0\0\0\x07 1.0", [], Reason.NOT_JSON),
    "nothing but byte order marks": (b"\xef\xbb\xbf" * 300_000, [], Reason.NOT_JSON),
    "second 61": (body(time="2016-12-31T23:59:61Z"), [], Reason.BAD_TIME),
    "NPS of 11": (body(score={"kind": "nps", "value": 11}), [], Reason.BAD_VALUE),
    "NPS of -1": (body(score={"kind": "nps", "value": -1}), [], Reason.BAD_VALUE),
    "CSAT of 6": (body(score={"kind": "csat", "value": 6}), [], Reason.BAD_VALUE),
    "CES of 0": (body(score={"kind": "ces", "value": 0}), [], Reason.BAD_VALUE),
    "CES of 8": (body(score={"kind": "ces", "value": 8}), [], Reason.BAD_VALUE),
    "CSAT of 0": (body(score={"kind": "csat", "value": 0}), [], Reason.BAD_VALUE),
    "offset of 25 hours": (body(time="2026-05-04T10:00:00+25:00"), [], Reason.BAD_TIME),
    "seconds since 1970": (body(time=1_777_888_999), [], Reason.BAD_TIME),
    "empty time": (body(time=""), [], Reason.BAD_TIME),
    "promise due without offset": (
        body(promise={"id": "p", "kind": "k", "due": "2026-05-04T10:00:00"}), [], Reason.BAD_TIME,
    ),
    ".NET's first day": (
        body(promise={"id": "p", "kind": "k", "due": "0001-01-01T00:00:00+02:00"}), [], Reason.BAD_TIME,
    ),
    "Unix's first day": (
        body(promise={"id": "p", "kind": "k", "due": "1970-01-01T00:00:00+14:00"}), [], Reason.BAD_TIME,
    ),
    ".NET's last day": (
        body(promise={"id": "p", "kind": "k", "due_from": "9999-12-31T23:59:59-05:00"}), [], Reason.BAD_TIME,
    ),
    "unknown stage": (body(stage="moon_base"), [], Reason.UNKNOWN_STAGE),
    "another stage's event": (body(stage="delivery"), [], Reason.WRONG_TOPIC),
    "e-mail address": (body(customer_ref="ann@example.com"), [], Reason.PERSONAL_DATA),
    "unknown outcome": (body(outcome="great"), [], Reason.UNKNOWN_OUTCOME),
    "outcome in capitals": (body(outcome="OK"), [], Reason.UNKNOWN_OUTCOME),
    "structured without specversion": (body(), STRUCTURED, Reason.MISSING_FIELD),
    "structured, not JSON": (b"<xml/>", STRUCTURED, Reason.NOT_JSON),
    "structured, a batch": (b"[" + envelope(data=data()) + b"]", STRUCTURED, Reason.WRONG_TYPE),
    "structured without data": (envelope(id="e-2"), STRUCTURED, Reason.MISSING_FIELD),
    "structured without data or header": (envelope(id="e-2"), [], Reason.MISSING_FIELD),
    "structured, data null": (envelope(data=None), STRUCTURED, Reason.WRONG_TYPE),
    "structured, data a text": (envelope(data="ok"), STRUCTURED, Reason.WRONG_TYPE),
    "structured, bad base64": (envelope(data_base64="*"), STRUCTURED, Reason.BAD_VALUE),
    "structured, base64 beyond ASCII": (envelope(data_base64="é"), [], Reason.BAD_VALUE),
    "structured, base64 of no JSON": (envelope(data_base64="AAAA"), STRUCTURED, Reason.NOT_JSON),
    "structured, base64 of nothing": (envelope(data_base64=""), STRUCTURED, Reason.NOT_JSON),
    "structured, no id anywhere": (envelope(data=data(id=...)), STRUCTURED, Reason.MISSING_FIELD),
    "structured, bad time": (envelope(time="soon", data=data()), STRUCTURED, Reason.BAD_TIME),
    "structured, time without offset": (
        envelope(time="2026-05-04T10:00:00", data=data()), STRUCTURED, Reason.BAD_TIME,
    ),
    "structured, empty id": (envelope(id="", data=data()), STRUCTURED, Reason.BAD_VALUE),
    "structured, specversion a number": (envelope(specversion=1, data=data()), [], Reason.WRONG_TYPE),
    "structured, wrong data": (envelope(data=data(wait_s="5")), STRUCTURED, Reason.WRONG_TYPE),
    "binary, ce_id no UTF-8": (body(), [*BINARY, ("ce_id", b"\xff")], Reason.BAD_VALUE),
    "binary, ce_id null": (body(), [*BINARY, ("ce_id", None)], Reason.BAD_VALUE),
    "binary, ce_id empty": (body(), [*BINARY, ("ce_id", b"")], Reason.BAD_VALUE),
    "binary, ce_id overlong": (body(), [*BINARY, ("ce_id", b"x" * 201)], Reason.BAD_VALUE),
    "binary, ce_time no time": (body(), [*BINARY, ("ce_time", b"soon")], Reason.BAD_TIME),
    "binary, ce_time null": (body(), [*BINARY, ("ce_time", None)], Reason.BAD_TIME),
    "binary, ce_time quoted": (
        body(), [*BINARY, ("ce_time", b'2026-05-04T10:00:00Z"')], Reason.BAD_TIME,
    ),
    "binary, ce_time without offset": (
        body(), [*BINARY, ("ce_time", b"2026-05-04T10:00:00")], Reason.BAD_TIME,
    ),
    "binary, ce_time no UTF-8": (body(), [*BINARY, ("ce_time", b"\xff")], Reason.BAD_VALUE),
    "binary, no JSON": (b"\x02avro", BINARY, Reason.NOT_JSON),
    "ce_id without ce_specversion": (body(id=...), [("ce_id", b"e-2")], Reason.MISSING_FIELD),
    **{
        f"schema prefix, {length} bytes of it alone": (PREFIX[:length], [], Reason.NOT_JSON)
        for length in range(1, 6)
    },
    "schema prefix, before no JSON": (PREFIX + b"\x02avro", [], Reason.NOT_JSON),
    "schema prefix, a byte short": (PREFIX[:4] + body(), [], Reason.WRONG_TYPE),
    "schema prefix alone with headers": (PREFIX, BINARY, Reason.NOT_JSON),
}  # fmt: skip

ACCEPTED: dict[str, tuple[bytes, Any, dict[str, Any]]] = {
    "plain": (body(), [], {}),
    "unknown headers": (body(), [("traceparent", b"00-ab"), ("empty", None)], {}),
    "unknown fields": (body(shoe_size=44, attributes={"a": [1]}), [], {}),
    "1e999 in an unknown field": (raw("more", "1e999"), [], {}),
    "5000 digits in an unknown field": (raw("more", "9" * 5000), [], {}),
    "invalid UTF-8 in an unknown field": (raw("attributes", b'"\xff"'), [], {}),
    "the last of duplicate keys counts": (raw("id", '"e-2"'), [], {"id": "e-2"}),
    "surrogate pair": (raw("segment", '"\\ud83d\\ude00"'), [], {"segment": "\N{GRINNING FACE}"}),
    "unknown segment, channel, partner, location": (
        body(segment="vip", channel="fax", partner="acme", location="mars"), [],
        {"segment": "vip", "channel": "fax", "partner": "acme", "location": "mars"},
    ),
    "id of 200": (body(id="x" * 200), [], {"id": "x" * 200}),
    "longest duration": (body(duration_s=1e9), [], {"duration_s": 1e9}),
    "plain event with a specversion of its own": (body(specversion=5), [], {}),
    "structured": (envelope(data=data()), STRUCTURED, {}),
    "structured without header": (envelope(data=data()), [], {}),
    "structured, id and time of the envelope": (
        envelope(id="e-2", time="2026-05-04T10:00:00Z", data=data(id=..., time=...)), [],
        {"id": "e-2", "time": datetime(2026, 5, 4, 10, tzinfo=UTC)},
    ),
    "structured, the envelope's id beats the data's": (
        envelope(id="e-2", data=data()), STRUCTURED, {"id": "e-2"},
    ),
    "structured, base64": (
        envelope(data_base64=base64.b64encode(body()).decode()), STRUCTURED, {},
    ),
    "structured, base64 behind a schema prefix": (
        envelope(data_base64=base64.b64encode(PREFIX + body()).decode()), STRUCTURED, {},
    ),
    "structured behind a schema prefix": (PREFIX + envelope(data=data()), STRUCTURED, {}),
    "binary": (
        body(id=..., time=...),
        [*BINARY, ("ce_id", "ä-1".encode()), ("ce_time", b"2026-05-04T10:00:00Z")],
        {"id": "ä-1", "time": datetime(2026, 5, 4, 10, tzinfo=UTC)},
    ),
    "binary, headers in capitals": (
        body(), [("CE_SpecVersion", b"1.0"), ("CE_ID", b"e-2")], {"id": "e-2"},
    ),
    "binary, without id and time headers": (body(), BINARY, {}),
    "binary behind a schema prefix": (PREFIX + body(), [*BINARY, ("ce_id", b"e-2")], {"id": "e-2"}),
    "schema prefix": (PREFIX + body(), [], {}),
    "byte order mark": (b"\xef\xbb\xbf" + body(), [], {}),
    "byte order mark behind a schema prefix": (PREFIX + b"\xef\xbb\xbf" + body(), [], {}),
    "byte order mark, binary": (b"\xef\xbb\xbf" + body(id=...), [*BINARY, ("ce_id", b"e-2")], {"id": "e-2"}),
    "leap second in a header": (
        body(), [*BINARY, ("ce_time", b"2016-12-31T23:59:60Z")],
        {"time": datetime(2016, 12, 31, 23, 59, 59, 0, UTC)},
    ),
    "leap second in lower case": (
        body(time="2016-12-31t23:59:60z"), [], {"time": datetime(2016, 12, 31, 23, 59, 59, 0, UTC)},
    ),
    "leap second in base64": (
        envelope(data_base64=base64.b64encode(body(time="2016-12-31T23:59:60Z")).decode()), [],
        {"time": datetime(2016, 12, 31, 23, 59, 59, 0, UTC)},
    ),
    "leap second": (
        body(time="2016-12-31T23:59:60.5Z"), [], {"time": datetime(2016, 12, 31, 23, 59, 59, 500_000, UTC)},
    ),
    "structured, extensions named as our fields": (
        envelope(id="e-1", time=VALID["time"], stage="store", outcome="failed", data=data()), [], {},
    ),
    "plain, an attribute named as CloudEvents'": (
        body(attributes={"specversion": "1.0", "data": {}}), [], {},
    ),
    "schema prefix with headers": (PREFIX + body(), [("traceparent", b"00-ab")], {}),
}  # fmt: skip


@pytest.mark.parametrize(("value", "headers", "reason"), REFUSED.values(), ids=REFUSED)
def test_hostile_bytes(value: bytes | None, headers: Headers, reason: Reason) -> None:
    """What cannot be counted is refused for the reason that helps its sender."""
    refused = CODEC.decode(value, headers)
    assert isinstance(refused, Refused)
    assert refused.reason is reason, refused.error
    assert refused.error


MISTAKES = {
    "gzip": (gzip.compress(body()), "gzip"),
    "UTF-16": (body().decode().encode("utf-16"), "UTF-16"),
    **{
        f"{one} by name": (body().decode().encode(one), "UTF-32")
        for one in ("utf-32", "utf-32-le", "utf-32-be")
    },
    "UTF-32, the other way round": (b"\x00\x00\xfe\xff" + body().decode().encode("utf-32-be"), "UTF-32"),
    "UTF-16 without a mark": (body().decode().encode("utf-16-le"), "UTF-16"),
    "Avro": (b"\x00\x00\x00\x00\x2a\x06e-1\x02", "schema id 42"),
    "Avro in an envelope": (
        envelope(data_base64=base64.b64encode(b"\x00\x00\x00\x00\x2a\x06e-1\x02").decode()),
        "schema id 42",
    ),
    "gzip in an envelope": (envelope(data_base64=base64.b64encode(gzip.compress(body())).decode()), "gzip"),
    "JavaScript": (b"[object Object]", "JSON.stringify"),
    "JavaScript, in quotes": (b'"[object Object]"', "JSON.stringify"),
    "a batch": (
        b'[{"specversion": "1.0", "id": "1"}, {"specversion": "1.0", "id": "2"}]',
        "CloudEvents batch of 2",
    ),
    "an array": (b"[" + body() + b"]", "an array of 1"),
    "Connect": (b'{"schema": {"type": "struct"}, "payload": ' + body() + b"}", "schemas.enable=false"),
    "Debezium": (b'{"before": null, "after": ' + body() + b', "op": "c"}', "Debezium"),
    "JSON in a JSON text": (json.dumps(body().decode()).encode(), "encoded twice"),
    "another stage": (body(stage="moon_base"), "web_checkout"),
}


@pytest.mark.parametrize(("value", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_refusal_says_what_it_is_and_what_to_do(value: bytes, said: str) -> None:
    """What senders commonly take for an event is named for what it is."""
    refused = CODEC.decode(value)
    assert isinstance(refused, Refused)
    assert said in refused.error


@pytest.mark.parametrize("field", ["id", "time"])
def test_a_refusal_offers_no_null_where_null_is_refused(field: str) -> None:
    """Both may stand in an envelope, and have to stand somewhere."""
    for value in (None, 5):
        refused = CODEC.decode(body(**{field: value}))
        assert isinstance(refused, Refused)
        assert "| null" not in refused.error


@pytest.mark.parametrize(
    ("value", "stage"),
    [
        (body(), "web_checkout"),
        (b"\xef\xbb\xbf" + body(stage="store"), "store"),
        (envelope(stage="store", data=data()), "web_checkout"),
        (body(attributes={"specversion": "1.0"}, data={"stage": "x"}), "web_checkout"),
        (envelope(data_base64=base64.b64encode(body(stage="store")).decode()), "store"),
        (envelope(data_base64=base64.b64encode(PREFIX + body(stage="store")).decode()), "store"),
        (envelope(data_base64="*"), None),
        (PREFIX + body(stage="store"), "store"),
        (PREFIX + b"\xef\xbb\xbf" + envelope(data=data(stage="store")), "store"),
        (b"\0", None),
        (b"no", None),
        (body(stage=5), None),
    ],
)
def test_whose_event_it_is(value: bytes, stage: str | None) -> None:
    """Of an envelope, its data says so; extension attributes do not."""
    assert stage_of(value) == stage


def test_every_reason_of_the_codec_is_in_the_table() -> None:
    """No reason goes untested; those of the time, the client and of our own code have tests of their own."""
    elsewhere = {Reason.IN_FUTURE, Reason.TOO_OLD, Reason.UNREADABLE, Reason.UNPROCESSABLE}
    tested = {reason for _, _, reason in REFUSED.values()} | elsewhere
    assert tested == set(Reason)


@pytest.mark.parametrize(("value", "headers", "changes"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_bytes(value: bytes, headers: Headers, changes: dict[str, Any]) -> None:
    """Every framing gives the same event, and what is tolerated changes nothing else in it."""
    plain = {
        "stage": "web_checkout",
        "outcome": "ok",
        "id": "e-1",
        "time": datetime(2026, 5, 4, 7, tzinfo=UTC),
    }
    assert CODEC.decode(value, headers) == Event(**{**plain, **changes})


def test_exactly_the_largest_size_is_read() -> None:
    """The size limit is exact: one byte more is refused."""
    fits = body(attributes="x" * (MAX_BYTES - len(body(attributes=""))))
    assert len(fits) == MAX_BYTES
    assert isinstance(CODEC.decode(fits), Event)
    refused = CODEC.decode(fits + b" ")
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TOO_LARGE


def texts_of(told: msgspec.Struct) -> Iterator[str]:
    """Every text in it."""
    for one in msgspec.structs.astuple(told):
        if isinstance(one, msgspec.Struct):
            yield from texts_of(one)
        elif isinstance(one, str):
            yield one


def test_long_names_are_cut_and_ids_are_whole() -> None:
    """In whatever field they stand. Where only `attributes` are long, which nobody keeps, nothing is cut."""
    long = {one.name: "n" * 10_000 for one in msgspec.structs.fields(Event) if one.type == str | None}
    long |= dict.fromkeys(("id", "journey_id", "case_id", "customer_ref", "encounter_id"), "i" * 200)
    promise = {"id": "i" * 200, "kind": "k" * 10_000}
    handoff = {"id": "i" * 200, "from": "f" * 10_000, "to": "t" * 10_000}
    found = CODEC.decode(body(**long, promise=promise, handoff=handoff))
    assert isinstance(found, Event)
    lengths = Counter(len(text) for text in texts_of(found))
    assert (lengths[200], lengths[MAX_WORD], max(lengths)) == (7, 9, 200)
    brief = {"reason": "r" * 150}
    assert CODEC.decode(body(**brief, attributes={"a": "x" * 10_000})) == CODEC.decode(body(**brief))


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_is_absent(field: str) -> None:
    """Null in an optional field is the same as leaving the field out."""
    full = {key: value for key, value in FULL.items() if key != field}
    without = CODEC.decode(json.dumps(full).encode())
    assert isinstance(without, Event)
    assert CODEC.decode(json.dumps({**full, field: None}).encode()) == without
    assert CODEC.decode(json.dumps(FULL).encode()) != without


@pytest.mark.parametrize("field", [name for name in FULL if name != "attributes"])
@pytest.mark.parametrize("wrong", [17, "17", True, [], {}, -1e300], ids=repr)
def test_wrong_types_never_pass_unless_they_are_right(field: str, wrong: Any) -> None:
    """A field takes no value of another JSON type than its own."""
    result = CODEC.decode(json.dumps({**FULL, field: wrong}).encode())
    if isinstance(result, Event):
        taken = getattr(result, field)
        assert taken == wrong
        assert isinstance(taken, bool) == isinstance(wrong, bool)
        assert isinstance(taken, str) == isinstance(wrong, str)


TELL = "hunter2 missing required field RFC3339 timezone, got `x` - at `$.time`"
TELLTALE = [
    *(json.dumps({**FULL, field: TELL}).encode() for field in FULL if field not in ("id", "journey_id")),
    *(json.dumps({**FULL, field: {TELL: TELL}}).encode() for field in FULL if field != "attributes"),
    json.dumps({**FULL, "score": {"kind": TELL, "value": 1}}).encode(),
    json.dumps({**FULL, "promise": {"id": "p", "kind": "k", "due": TELL}}).encode(),
    json.dumps({**FULL, "id": TELL * 10}).encode(),
    json.dumps({TELL: 1}).encode(),
    TELL.encode(),
    raw("segment", b'"' + TELL.encode() + b'\xff"'),
    raw("more", '"' + TELL + '" ' + TELL),
    envelope(data_base64=TELL),
    envelope(specversion={TELL: 1}),
    envelope(data=TELL, time=TELL),
]


@pytest.mark.parametrize("value", TELLTALE, ids=range(len(TELLTALE)))
@pytest.mark.parametrize(
    "headers",
    [[], STRUCTURED, [*BINARY, ("ce_id", TELL.encode() * 9)], [*BINARY, ("ce_time", b"hunter2")]],
)
def test_errors_never_quote_the_data(value: bytes, headers: Headers) -> None:
    """What customers or services wrote never reaches a refusal's text, which goes into logs."""
    result = CODEC.decode(value, headers)
    if isinstance(result, Refused):
        assert "hunter2" not in result.error
        assert result.reason in {
            Reason.NOT_JSON, Reason.MISSING_FIELD, Reason.WRONG_TYPE, Reason.BAD_VALUE, Reason.BAD_TIME,
            Reason.UNKNOWN_STAGE, Reason.UNKNOWN_OUTCOME,
        }  # fmt: skip


def test_a_declared_outcome_is_known_to_its_stage_only() -> None:
    """A stage may declare outcomes of its own; the others still refuse them."""
    journey = parse("""
        version: 1
        journey: rental
        segments: []
        stages:
          lend: {kind: customer, owner: a, outcomes: [returned], experiences: &any {
            kept: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}
          repair: {kind: customer, owner: a, experiences: *any}
    """)
    lend, repair = (Codec(journey, stage) for stage in journey.stages)
    assert isinstance(lend.decode(body(stage="lend", outcome="returned")), Event)
    refused = repair.decode(body(stage="repair", outcome="returned"))
    assert refused == Refused(Reason.UNKNOWN_OUTCOME, "outcome must be one of abandoned, failed, ok, wow")


# Times.

NOW_MS = 1_777_888_999_123


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        (NOW_MS, None),
        (NOW_MS + AHEAD_MS, None),
        (NOW_MS + AHEAD_MS + 1, Reason.IN_FUTURE),
        (NOW_MS - CHAIR.horizon_ms, None),
        (NOW_MS - CHAIR.horizon_ms - 1, Reason.TOO_OLD),
        (0, Reason.BAD_TIME),
        (epoch_ms(datetime(1971, 1, 1, tzinfo=UTC)), Reason.TOO_OLD),
        (-1, Reason.BAD_TIME),
        (epoch_ms(datetime.max.replace(tzinfo=UTC)), Reason.BAD_TIME),
        (epoch_ms(datetime.min.replace(tzinfo=UTC)), Reason.BAD_TIME),
    ],
)
def test_time_limits_are_exact(at_ms: int, reason: Reason | None) -> None:
    """Five minutes ahead and the horizon back still count; a millisecond more does not."""
    assert AHEAD_MS == 5 * 60 * 1000
    assert CHAIR.horizon_ms == 8 * 24 * 3600 * 1000
    refused = CODEC.refuse_time(at_ms, NOW_MS)
    assert (refused.reason if refused else None) is reason


TOLD: dict[str, tuple[bytes, str]] = {
    "NaN": (raw("duration_s", "NaN"), "JSON has neither NaN nor Infinity: leave the field out"),
    "Infinity": (raw("wait_s", "Infinity"), "JSON has neither NaN nor Infinity: leave the field out"),
    "-Infinity": (raw("more", "-Infinity"), "JSON has neither NaN nor Infinity: leave the field out"),
    "NaN behind a schema prefix": (
        PREFIX + raw("wait_s", "NaN"), "JSON has neither NaN nor Infinity: leave the field out",
    ),
    "half a pair ends an id": (raw("id", '"e\\ud83d"'), "half a surrogate pair: write the whole character"),
    "half a pair in an id": (
        raw("journey_id", '"\\ud83dx\\u0041"'), "half a surrogate pair: write the whole character",
    ),
    "deep": (
        raw("attributes", "[" * 50_000 + "]" * 50_000), "it is nested too deeply: keep `attributes` flat",
    ),
    "no UTF-8": (raw("channel", b'"\xff"'), "a text in it is not UTF-8: write UTF-8"),
    "cut off": (body()[:-3], "the value is not JSON text: it ends too early"),
    "blank": (b"  ", "the value is blank"),
    "comma": (body()[:-1] + b",}", "the value is not JSON text: trailing comma in object"),
    "time null": (body(time=None), "required field `time` is null"),
    "id null": (body(id=None), "required field `id` is null"),
    "no time": (body(time=...), "required field `time` is missing"),
    "1e400": (raw("duration_s", "1e400"), "must be a number from 0 to 1,000,000,000 - at `$.duration_s`"),
    "10,000 digits": (
        raw("wait_s", "9" * 10_000), "must be a number from 0 to 1,000,000,000 - at `$.wait_s`",
    ),
    "negative": (
        raw("system_wait_s", "-1"), "must be a number from 0 to 1,000,000,000 - at `$.system_wait_s`",
    ),
    "score": (
        raw("score", '{"kind": "nps", "value": 1e400}'),
        "must be on its scale: nps 0 to 10, csat 1 to 5, ces 1 to 7 - at `$.score.value`",
    ),
    "seconds since 1970": (
        body(time=1_777_888_999),
        "not a time with its zone, like 2026-03-01T12:00:00Z - at `$.time`",
    ),
    "no zone": (
        body(promise={"id": "p", "kind": "k", "due": "2026-05-04T10:00:00"}),
        "not a time with its zone, like 2026-03-01T12:00:00Z - at `$.promise.due`",
    ),
    "year 1": (
        body(promise={"id": "p", "kind": "k", "due": "0001-01-01T00:00:00Z"}),
        "the year is 1: leave out a time that is not known - at `$.promise.due`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "error"), TOLD.values(), ids=TOLD)
def test_a_refusal_says_what_is_wrong_and_what_to_do(value: bytes, error: str) -> None:
    """Whoever publishes reads it in the dead letter."""
    refused = CODEC.decode(value)
    assert isinstance(refused, Refused)
    assert refused.error.partition(" (byte ")[0] == error


@pytest.mark.parametrize(
    ("time", "reason", "error"),
    [
        ("2026-05-04T10:06:30Z", Reason.IN_FUTURE, "6 min 30 s ahead of the clock"),
        ("2026-04-23T08:00:00Z", Reason.TOO_OLD, "11 d 2 h old, beyond the horizon of 8 d"),
        ("0001-01-01T00:00:00+02:00", Reason.BAD_TIME, "the year is not within 1971 to 9998 - at `$.time`"),
        ("1970-01-01T00:00:00Z", Reason.BAD_TIME, "the year is not within 1971 to 9998 - at `$.time`"),
        ("9999-12-31T23:59:59-05:00", Reason.BAD_TIME, "the year is not within 1971 to 9998 - at `$.time`"),
    ],
)
@pytest.mark.parametrize("length", [0, 2 * BRIEF_BYTES])
def test_a_time_is_refused_in_words(time: str, reason: Reason, error: str, length: int) -> None:
    """A default of .NET or Unix is no time; how far another is off is told as people say it."""
    event = CODEC.decode(body(time=time, reason="x" * length))
    assert isinstance(event, Event)
    assert CODEC.refuse_time(event.at_ms, epoch_ms(datetime(2026, 5, 4, 10, tzinfo=UTC))) == Refused(
        reason, error
    )


@pytest.mark.parametrize(
    ("time", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000999Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.998999Z", -2),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T19:00:00.0019-05:00", 1),
        ("1970-01-01T05:44:59.9999+05:45", -1),
        ("2026-05-04t10:00:00.5z", 1_777_888_800_500),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800_000 - 14 * 3_600_000),
        ("9999-12-31T23:59:59.999-14:00", 253_402_300_799_999 + 14 * 3_600_000),
    ],
)
def test_milliseconds_are_rounded_down(time: str, at_ms: int) -> None:
    """Event time is whole milliseconds, rounded down before 1970 too, whatever the offset."""
    event = CODEC.decode(body(time=time))
    assert isinstance(event, Event)
    assert event.at_ms == at_ms


MINUTES = st.integers(-23 * 60 - 59, 23 * 60 + 59)
ZONES = st.builds(lambda m: timezone(timedelta(minutes=m)), MINUTES)
TIMES = st.datetimes(timezones=ZONES)
DEADLINES = st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31), timezones=ZONES)


# Properties, without a deadline: a busy machine is no failure.


@pytest.mark.parametrize("write", [str.lower, str.upper])
@pytest.mark.parametrize("letter", sorted(set("specversion")))
def test_an_envelope_is_one_however_its_key_is_spelled(letter: str, write: Callable[[str], str]) -> None:
    """JSON may write any letter as an escape: its data counts all the same, not its extension attributes."""
    named = envelope(id="e-1", time=VALID["time"], stage="store", outcome="failed", data=data())
    spelled = "specversion".replace(letter, f"\\u{write(f'{ord(letter):04x}')}").encode()
    assert CODEC.decode(named.replace(b"specversion", spelled)) == CODEC.decode(named)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SHAPED = st.dictionaries(
    st.sampled_from([*FULL, "specversion", "data", "data_base64"]),
    JSON | st.sampled_from(["web_checkout", "ok", "2026-05-04T10:00:00Z", FULL, "e30="]),
)
"""JSON whose keys the codec looks at, so that it gets past the first check."""

NAMES = st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_time"]) | st.text()
CONTENTS = st.none() | st.binary() | st.sampled_from([b"application/cloudevents+json", b"1.0", b"e-1"])
ANY_HEADERS = st.lists(st.tuples(NAMES, CONTENTS), max_size=6)


def holds(value: bytes | None, headers: Headers) -> Event | Refused:
    """Decode, and check what holds for any bytes with any headers."""
    result = CODEC.decode(value, headers)
    if isinstance(result, Event):
        assert result.stage == "web_checkout"
        assert result.outcome in ("ok", "wow", "failed", "abandoned")
        assert result.id
        assert result.time is not None
        assert result.time.utcoffset() is not None
        CODEC.refuse_time(result.at_ms, NOW_MS)
    else:
        assert isinstance(result, Refused)
        assert result.reason in Reason
        assert result.error.isprintable()
    return result


@given(st.none() | st.binary() | st.text().map(str.encode), ANY_HEADERS)
@example(PREFIX, [])
@example(body(), [("ce_specversion", None), ("ce_id", b"\xff"), ("ce_time", b'"')])
def test_any_bytes_with_any_headers(value: bytes | None, headers: Headers) -> None:
    """Any bytes with any headers give an event or a named refusal, and never raise."""
    holds(value, headers)


@given(JSON | SHAPED, ANY_HEADERS, st.booleans())
def test_any_json(value: Any, headers: Headers, prefixed: bool) -> None:
    """Any JSON value, also one shaped almost like an event, gives an event or a named refusal."""
    holds((PREFIX if prefixed else b"") + json.dumps(value).encode(), headers)


@given(st.data(), st.sampled_from([json.dumps(FULL).encode(), envelope(id="e", data=FULL)]), ANY_HEADERS)
def test_mutations_of_a_valid_event(draw: st.DataObject, value: bytes, headers: Headers) -> None:
    """A valid event with bytes flipped, cut off, dropped or put in never raises."""
    mutated = bytearray(value)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(mutated)))
        kind = draw.draw(st.sampled_from(["flip", "cut", "drop", "insert"]))
        if kind == "flip" and at < len(mutated):
            mutated[at] = draw.draw(st.integers(0, 255))
        elif kind == "cut":
            del mutated[at:]
        elif kind == "drop":
            del mutated[at : at + draw.draw(st.integers(1, 30))]
        else:
            mutated[at:at] = draw.draw(st.binary(max_size=8))
    holds(bytes(mutated), headers)


def test_every_truncation_is_refused() -> None:
    """A valid event cut short anywhere is refused, never counted in part."""
    value = json.dumps(FULL).encode()
    for end in range(len(value)):
        assert isinstance(holds(value[:end], []), Refused)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
SECONDS = st.floats(0, 1e9)
EVENTS = st.fixed_dictionaries(
    {
        "id": IDS,
        "time": TIMES,
        "stage": st.just("web_checkout"),
        "outcome": st.sampled_from(["ok", "wow", "failed", "abandoned"]),
    },
    optional={
        **dict.fromkeys(("journey_id", "case_id"), IDS),
        "customer_ref": IDS.filter(lambda text: refuse_personal_data(text) is None),
        **dict.fromkeys(("segment", "channel", "touchpoint", "partner", "location", "reason"), TEXT),
        **dict.fromkeys(("duration_s", "wait_s", "system_wait_s"), SECONDS),
        "initiator": st.sampled_from(["company", "customer"]),
        "internal_ok": st.booleans(),
        "score": st.fixed_dictionaries(
            {"kind": st.sampled_from(["nps", "csat", "ces"]), "value": st.floats(1, 5)}
        ),
        "promise": st.fixed_dictionaries(
            {"id": IDS, "kind": TEXT},
            optional={"due_from": DEADLINES, "due": DEADLINES, "kept": st.booleans()},
        ),
        "handoff": st.fixed_dictionaries({"id": IDS, "from": TEXT, "to": TEXT}),
        "attributes": JSON.filter(lambda value: "NaN" not in json.dumps(value)).map(
            lambda value: json.loads(json.dumps(value).replace("Infinity", "0"))
        ),
    },
)  # fmt: skip


def same(decoded: Any, sent: Any) -> bool:
    """Whether a decoded value is what was sent, field by field."""
    if isinstance(sent, dict):
        return all(same(getattr(decoded, "from_" if key == "from" else str(key)), sent[key]) for key in sent)
    return bool(decoded == sent)


@given(EVENTS, st.sampled_from(["plain", "structured", "base64", "binary", "prefix"]))
def test_a_valid_event_decodes_to_its_values(sent: dict[str, Any], framing: str) -> None:
    """Whatever a valid event says is what the decoded event says, in every framing."""
    headers: Headers = []
    inner = dict(sent)
    if framing in ("structured", "base64", "binary"):
        del inner["id"], inner["time"]
    value = json.dumps(inner, default=datetime.isoformat).encode()
    context = {"id": sent["id"], "time": sent["time"].isoformat()}
    if framing == "structured":
        value = envelope(**context, data=json.loads(value))
    elif framing == "base64":
        value = envelope(**context, data_base64=base64.b64encode(value).decode())
    elif framing == "binary":
        headers = [*BINARY, *((f"ce_{key}", text.encode()) for key, text in context.items())]
    elif framing == "prefix":
        value = PREFIX + value
    event = holds(value, headers)
    assert isinstance(event, Event), event
    sent.pop("attributes", None)
    assert same(event, sent)
    given_names = {"from_" if key == "from" else key for key in sent}
    assert all(getattr(event, name) is None for name in set(event.__struct_fields__) - given_names)


PERSONAL = [
    "ann@example.com",
    " ann.smith+chair@mail.example.co.uk ",
    "Ann <ann@example.com>",
    "mailto:ann@example.com",
    "ÄÄNI@sähkö.fi",
    "+358401234567",
    "+358 40 123 4567",
    "(+358) 40 123-4567",
    "+49 (0)30 123456",
    "(555) 123-4567",
    "\n+358\u201340\u00a01234567",
]
PSEUDONYMS = [
    "0000100234",
    "0012345678",  # as SAP writes customer 12345678
    "001234567890",
    "002100234567",  # as SAP writes contract account 2100234567
    "0046701234567",
    "0049-1234-56",
    "0047-1108-1542",
    "0049-1234-5678-9012",
    "0023 4567 8901",
    "0012345678905",  # an article's number
    "00358401234567",  # dialled so, it could as well be a customer's
    "+0 123 45678",  # no country code begins with 0
    "4711-0815-42",
    "040-123 4567",  # without a country code it could be a customer's number
    "c-12ab",
    "c-123456789",
    "4711",
    "123456",
    "123456789012345",
    "040123456",
    "12-34",
    "+123456",
    "00123",
    "1234567890123456789",
    "1234 5678 9012 3456",  # 16 digits are more than a phone number has
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "ktvDBNsVTIm+ajq5rRQz/A==",
    "tenant@42",
    "@ann",
    "ann@",
    "١٢٣ ٤٥٦٧",
    "----------",
]


@pytest.mark.parametrize("customer_ref", PERSONAL)
@pytest.mark.parametrize("framing", ["plain", "structured", "binary"])
def test_personal_data_is_refused_and_not_quoted(customer_ref: str, framing: str) -> None:
    """An e-mail address or a phone number is no pseudonym, in whatever framing it comes; it is not quoted."""
    value, headers = body(customer_ref=customer_ref), BINARY if framing == "binary" else []
    if framing == "structured":
        value = envelope(id="e", time=VALID["time"], data=data(customer_ref=customer_ref))
    refused = holds(value, headers)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.PERSONAL_DATA
    assert not any(part in refused.error for part in customer_ref.split())


@pytest.mark.parametrize("customer_ref", PSEUDONYMS)
def test_a_pseudonym_passes(customer_ref: str) -> None:
    """Names, hashes, UUIDs, base64 and plain numbers are pseudonyms."""
    event = holds(body(customer_ref=customer_ref), [])
    assert isinstance(event, Event), event
    assert event.customer_ref == customer_ref


@pytest.mark.parametrize("customer_ref", PERSONAL)
def test_personal_data_may_be_let_through(customer_ref: str) -> None:
    """Where the setting says so, whatever stands in `customer_ref` passes."""
    codec = Codec(CHAIR, CHAIR.stage("web_checkout"), refuse_personal_data=False)
    assert isinstance(codec.decode(body(customer_ref=customer_ref)), Event)


def test_only_the_customer_is_looked_at() -> None:
    """Other fields may look like numbers: an order number is not a customer's."""
    assert isinstance(holds(body(id="040-123 4567", case_id="+358401234567"), []), Event)


@given(IDS)
def test_any_customer_ref(customer_ref: str) -> None:
    """Any text passes or is refused by name."""
    result = holds(body(customer_ref=customer_ref), [])
    assert isinstance(result, Event) or result.reason is Reason.PERSONAL_DATA
