"""What is published about events: AsyncAPI's own parser reads it, and workers take what it takes."""

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.counting.event import Codec, Refused
from monitor.generate.asyncapi import EVENT_FORMS, asyncapi
from monitor.generate.files import rendered
from monitor.generate.schemas import event_schema
from monitor.journey_file.model import Journey
from streams.demo.simulator import Simulator
from tests.kit.npm import CACHE, installed, run
from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED as JOURNEY

CODECS = {stage.name: Codec(JOURNEY, stage) for stage in JOURNEY.stages}
VALIDATOR = jsonschema.Draft202012Validator(event_schema(JOURNEY))
EVENTS = [
    json.loads(next(one).value)
    for one in [Simulator(JOURNEY, seed=1, start_ms=1_800_000_000_000, compress=5000).events()]
    for _ in range(200)
]

TIMES = [
    "2026-11-21T21:00:00Z",
    "2026-12-31t23:59:60z",
    "2026-01-02T03:04:05+0000",
    "2026-01-02T03:04:05,5Z",
    "2026-01-02T03:04Z",
    "20260102T030405Z",
    "2026-01-02T03:04:05",
    "1970-01-01T00:00:00Z",
    "1971-01-01T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-02T24:00:00Z",
    "2026-01-02T03:04:05+24:00",
    "1969-12-31T23:59:59Z",
    "9998-12-31T23:59:59-05:00",
    "9999-12-31T23:59:59-05:00",
    "0001-01-01T00:00:00+02:00",
    "2026-11-21 21:00:00.123456+02:00",
]
REFERENCES = [
    "ann@example.com",
    "Ann <ann@example.com>",
    "c-8f3a",
    "0000100234",
    "4711-0815-42",
    "+358 40 123 4567",
    "+12345",
    "(09) 1234567",
    "00358401234567",
    "00 1 212 555 0100",
    "0011234567890",
    " +358401234567\n",
    "(a) 1234567",
    "00\u2011358\u00a0401234567",
    "\u0660\u0660358401234567",
    "+\u0663\u0665\u0668401234567",
]


def changed(texts: list[str], alphabet: str) -> st.SearchStrategy[str]:
    """Texts with one character put in, or in the place of another."""

    def change(text: str, at: int, piece: str, gone: int) -> str:
        at %= len(text) + 1
        return text[:at] + piece + text[at + gone :]

    pieces = st.sampled_from(["", *alphabet])
    return st.builds(change, st.sampled_from(texts), st.integers(0, 40), pieces, st.integers(0, 1))


TIME = changed(TIMES, "0123456789TtZz:-+. ,\n").filter(lambda text: not re.search(r"-02-29", text))
"""Only a calendar knows which years have a 29 February."""

REFERENCE = changed(REFERENCES, "0123456789@+()- .aé\u2013\n")
ANY = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=210), st.just("x" * 201), st.just("é" * 200), TIME,
    st.lists(st.integers(), max_size=2), st.dictionaries(st.just("id"), st.just("y"), max_size=1),
)  # fmt: skip
SCORE = st.fixed_dictionaries(
    {"kind": st.sampled_from(["nps", "csat", "ces", "x"]), "value": st.integers(-2, 12) | ANY},
    optional={"x": ANY},
)
PROMISE = st.fixed_dictionaries(
    {"id": st.just("p") | ANY, "kind": st.just("call") | ANY},
    optional={"due": TIME | ANY, "due_from": TIME | ANY, "kept": ANY},
)
HANDOFF = st.fixed_dictionaries({"id": st.just("h")}, optional={"from": st.just("a") | ANY, "to": ANY})
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "time": TIME, "customer_ref": REFERENCE, "score": SCORE, "promise": PROMISE, "handoff": HANDOFF,
    "stage": st.sampled_from([*CODECS]), "outcome": st.sampled_from(["ok", "wow", "failed", "given"]),
}  # fmt: skip
FIELDS = sorted({*VALIDATOR.schema["properties"], "journeyId"})
CHANGES = st.dictionaries(st.sampled_from(FIELDS), st.just(None), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: LIKELY.get(name, ANY) | ANY for name in names})
)


@given(st.sampled_from(EVENTS), CHANGES, st.sets(st.sampled_from(FIELDS), max_size=1))
@example(EVENTS[0], {"attributes": "a text"}, set())
@example(EVENTS[0], {"time": "2026-11-21 21:00:00+0000"}, set())
@example(EVENTS[0], {"customer_ref": "ann@example.com"}, set())
@example(EVENTS[0], {"score": {"kind": "nps", "value": 11}}, set())
@example(EVENTS[0], {"promise": {"id": "p", "kind": "call", "due": "0001-01-01T00:00:00+02:00"}}, set())
def test_workers_take_what_the_schema_takes(
    event: dict[str, Any], changes: dict[str, Any], gone: set[str]
) -> None:
    """Whatever is in its fields; an event's age, which only the clock tells, is asked later."""
    told = {key: value for key, value in (event | changes).items() if key not in gone}
    stage = told.get("stage")
    codec = CODECS.get(stage if isinstance(stage, str) else "", CODECS["store"])
    found = codec.decode(msgspec.json.encode(told))
    assert VALIDATOR.is_valid(told) != isinstance(found, Refused), (told, found)


def parsed(document: str) -> list[list[Any]]:
    """What AsyncAPI's parser has to say, but for hints."""
    modules = installed(ROOT / "tests" / "asyncapi")
    said = json.loads(run(["node", str(ROOT / "tests/asyncapi/parse.cjs"), str(modules)], CACHE, document))
    return [one for one in said if one[0] < 2]


STAGE = JOURNEY.stages[0]


@pytest.mark.full
@pytest.mark.parametrize(
    "journey",
    [
        JOURNEY,
        replace(JOURNEY, journeys=None),
        replace(JOURNEY, stages=tuple(replace(STAGE, name=f"s{i}", topic=f"s{i}.v1") for i in range(40))),
    ],
    ids=["shipped", "no journeys", "40 stages"],
)
def test_asyncapi_is_valid(journey: Journey) -> None:
    """Every reference leads somewhere, every example fits its message."""
    assert parsed(yaml.safe_dump(asyncapi(journey))) == []


@pytest.mark.full
def test_what_is_wrong_with_asyncapi_is_seen() -> None:
    """A reference that leads nowhere."""
    text = rendered(JOURNEY)["deploy/schema/asyncapi.yaml"]
    assert parsed(text.replace("components/schemas/Score", "$defs/Score"))


def test_workers_take_the_examples() -> None:
    """All three forms of an event."""
    messages = asyncapi(JOURNEY)["components"]["messages"]
    for form in EVENT_FORMS:
        (one,) = messages[form]["examples"]
        headers = [(name, value.encode()) for name, value in one.get("headers", {}).items()]
        event = CODECS[STAGE.name].decode(msgspec.json.encode(one["payload"]), headers)
        assert not isinstance(event, Refused), event
        assert (event.id, event.journey_id) == ("order-1001-paid", "order-1001")
