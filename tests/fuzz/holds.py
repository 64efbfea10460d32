"""Any record gives an event within its documented bounds or one named refusal; nothing raises.

Beyond that: decoding twice is the same twice, but for personal data if the setting lets it pass; a schema
prefix and a foreign header change nothing, no refusal quotes the data, and an accepted event counts under
names of the closed key space only, whatever was judged before it.
"""

from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

import monitor.counting.event
from monitor.counting.event import YEARS_MS, Codec, Event, Reason, Refused, refuse_personal_data
from monitor.counting.judging import Judge, counter_names
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey, Stage
from streams.settings import SHIPPED_JOURNEY
from tests.fuzz.record import read

NOW_MS = 1_777_888_999_123

SECRET = "hunter2"  # noqa: S105 - a word the mutations write into records, never into a refusal
LONGEST_ERROR = 300

PREFIX = b"\x00\x00\x00\x00\x07"

JOURNEY = parse(
    SHIPPED_JOURNEY.read_text()
    # One stage whose experiences look at every field that the shipped ones leave out.
    + """
  repair:
    kind: background
    owner: workshop
    dedupe_s: 600
    partners: [postnord]
    reasons: [damaged]
    outcomes: [returned]
    experiences:
      by_us: {judges: {initiator: [company], channel: [web, app], score.kind: [ces]},
              ignores: {outcome: [returned]},
              good: {internal_ok: true, system_wait_s: {at_most: 5}}, target: 0.9}
      as_agreed: {judges: {promise.kind: [call_back], segment: [new]}, ignores: {promise.kept: false},
                  good: {score.value: {at_least: 0, at_most: 10}, partner: [postnord]}, target: 0.9}
"""
)

_said = attrgetter("counters", "spread", "judged", "bad_for")


class Reader:
    """One stage's codec with and without the refusal of personal data, its judge, and one without a memo."""

    def __init__(self, journey: Journey, stage: Stage) -> None:
        self.stage = stage
        self.strict = Codec(journey, stage)
        self.lenient = Codec(journey, stage, refuse_personal_data=False)
        self.judge, self.afresh = Judge(journey, stage), Judge(journey, stage)
        self.names = frozenset(counter_names(journey, stage))
        self.experiences = {experience.name for experience in stage.experiences}


class Outcome(NamedTuple):
    """What a record came to, once everything held."""

    result: Event | Refused
    stage: str
    counters: tuple[str, ...]


def holds(record: bytes, readers: list[Reader]) -> Outcome:
    """Read the record as its own stage does, and see that every promise of the codec is kept."""
    value, headers = read(record)
    for reader in readers:
        result = reader.strict.decode(value, headers)
        if isinstance(result, Event) or result.reason is not Reason.WRONG_TOPIC:
            break
        _check_refusal(result)
    else:
        raise AssertionError("every stage says that the event belongs to another")
    if value and value[0] != 0 and len(PREFIX + value) <= monitor.counting.event.MAX_BYTES:
        framed = reader.strict.decode(PREFIX + value, [*headers, ("traceparent", None)])
        assert _is_same(framed, result), "a schema prefix or a foreign header matters"
    lenient = reader.lenient.decode(value, headers)
    if isinstance(result, Refused):
        _check_refusal(result)
        if result.reason is not Reason.PERSONAL_DATA:
            assert lenient == result, "decoding twice differs, or the setting changes more than it is for"
        else:
            assert isinstance(lenient, Event)
            assert "customer_ref" in result.error
            if lenient.outcome in reader.stage.openings:
                assert lenient.customer_ref is None, "what begins keeps who it is for"
            else:
                assert lenient.customer_ref is not None
                assert refuse_personal_data(lenient.customer_ref) == result
    else:
        assert lenient == result, "decoding twice differs, or what is strictly accepted is not accepted"
        assert result.customer_ref is None or refuse_personal_data(result.customer_ref) is None
    counters: tuple[str, ...] = ()
    if isinstance(lenient, Event):
        _check_event(lenient, reader.stage)
        _check_time(lenient, reader.strict)
        counters = _checked_counters(lenient, reader)
    return Outcome(result, reader.stage.name, counters)


