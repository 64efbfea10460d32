"""A record and a seed in, another record out: mostly still JSON, wrong in one to three places.

Works on the tokens of the text, not on the values it means, so that repeated keys, odd escapes and
numbers beyond every range survive. The same seed gives the same record.
"""

import base64
import re
from collections.abc import Callable
from random import Random

from tests.fuzz.holds import JOURNEY, PREFIX, SECRET
from tests.fuzz.record import Header, read, write

Tokens = list[bytes]

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\w.+-]+|\s+|.', re.DOTALL)
"""Every byte belongs to one token: nothing is lost when they are joined again."""

SCALAR = re.compile(rb'["\w.+-]')


def _quoted(*texts: str) -> list[bytes]:
    return [f'"{text}"'.encode() for text in texts]


def _stage_values(name: str) -> list[str]:
    return sorted({value for stage in JOURNEY.stages for value in getattr(stage, name)})


NUMBERS = [
    *(b"0", b"-0", b"-0.0", b"1", b"-1", b"5", b"5.000000001", b"20", b"90", b"90.5", b"180", b"1000"),
    *(b"1000.1", b"-1000", b"-1001", b"1e9", b"1e9.1", b"1000000001", b"1e-400", b"4.9e-324"),
    *(b"1.7976931348623157e308", b"1e999", b"-1e999", b"9007199254740993", b"9223372036854775808"),
    *(b"18446744073709551616", b"NaN", b"Infinity", b"-Infinity", b"nan", b"01", b"1.", b".5", b"+1", b"1e"),
    *(b"0x10", b"1_000", b"-", b"9" * 400, b"0." + b"3" * 400),
]  # fmt: skip
TIMES = _quoted(
    "2026-05-04T10:00:00Z", "2026-05-04T10:00:00+03:00", "2026-05-04t10:00:00.123456z", "2026-05-04T10:00:00",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "1969-12-31T23:59:59.9999Z",
    "9999-12-31T23:59:59.9999999Z", "2016-12-31T23:59:60Z", "2024-02-29T00:00:00Z", "2026-02-29T00:00:00Z",
    "2026-05-04T24:00:00Z", "2026-05-04T10:00:00+24:00", "2026-05-04T10:00:00-00:00", "2026-05-04",
    "2026-05-04T10:00:00.1234567890123456789Z", "0000-01-01T00:00:00Z", "1777888999", "soon",
    "2026-05-04 10:00:00Z",
)  # fmt: skip
STRINGS = [
    *_quoted("", "x", "x" * 200, "x" * 201, "ä" * 200, "\N{GRINNING FACE}", f"{SECRET} - at `$.time`"),
    *_quoted(f"{SECRET} missing required field", f"Invalid enum value '{SECRET}'", f", got `{SECRET}`"),
    *_quoted(r"\ud800", r"\udc00\ud800", r"\ud83d\ude00", r"\u0000", r"\u00", r"\x", r"\/\b\f\n", "\\", "\t"),
    *_quoted("ann@example.com", "+358 40 123 4567", "00358401234567", "040\u2013123\u00a04567"),
    *_quoted("4711", "123 4567", "@", "a@b.c", "١٢٣ ٤٥٦٧", "none", "other", "1.0", "bm8=", "e30=", "*"),
    *(b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc3', b'"'),
]  # fmt: skip
WORDS = [b"true", b"false", b"null", b"True", b"nul"]
NESTED = [
    b"[]", b"{}", b"[[]]", b'{"a":{"a":1}}', b"[" * 1200, b"[" * 1200 + b"]" * 1200, b'{"a":' * 700,
    b'{"score":' * 400, b'{"data":' * 500 + b"1" + b"}" * 500, b"[1,2,", b"[" * 99 + b"]" * 99,
]  # fmt: skip
ANYTHING = [*NUMBERS, *TIMES, *STRINGS, *WORDS, *NESTED]

PROMISES = [
    b'{"id":"p","kind":"delivery_window","due_from":null,"due":"2026-05-05T10:00:00Z","kept":true}',
    b'{"id":"p","kind":"call_back","kept":false}',
]
SCORES = [b'{"kind":"nps","value":7}', b'{"kind":"csat","value":3.5}', b'{"kind":"ces","value":0}']
FIELDS: dict[str, list[bytes]] = {
    **dict.fromkeys(("id", "journey_id", "case_id", "customer_ref", "encounter_id"), STRINGS),
    **dict.fromkeys(("time", "due", "due_from"), TIMES),
    **dict.fromkeys(("duration_s", "wait_s", "system_wait_s", "value"), NUMBERS),
    **dict.fromkeys(("internal_ok", "kept"), WORDS),
    "stage": _quoted(*(stage.name for stage in JOURNEY.stages), "moon_base"),
    "outcome": _quoted(*_stage_values("outcomes"), "queued", "started", "OK"),
    "partner": _quoted(*_stage_values("partners"), "none", "other"),
    "reason": _quoted(*_stage_values("reasons"), "unspecified"),
    "segment": _quoted(*JOURNEY.segments, "other"),
    "channel": _quoted(*JOURNEY.channels),
    **dict.fromkeys(("touchpoint", "location", "from", "to", "from_"), STRINGS),
    "kind": _quoted("nps", "csat", "ces", "stars", "delivery_window", "call_back"),
    "initiator": _quoted("company", "customer", "robot"),
    "score": SCORES,
    "promise": PROMISES,
    "handoff": [b'{"id":"h","from":"web","to":"warehouse"}', b'{"id":"h","to":"web"}'],
    "specversion": [b'"1.0"', b'"0.3"', b"1"],
    "data": [b'{"stage":"store","outcome":"ok"}', b"null"],
    "data_base64": _quoted(base64.b64encode(b'{"stage":"store","outcome":"ok"}').decode(), "e30", "", "é"),
    "attributes": NESTED,
}
KEYS = list(FIELDS)

HEADERS: list[Header] = [
    ("content-type", b"application/cloudevents+json"),
    ("Content-Type", b"application/cloudevents+json; charset=utf-8"),
    ("content-type", b"application/cloudevents-batch+json"),
    ("content-type", b"application/json"),
    ("content-type", None),
    ("ce_specversion", b"1.0"),
    ("CE_SpecVersion", None),
    *(
        ("ce_id", id_)
        for id_ in (b"e-2", "ä".encode(), b"", b"\xff", b"x" * 200, b"x" * 201, SECRET.encode(), None)
    ),
    *(("ce_time", time.strip(b'"')) for time in TIMES),
    *(("ce_time", time) for time in (b"", b"\xff", b"2026-05-04T10:00:00Z\x00", SECRET.encode(), None)),
    ("ce_type", b"touchpoint"),
    ("traceparent", b"00-ab"),
]


def mutate(record: bytes, max_size: int, seed: int) -> bytes:
    """One record like the given one, at most `max_size` long."""
    random = Random(seed)
    value, headers = read(record)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
        chance = random.random()
        if chance < 0.12:
            _change_headers(random, headers)
        elif chance < 0.2:
            value = random.choice(FRAMINGS)(value)
        elif chance < 0.25:
            value = _change_bytes(random, value)
        else:
            tokens = TOKEN.findall(value)
            random.choice(CHANGES)(random, tokens)
            value = b"".join(tokens)
    return write(value, headers)[:max_size]


def _change_headers(random: Random, headers: list[Header]) -> None:
    chance = random.random()
    if headers and chance < 0.3:
        del headers[random.randrange(len(headers))]
    elif headers and chance < 0.6:
        headers[random.randrange(len(headers))] = random.choice(HEADERS)
    else:
        headers.insert(random.randint(0, len(headers)), random.choice(HEADERS))


def _change_bytes(random: Random, value: bytes) -> bytes:
    at = random.randint(0, len(value))
    chance = random.randrange(4)
    if chance == 0:
        return value[:at]
    if chance == 1:
        return value[:at] + value[at + random.randint(1, 30) :]
    return value[:at] + random.randbytes(random.randint(1, 4)) + value[at + chance - 2 :]


def _enveloped(value: bytes) -> bytes:
    return b'{"specversion":"1.0","id":"e-3","time":"2026-05-04T10:00:00Z","data":' + value + b"}"


def _in_base64(value: bytes) -> bytes:
    return b'{"specversion":"1.0","id":"e-3","data_base64":"' + base64.b64encode(value) + b'"}'


def _prefixed(value: bytes) -> bytes:
    return PREFIX + value


def _bare(value: bytes) -> bytes:
    return value[5:] if value[:1] == b"\x00" else value.partition(b'"data":')[2][:-1] or value


FRAMINGS: list[Callable[[bytes], bytes]] = [_enveloped, _in_base64, _prefixed, _bare, _bare]


def _member(random: Random) -> bytes:
    key = random.choice(KEYS)
    value = random.choice(FIELDS[key]) if random.random() < 0.85 else random.choice(ANYTHING)
    return f'"{key}":'.encode() + value


def _a_field(random: Random, tokens: Tokens) -> tuple[str, int] | None:
    """The name of a field at hand and where its value stands."""
    colons = [i for i, token in enumerate(tokens) if token == b":" and 0 < i < len(tokens) - 1]
    if not colons:
        return None
    colon = random.choice(colons)
    at = colon + 1 + (tokens[colon + 1].isspace() and colon + 2 < len(tokens))
    return tokens[colon - 1].strip(b'"').decode("latin-1"), at


def _value_of_its_kind(random: Random, tokens: Tokens) -> None:
    field = _a_field(random, tokens)
    if field is not None:
        tokens[field[1]] = random.choice(FIELDS.get(field[0], ANYTHING))


def _any_value(random: Random, tokens: Tokens) -> None:
    field = _a_field(random, tokens)
    if field is not None:
        tokens[field[1]] = random.choice(ANYTHING)


def _one_more_member(random: Random, tokens: Tokens) -> None:
    at = [i for i, token in enumerate(tokens) if token == b"{"]
    if at:
        tokens.insert(random.choice(at) + 1, _member(random) + b",")


def _one_more_at_the_end(random: Random, tokens: Tokens) -> None:
    at = [i for i, token in enumerate(tokens) if token == b"}"]
    if at:
        tokens.insert(random.choice(at), b"," + _member(random))


def _another_key(random: Random, tokens: Tokens) -> None:
    at = [i - 1 for i, token in enumerate(tokens) if token == b":" and i]
    if at:
        tokens[random.choice(at)] = f'"{random.choice(KEYS)}"'.encode()


def _without_member(random: Random, tokens: Tokens) -> None:
    field = _a_field(random, tokens)
    if field is None:
        return
    end = field[1] + 1
    while end < len(tokens) and tokens[end] not in (b",", b"}"):
        end += 1
    start = field[1]
    while start and tokens[start - 1] not in (b",", b"{"):
        start -= 1
    del tokens[start : end + (end < len(tokens) and tokens[end] == b",")]


def _swapped(random: Random, tokens: Tokens) -> None:
    at = [i for i, token in enumerate(tokens) if SCALAR.match(token)]
    if at:
        one, other = random.choice(at), random.choice(at)
        tokens[one], tokens[other] = tokens[other], tokens[one]


def _without_token(random: Random, tokens: Tokens) -> None:
    if tokens:
        del tokens[random.randrange(len(tokens))]


def _token_twice(random: Random, tokens: Tokens) -> None:
    if tokens:
        at = random.randrange(len(tokens))
        tokens.insert(at, tokens[at])


def _wrapped(random: Random, tokens: Tokens) -> None:
    if tokens:
        at = random.randrange(len(tokens))
        opened, closed = random.choice(((b"[", b"]"), (b'{"score":', b"}"), (b'"', b'"')))
        tokens[at] = opened + tokens[at] + closed


def _inside_a_token(random: Random, tokens: Tokens) -> None:
    at = [i for i, token in enumerate(tokens) if SCALAR.match(token)]
    if at:
        where = random.choice(at)
        token = tokens[where]
        cut = random.randint(0, len(token))
        piece = random.choice((random.choice(STRINGS)[1:-1], b"%d" % random.randrange(100), b"-", b":", b"e"))
        tokens[where] = token[:cut] + piece + token[cut + random.randrange(3) :]


CHANGES: list[Callable[[Random, Tokens], None]] = [
    *[_value_of_its_kind] * 6,
    *[_one_more_member] * 3,
    *[_inside_a_token] * 3,
    *[_any_value] * 2,
    *[_one_more_at_the_end] * 2,
    *[_another_key] * 2,
    *[_without_member] * 2,
    _swapped,
    _without_token,
    _token_twice,
    _wrapped,
]