def readers() -> list[Reader]:
    """One for each stage."""
    return [Reader(JOURNEY, stage) for stage in JOURNEY.stages]


def _is_same(framed: Event | Refused, plain: Event | Refused) -> bool:
    """A refusal may name the schema; headers are read one frame further down, which counts as nesting."""
    if isinstance(framed, Refused) and isinstance(plain, Refused):
        return framed.reason == plain.reason
    return framed == plain or (isinstance(framed, Refused) and framed.error.startswith("RecursionError"))


def _check_refusal(refused: Refused) -> None:
    assert isinstance(refused, Refused), f"{type(refused)} is neither event nor refusal"
    assert isinstance(refused.reason, Reason)
    assert refused.error.isprintable()
    assert 0 < len(refused.error) <= LONGEST_ERROR
    assert SECRET not in refused.error, "a refusal quotes the data"


def _check_event(event: Event, stage: Stage) -> None:
    assert event.stage == stage.name
    assert event.outcome in (*stage.outcomes, *stage.openings)
    assert event.id is not None
    assert event.time is not None
    promise, handoff, score = event.promise, event.handoff, event.score
    ids = [event.id, event.journey_id, event.case_id, event.customer_ref, event.encounter_id]
    texts = [event.segment, event.channel, event.touchpoint, event.partner, event.location, event.reason]
    times = [event.time]
    if promise is not None:
        ids.append(promise.id)
        texts.append(promise.kind)
        times += [time for time in (promise.due_from, promise.due) if time is not None]
        assert promise.kept is None or type(promise.kept) is bool
    if handoff is not None:
        ids.append(handoff.id)
        texts += [handoff.from_, handoff.to]
    if score is not None:
        assert score.kind in ("nps", "csat", "ces")
        assert type(score.value) is float
        assert -1000 <= score.value <= 1000
    for text in (*ids, *texts):
        assert text is None or type(text) is str
        assert text is None or text.encode() is not None, "half a surrogate pair breaks every output"
    for id_ in ids:
        assert id_ is None or 1 <= len(id_) <= 200
    for time in times:
        assert type(time) is datetime
        assert time.utcoffset() is not None
    for seconds in (event.duration_s, event.wait_s, event.system_wait_s):
        assert seconds is None or (type(seconds) is float and 0 <= seconds <= 1e9)
    assert event.internal_ok is None or type(event.internal_ok) is bool
    assert event.initiator in (None, "company", "customer")


def _check_time(event: Event, codec: Codec) -> None:
    at_ms = event.at_ms
    assert type(at_ms) is int
    earliest_ms, latest_ms = codec.accepted_ms(NOW_MS)
    refused = codec.refuse_time(at_ms, NOW_MS)
    if refused is None:
        assert earliest_ms <= at_ms <= latest_ms
    else:
        _check_refusal(refused)
        far = Reason.IN_FUTURE if at_ms > latest_ms else Reason.TOO_OLD
        assert refused.reason is (far if at_ms in YEARS_MS else Reason.BAD_TIME)
    assert codec.refuse_time(at_ms, at_ms) is None, "an event of this very moment is refused"


def _checked_counters(event: Event, reader: Reader) -> tuple[str, ...]:
    verdict = reader.judge.judge(event)
    counters = (*verdict.counters, *verdict.spread)
    assert reader.names.issuperset(counters), "a counter outside the closed key space"
    assert reader.experiences.issuperset(verdict.bad_for)
    assert len(verdict.bad_for) <= verdict.judged <= len(reader.experiences)
    assert len(set(counters)) == len(counters), "counted twice"
    reader.afresh._memo.clear()
    assert _said(verdict) == _said(reader.afresh.judge(event)), "the memo changes the verdict"
    return verdict.counters
