"""The simulator repeats itself exactly, is healthy unless told otherwise, and fits any journey file."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from itertools import islice, pairwise, takewhile
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting.event import Codec, Event
from monitor.journey_file.grammar import BOOLEAN_FIELDS, CONDITION_FIELDS, NUMBER_FIELDS, parse
from monitor.journey_file.model import OUTCOMES, Condition, Experience, Journey
from streams.demo.faults import KINDS, Fault
from streams.demo.simulator import SimulatedEvent, Simulator
from streams.demo.story import BETWEEN_STAGES, CHAIN
from tests.kit.journey_truth import Truth
from tests.kit.shipped import SHIPPED as CHAIR

NOON_MS = int(datetime(2026, 3, 4, 10, 0, tzinfo=UTC).timestamp() * 1000)  # a Wednesday in Helsinki
MINUTE_MS = 60_000

FOREIGN = parse("""
version: 1
journey: clinic
timezone: Asia/Kathmandu
segments: [adult, child]
channels: [desk, chat]
partners: [lab_one]
stages:
  reception:
    kind: customer
    owner: desk
    outcomes: [referred]
    reasons: [no_papers]
    locations: [east, west]
    expects: {per_hour: 7200, by_hour: [0,0,0,0,0,0,0,0,1,2,3,4,4,3,2,1,1,1,0,0,0,0,0,0]}
    experiences:
      sorted_out:
        judges: {outcome: [ok, referred, failed], touchpoint: [desk, kiosk]}
        good: {outcome: [ok, referred]}
        target: 0.9
        targets: {child: 0.99}
      steady_pace:
        judges: {touchpoint: [desk]}
        good: {wait_s: {at_least: 5, at_most: 60}}
        target: 0.8
      polite: {judges: {}, good: {score.value: {at_least: 6}, initiator: [company]}, target: 0.7}
  laboratory:
    kind: partner
    owner: lab
    partners: [lab_one]
    expects: {per_hour: 3600}
    experiences:
      result_promised: {judges: {promise.kind: [result]}, good: {promise.kept: true}, target: 0.95}
      smooth: {judges: {partner: [lab_one]}, good: {internal_ok: true, channel: [chat]}, target: 0.9}
  delivery:
    kind: customer
    owner: ward
    experiences:
      easy: {judges: {score.kind: [ces]}, good: {score.value: {at_most: 3}}, target: 0.75}
      unhurried: {judges: {outcome: [ok]}, good: {duration_s: {at_least: 300}}, target: 0.6}
""")


FROZEN = parse("""
version: 1
journey: frozen
segments: [business, new]
channels: [web, app, phone]
partners: [postnord]
stages:
  web_checkout:
    kind: customer
    owner: web
    expects: {per_hour: 36000}
    experiences: {done: {judges: {outcome: [ok, failed]}, good: {outcome: [ok]}, target: 0.95}}
  call_queue:
    kind: customer
    owner: calls
    reasons: [queue_too_long]
    expects: {per_hour: 9000}
    experiences: {soon: {judges: {outcome: [ok, abandoned]}, good: {wait_s: {at_most: 20}}, target: 0.8}}
  warehouse:
    kind: background
    owner: stock
    expects: {per_hour: 30000}
    experiences: {packed: {judges: {outcome: [ok, failed]}, good: {outcome: [ok]}, target: 0.98}}
  delivery:
    kind: partner
    owner: stock
    partners: [postnord]
    reasons: [late]
    expects: {per_hour: 28000}
    experiences:
      kept: {judges: {promise.kind: [delivery_window]}, good: {promise.kept: true}, target: 0.92}
  feedback:
    kind: feedback
    owner: insight
    outcomes: [asked, followed_up]
    expects: {per_hour: 6000}
    experiences: {nps: {judges: {score.kind: [nps]}, good: {score.value: {at_least: 7}}, target: 0.85}}
""")


def simulate(
    journey: Journey = CHAIR, minutes: float = 20, seed: int = 1, compress: float = 5000, **more: Any
) -> list[SimulatedEvent]:
    """The first minutes of a simulation that starts on a weekday at noon."""
    simulator = Simulator(journey, seed=seed, start_ms=NOON_MS, compress=compress, **more)
    return _until(minutes, simulator.events())


def _until(minutes: float, events: Iterable[SimulatedEvent]) -> list[SimulatedEvent]:
    end_ms = NOON_MS + minutes * MINUTE_MS
    return list(takewhile(lambda event: event.at_ms < end_ms, events))


@cache
def _longest() -> list[SimulatedEvent]:
    return simulate(minutes=25)


def sound(minutes: float = 20) -> list[SimulatedEvent]:
    """The same of the chair journey without a fault, simulated once for all tests."""
    return _until(minutes, _longest())


def value_of(event: dict[str, Any], field: str) -> Any:
    """A field of an event, as the journey file names it."""
    head, _, tail = field.partition(".")
    return event.get(head, {}).get(tail) if tail else event.get(head)


def holds(event: dict[str, Any], condition: Condition) -> bool | None:
    """One condition, undecided when its field is absent."""
    value = value_of(event, condition.field)
    if value is None:
        return None
    return (
        (condition.one_of is None or value in condition.one_of)
        and (condition.is_true is None or value is condition.is_true)
        and (condition.at_most is None or value <= condition.at_most)
        and (condition.at_least is None or value >= condition.at_least)
    )


def judge(event: dict[str, Any], experience: Experience) -> bool | None:
    """Good, bad, or not judged; written from the words of `monitor.journey` alone."""
    verdicts = [holds(event, condition) for condition in experience.good]
    ignored = experience.ignores and all(holds(event, condition) for condition in experience.ignores)
    if ignored or None in verdicts or not all(holds(event, c) for c in experience.judges):
        return None
    return all(verdicts)


def quality(
    events: Iterable[SimulatedEvent], journey: Journey = CHAIR
) -> dict[tuple[str, str, str], tuple[float, float, int]]:
    """(Stage, experience, segment) -> share that is good, target, number judged; "" is all segments."""
    verdicts: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    targets = {}
    for record in events:
        event = orjson.loads(record.value)
        for experience in journey.stage(event["stage"]).experiences:
            verdict = judge(event, experience)
            if verdict is not None:
                for segment in {"", event.get("segment", "")}:
                    key = (event["stage"], experience.name, segment)
                    targets[key] = float(experience.target_for(segment))
                    verdicts[key].append(verdict)
    return {key: (sum(found) / len(found), targets[key], len(found)) for key, found in verdicts.items()}


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def healthy() -> list[SimulatedEvent]:
    """Twenty minutes without a fault."""
    return sound()


def test_same_seed_same_bytes() -> None:
    """The same arguments give the same records, byte for byte."""
    assert simulate(minutes=2, seed=7) == simulate(minutes=2, seed=7)


def test_a_seed_gives_these_very_bytes_for_ever() -> None:
    """A recorded run can be made again: of a journey file that stays as it is, every byte does too."""
    faults = (Fault("courier-late", 0.6, 60.0, None), Fault("call-queue-flood", 0.6, 90.0, None))
    digest = sha256()
    for faulty in ((), faults):
        simulator = Simulator(FROZEN, seed=7, start_ms=NOON_MS, compress=5000, faults=faulty)
        for event in islice(simulator.events(), 10_000):
            digest.update(repr(event).encode())
    assert digest.hexdigest() == "fcd987aadf9b870b137e250e948d3aa2ec2b3c01d3f7ac930b442a6fc18d62dc"


def test_other_seed_other_events_and_ids() -> None:
    """Another seed, or another start, gives other events, and no id twice."""
    one, two = simulate(minutes=1, seed=7), simulate(minutes=1, seed=8)
    later = Simulator(CHAIR, seed=7, start_ms=NOON_MS + 1, compress=5000)
    three = list(islice(later.events(), len(one)))
    ids = [orjson.loads(event.value)["id"] for event in one + two + three]
    assert len(set(ids)) == len(ids)


def test_a_fault_changes_nothing_before_it_begins() -> None:
    """Until a fault begins the stream is the healthy one, so a comparison shows the fault alone."""
    begins_ms = NOON_MS + 3 * MINUTE_MS
    fault = Fault("courier-late", 1.0, 60.0, None)
    faulty = simulate(minutes=4, faults=[fault], live_ms=begins_ms - MINUTE_MS)
    assert faulty != sound(4)
    assert [e for e in faulty if e.at_ms < begins_ms] == [e for e in sound(4) if e.at_ms < begins_ms]


def test_in_order_of_time(healthy: list[SimulatedEvent]) -> None:
    """Events come in order of their time, which is the time they carry, from the start on."""
    assert all(one.at_ms <= two.at_ms for one, two in pairwise(healthy))
    assert healthy[0].at_ms >= NOON_MS
    for event in healthy[::97]:
        time = orjson.loads(event.value)["time"]
        assert datetime.fromisoformat(time) == datetime.fromtimestamp(event.at_ms / 1000, UTC)


@pytest.mark.parametrize("journey", [CHAIR, FOREIGN], ids=["chair", "foreign"])
def test_every_event_decodes(journey: Journey) -> None:
    """Every record is accepted by the codec of its topic and uses names the journey file declares."""
    codecs = {stage.topic: (stage, Codec(journey, stage)) for stage in journey.stages}
    seen = Counter[str]()
    for record in simulate(journey, minutes=4):
        stage, codec = codecs[record.topic]
        event = codec.decode(record.value)
        assert isinstance(event, Event), event
        seen[stage.name] += 1
        assert record.key
        assert event.at_ms == record.at_ms
        assert event.segment in (None, *journey.segments)
        assert event.partner in (None, *stage.partners)
        assert event.location in (None, *stage.locations)
        assert event.reason in (None, *stage.reasons)
        assert event.channel in (None, *journey.channels)
    assert set(seen) == {stage.name for stage in journey.stages}


@pytest.mark.parametrize("journey", [CHAIR, FOREIGN], ids=["chair", "foreign"])
def test_healthy_quality_is_above_every_target(journey: Journey) -> None:
    """Without faults each experience, and each segment of it, is well above its exact target."""
    found = quality(sound() if journey is CHAIR else simulate(journey), journey)
    assert {key[:2] for key in found} == {(s.name, e.name) for s in journey.stages for e in s.experiences}
    for key, (share, target, judged) in found.items():
        assert judged >= 100, key
        room = (1 - target) / 4 if not key[2] else 0.0  # segments are few: chance takes more room
        assert share > target + room, (key, share, target, judged)


def test_volume_is_about_what_the_stages_expect(healthy: list[SimulatedEvent]) -> None:
    """Each stage gets about its expected events an hour, times the weight of the hour."""
    late = [event for event in healthy if event.at_ms >= NOON_MS + 5 * MINUTE_MS]
    told = [orjson.loads(event.value) for event in late]
    counts = Counter(event["stage"] for event in told if event["outcome"] != "queued")
    store = counts["store"] / 9000
    for stage in CHAIR.stages:
        assert stage.per_hour is not None
        assert counts[stage.name] / stage.per_hour == pytest.approx(store, rel=0.15), stage.name


def test_rate_multiplies_arrivals() -> None:
    """Half the rate gives about half the events."""
    full, half = len(sound(5)), len(simulate(minutes=5, rate=0.5))
    assert half / full == pytest.approx(0.5, rel=0.1)


def test_nights_are_quiet_but_alive() -> None:
    """At three in the morning fewer customers come, but some do."""
    night_ms = NOON_MS - 9 * 60 * MINUTE_MS
    simulator = Simulator(CHAIR, seed=1, start_ms=night_ms, compress=5000)
    night = sum(1 for _ in takewhile(lambda e: e.at_ms < night_ms + 5 * MINUTE_MS, simulator.events()))
    assert 0.2 < night / len(sound(5)) < 0.4


def test_opening_hours_of_the_file_are_kept() -> None:
    """A stage whose hours the file gives has no arrivals in hours of weight 0, in its time zone."""
    start_ms = NOON_MS + 3 * 60 * MINUTE_MS  # 18:45 in Kathmandu, closed until 8
    simulator = Simulator(FOREIGN, seed=1, start_ms=start_ms, rate=0.05)
    receptions = (e for e in simulator.events() if e.topic == "touchpoint.reception.v1")
    opens_ms = start_ms + (13 * 60 + 15) * MINUTE_MS
    assert opens_ms <= next(receptions).at_ms < opens_ms + 60 * MINUTE_MS


def test_journeys_pass_through_the_stages_in_order(healthy: list[SimulatedEvent]) -> None:
    """A journey goes from checkout over warehouse and delivery to feedback, with one customer."""
    steps: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in healthy:
        event = orjson.loads(record.value)
        if "journey_id" in event:
            steps[event["journey_id"]].append(event)
    whole = 0
    for events in steps.values():
        chain = [
            e["stage"]
            for e in events
            if e["stage"] in CHAIN
            and e.get("touchpoint") != "call_ahead"
            and e["outcome"] not in ("asked", "followed_up")
        ]
        assert tuple(chain) == CHAIN[: len(chain)]
        whole += len(chain) == len(CHAIN)
        assert len({e["customer_ref"] for e in events}) == 1
        assert len({e.get("segment") for e in events}) == 1
        promised = [e["promise"] for e in events if e.get("promise", {}).get("kind") == "delivery_window"]
        for made, kept in pairwise(promised):
            assert made | {"kept": kept["kept"]} == kept
        handed = {e["handoff"]["id"] for e in events if "handoff" in e}
        assert len(handed) <= 1
        for e in events:
            if e.get("touchpoint") == "doorstep" and e.get("reason") != "lost":
                assert e["promise"]["kept"] is (e["promise"]["due_from"] <= e["time"] <= e["promise"]["due"])
                assert e["partner"] == e["handoff"]["to"]
    assert whole > 300
    stages = {tuple(e["stage"] for e in events) for events in steps.values()}
    assert any("call_queue" in names and "feedback" in names for names in stages)
    assert any(names[:2] == ("store", "web_checkout") for names in stages)


def test_a_lost_parcel_keeps_no_promise_and_reaches_nobody(healthy: list[SimulatedEvent]) -> None:
    """The courier says that it is lost, and no more: whoever waits for it waits on."""
    parcels = [e for e in (orjson.loads(record.value) for record in healthy) if e["stage"] == "delivery"]
    lost = [e for e in parcels if e.get("reason") == "lost"]
    assert len(lost) > 10
    assert {(e["outcome"], "handoff" in e, "promise" in e) for e in lost} == {("failed", False, False)}
    damaged = [e for e in parcels if e.get("reason") == "damaged"]
    assert {("handoff" in e, "promise" in e) for e in damaged} == {(True, True)}


def test_orders_take_days_when_time_is_not_compressed() -> None:
    """At compress 1 packing takes hours and delivery days, as in reality."""
    first: dict[str, int] = {}
    for event in simulate(minutes=60 * 24 * 5, compress=1, rate=0.002):
        first.setdefault(orjson.loads(event.value)["stage"], event.at_ms - NOON_MS)
    hour_ms = 60 * MINUTE_MS
    assert hour_ms < first["warehouse"] < 24 * hour_ms < first["delivery"] < 72 * hour_ms
    assert first["delivery"] + 12 * hour_ms < first["feedback"]


def test_what_went_wrong_or_right_shows_in_the_feedback(healthy: list[SimulatedEvent]) -> None:
    """Late deliveries make detractors; the seller's call about a scratch makes promoters."""
    late, called = set(), set()
    scores: dict[str, list[float]] = defaultdict(list)
    for record in healthy:
        event = orjson.loads(record.value)
        if event.get("promise", {}).get("kept") is False:
            late.add(event["journey_id"])
        if event.get("touchpoint") == "call_back":
            assert (event["initiator"], event["outcome"]) == ("company", "wow")
            called.add(event["journey_id"])
        if "score" in event and event["stage"] == "feedback":
            journey_id = event["journey_id"]
            kind = "called" if journey_id in called else "late" if journey_id in late else "plain"
            scores[kind].append(event["score"]["value"])
    mean = {kind: sum(values) / len(values) for kind, values in scores.items()}
    assert mean["late"] < mean["plain"] - 1 < mean["called"] - 1
    assert sum(value >= 9 for value in scores["called"]) > 0.8 * len(scores["called"])


def test_more_are_asked_than_answer_and_the_unhappy_hear_back() -> None:
    """Who answers was asked before; a third does, most detractors are contacted, no one else is."""
    compress = 5000
    events = sound(25)
    whole_ms = NOON_MS + 24 * MINUTE_MS  # every answer and call to those asked by then has come
    times: dict[str, dict[str, int]] = defaultdict(dict)
    scores: dict[str, int] = {}
    for record in events:
        event = orjson.loads(record.value)
        if event["stage"] == "feedback":
            steps = times[event["journey_id"]]
            assert event["outcome"] not in steps
            assert ("score" in event) == (event["outcome"] == "ok")
            assert event["initiator"] == "company"
            steps[event["outcome"]] = record.at_ms
            if "score" in event:
                scores[event["journey_id"]] = event["score"]["value"]
    settled = {j: steps for j, steps in times.items() if steps["asked"] < whole_ms}
    answered = {j: steps for j, steps in settled.items() if "ok" in steps}
    detractors = {j for j in answered if scores[j] <= 6}
    contacted = {j for j, steps in settled.items() if "followed_up" in steps}
    assert 0.3 < len(answered) / len(settled) < 0.4
    assert contacted <= detractors
    assert 0.65 < len(contacted) / len(detractors) < 0.95
    for steps in answered.values():
        assert steps["asked"] < steps["ok"]
        assert steps.get("followed_up", steps["ok"]) - steps["ok"] <= 48 * 60 * MINUTE_MS / compress


def test_a_survey_of_its_own_asks_too() -> None:
    """Where no order leads to it, a feedback stage that declares `asked` asks; all it says decodes."""
    journey = parse("""
version: 1
journey: clinic
segments: []
stages:
  survey:
    kind: feedback
    owner: ward
    outcomes: [asked]
    expects: {per_hour: 3600}
    experiences:
      easy: {judges: {score.kind: [ces]}, good: {score.value: {at_least: 5}}, target: 0.8}
""")
    events = [orjson.loads(event.value) for event in simulate(journey, minutes=30)]
    outcomes = Counter(event["outcome"] for event in events)
    assert set(outcomes) == {"asked", "ok"}
    assert 0.3 < outcomes["ok"] / outcomes["asked"] < 0.4
    assert all(("score" in event) == (event["outcome"] == "ok") for event in events)


FAULTY = {
    "checkout-payment-failure": {"checkout_completed"},
    "call-queue-flood": {"service_level", "calls_not_abandoned"},
    "courier-late": {"delivered_as_promised", "would_recommend"},  # late chairs make detractors
    "store-understaffed": {"store_wait", "store_served"},
    "warehouse-jam": {"order_packed"},
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_degrades_its_stage_only(name: str) -> None:
    """From its second on, a fault pushes its experiences below target and leaves all others above."""
    fault = Fault(name, 0.6, 0.0, None)
    live_ms = NOON_MS + 4 * MINUTE_MS
    events = simulate(minutes=14, live_ms=live_ms, faults=[fault])
    before = quality(e for e in events if e.at_ms < live_ms)
    after = quality(e for e in events if e.at_ms >= live_ms + 3 * MINUTE_MS)
    assert all(share > target for key, (share, target, _) in before.items() if not key[2])
    below = {key[1] for key, (share, target, _) in after.items() if not key[2] and share < target}
    assert below == FAULTY[name]


def journeys(*faults: Fault) -> Counter[str]:
    """What the journeys begun within two minutes come to, whatever their segment or partner."""
    truth, begun = Truth(CHAIR), set[str]()
    for record in simulate(minutes=6, seed=2, faults=faults):
        journey_id = orjson.loads(record.value).get("journey_id")
        if record.at_ms < NOON_MS + 2 * MINUTE_MS:  # a journey takes at most three
            begun.add(journey_id)
        if journey_id in begun:
            truth.add(record)
    found = Counter[str]()
    for name, n in truth.counters().items():
        parts = name.split("/")
        kept = {"promise": (1, -1), "handoff": (-1,), "labyrinth": ()}
        if parts[0] in kept:
            found["/".join([parts[0], *(parts[i] for i in kept[parts[0]])])] += n
    return found


@pytest.fixture(scope="module")
def healthy_journeys() -> Counter[str]:
    """Journeys without a fault."""
    return journeys()


RAISED = {
    "parcel-lost": {"handoff/lost", "promise/delivery_window/missed"},
    "labyrinth": {"labyrinth"},
    "call-backs-forgotten": {
        "promise/call_back/due", "promise/call_back/missed", "promise/courier_call_ahead/broken",
    },
}  # fmt: skip
"""Fault between the stages -> what there is much more of."""


@pytest.mark.parametrize("name", BETWEEN_STAGES)
def test_a_fault_between_stages_shows_in_journeys(name: str, healthy_journeys: Counter[str]) -> None:
    """What it is about becomes much more frequent; what the other two are about stays as it was."""
    found = journeys(Fault(name, 0.3, 0.0, None))
    for what in {one for raised in RAISED.values() for one in raised}:
        if what in RAISED[name]:
            assert found[what] > 3 * healthy_journeys[what] + 30, what
        else:
            assert found[what] <= 1.3 * healthy_journeys[what] + 10, what
    lost, sent = found["handoff/lost"], found["handoff/sent"]
    assert lost / sent == pytest.approx(0.3 if name == "parcel-lost" else 0, abs=0.06)
    assert (found["handoff/received"], found["promise/delivery_window/missed"]) == (sent - lost, lost)


@pytest.mark.parametrize("name", BETWEEN_STAGES)
def test_a_fault_between_stages_leaves_every_stage_on_target(name: str) -> None:
    """At its usual strength no stage's own numbers tell of it: that is what journeys are kept for."""
    events = simulate(minutes=8, faults=[Fault(name, KINDS[name][0], 0.0, None)])
    found = quality(e for e in events if e.at_ms >= NOON_MS + 3 * MINUTE_MS)
    assert {key for key, (share, target, _) in found.items() if not key[2] and share < target} == set()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_fault_that_ends_leaves_nothing_behind(name: str, healthy: list[SimulatedEvent]) -> None:
    """A minute after its end each stage's events are as many and as good as without it."""
    stage = "store" if name == "stage-silent" else None
    begins_ms, ends_ms = NOON_MS + 3 * MINUTE_MS, NOON_MS + 9 * MINUTE_MS
    events = simulate(minutes=9, faults=[Fault(name, 1.0, 60.0, stage, 60.0)])
    after = [e for e in events if e.at_ms >= begins_ms]
    found = Counter(e.topic for e in after)
    for topic, n in Counter(e.topic for e in healthy if begins_ms <= e.at_ms < ends_ms).items():
        assert abs(found[topic] - n) <= 5 * (found[topic] + n) ** 0.5, topic  # two of Poisson's
    below = {key for key, (share, target, _) in quality(after).items() if not key[2] and share < target}
    assert below == set()


def test_all_stages_silent_for_a_while_come_back() -> None:
    """Traffic ends only with the last stage that is silent for ever."""
    faults = [Fault("stage-silent", 1.0, 60.0, stage.name, 60.0) for stage in CHAIR.stages]
    events = simulate(minutes=4, faults=faults)
    assert not [e for e in events if NOON_MS + MINUTE_MS <= e.at_ms < NOON_MS + 2 * MINUTE_MS]
    assert [e for e in events if e.at_ms >= NOON_MS + 2 * MINUTE_MS]


def test_payment_failures_say_so() -> None:
    """At strength 0.6 about 60 % of checkouts fail with a payment error."""
    events = simulate(minutes=5, faults=[Fault("checkout-payment-failure", 0.6, 0.0, None)])
    checkouts = [e for e in map(orjson.loads, (e.value for e in events)) if e["stage"] == "web_checkout"]
    hit = [e for e in checkouts if (e["outcome"], e.get("reason")) == ("failed", "payment_error")]
    assert len(hit) / len(checkouts) == pytest.approx(0.6, abs=0.03)


def test_a_flood_multiplies_calls() -> None:
    """A flood brings several times the calls."""
    fault = Fault("call-queue-flood", 1.0, 0.0, None)
    usual, flooded = (len(waits(events)) for events in (sound(5), simulate(minutes=5, faults=[fault])))
    assert flooded > 3 * usual


def waits(events: Iterable[SimulatedEvent]) -> dict[str, list[tuple[SimulatedEvent, dict[str, Any]]]]:
    """By encounter, the events that name it."""
    found: dict[str, list[tuple[SimulatedEvent, dict[str, Any]]]] = defaultdict(list)
    for record in events:
        event = orjson.loads(record.value)
        if "encounter_id" in event:
            found[event["encounter_id"]].append((record, event))
    return found


def test_a_wait_is_told_when_it_begins_and_when_it_ends(healthy: list[SimulatedEvent]) -> None:
    """By two events of one key, which lie as far apart as the wait took; nobody waits for over a minute."""
    found = [told for told in waits(healthy).values() if told[0][0].at_ms < NOON_MS + 18 * MINUTE_MS]
    assert len(found) > 1000
    for (first, begun), (last, ended) in found:
        assert (begun["stage"], begun["outcome"]) == ("call_queue", "queued")
        assert begun.keys() <= {"id", "time", "stage", "outcome", "encounter_id", "segment"}
        assert (begun.get("segment"), first.key) == (ended.get("segment"), last.key)
        assert last.at_ms - first.at_ms == pytest.approx(ended["wait_s"] * 1000, abs=1)
        assert ended["wait_s"] <= 60


def test_a_queue_grows_in_a_flood_and_is_empty_again_a_minute_after_it() -> None:
    """Who waits for a minute hangs up; nobody goes on waiting for calls of the flood."""
    fault = Fault("call-queue-flood", 0.6, 120.0, None, 120.0)
    told = waits(simulate(minutes=7, faults=[fault])).values()
    spans = [(one[0][0].at_ms, one[-1][0].at_ms) for one in told]
    before, during, after = (
        sum(begun <= NOON_MS + minute * MINUTE_MS < over for begun, over in spans) for minute in (2, 4, 5)
    )
    assert during > 5 * before
    assert after < 2 * before


def test_a_silent_stage_is_silent_alone() -> None:
    """A silent stage publishes nothing from then on; journeys go on behind it, as in reality."""
    fault = Fault("stage-silent", 1.0, 120.0, "warehouse")
    events = simulate(minutes=5, faults=[fault])
    after = Counter(e.topic for e in events if e.at_ms >= NOON_MS + 2 * MINUTE_MS)
    assert {s.topic for s in CHAIR.stages} - set(after) == {"touchpoint.warehouse.v1"}
    assert any(e.topic == "touchpoint.warehouse.v1" for e in events)


def test_the_stream_ends_once_every_stage_is_silent() -> None:
    """With nothing left to see, the stream ends instead of searching for ever."""
    faults = [Fault("stage-silent", 1.0, 60.0, stage.name) for stage in FOREIGN.stages]
    events = list(Simulator(FOREIGN, seed=1, start_ms=NOON_MS, faults=faults).events())
    assert events
    assert events[-1].at_ms < NOON_MS + MINUTE_MS


def test_bad_events_are_a_share_of_all() -> None:
    """The codec refuses about the share of events that is told to be malformed, and no others."""
    codecs = {stage.topic: Codec(CHAIR, stage) for stage in CHAIR.stages}
    events = simulate(minutes=5, faults=[Fault("bad-events", 0.2, 0.0, None)])
    refused = sum(not isinstance(codecs[e.topic].decode(e.value), Event) for e in events)
    assert refused / len(events) == pytest.approx(0.2, abs=0.02)


CONDITIONS = st.dictionaries(
    st.sampled_from(CONDITION_FIELDS),
    st.none(),
    max_size=4,
).flatmap(lambda fields: st.tuples(*(st.tuples(st.just(f), condition(f)) for f in fields)).map(dict))


def condition(field: str) -> st.SearchStrategy[object]:
    """A condition on a field as a journey file may write it."""
    known = {
        "outcome": OUTCOMES, "segment": ["a", "b"], "channel": ["web", "chat"], "partner": ["p"],
        "location": ["x", "y"], "reason": ["late"], "initiator": ["company", "customer"],
        "score.kind": ["nps", "csat", "ces"],
    }  # fmt: skip
    if field in NUMBER_FIELDS:
        bounds = st.integers(-10, 1000) | st.just(0.25)
        return st.dictionaries(st.sampled_from(["at_most", "at_least"]), bounds, min_size=1)
    if field in BOOLEAN_FIELDS:
        return st.booleans()
    names = st.sampled_from(known.get(field, ["call", "letter"]))
    return st.lists(names, unique=True, min_size=1)


@given(
    names=st.sampled_from([(*CHAIN, "call_queue", "store"), ("delivery", "store"), ("other_one",)]),
    kind=st.sampled_from(["customer", "background", "partner", "feedback", "staff"]),
    judges=CONDITIONS,
    good=CONDITIONS.filter(bool),
    also=CONDITIONS.filter(bool),
    lists=st.booleans(),
)
@settings(max_examples=60, derandomize=True)
def test_no_journey_file_makes_it_fail(
    names: tuple[str, ...], kind: str, judges: object, good: object, also: object, lists: bool
) -> None:
    """Whatever a valid journey file judges, the simulator makes events that decode."""
    listed = {"partners": ["p"], "locations": ["x", "y"], "reasons": ["late"]}
    experiences = {
        "one": {"judges": judges, "good": good, "target": 0.9},
        "two": {"judges": {}, "good": also, "target": 0.999},
    }
    stages = {name: {"kind": kind, "owner": "me", "experiences": experiences} | listed for name in names}
    file = {"version": 1, "journey": "any", "segments": ["a", "b"], "stages": stages}
    journey = parse(orjson.dumps(file | {"partners": ["p"], "channels": ["web", "chat"]}).decode())
    if not lists:
        bare = (replace(stage, partners=(), locations=(), reasons=()) for stage in journey.stages)
        journey = replace(journey, stages=tuple(bare), segments=(), channels=(), partners=())
    codecs = {stage.topic: Codec(journey, stage) for stage in journey.stages}
    simulator = Simulator(journey, seed=1, start_ms=NOON_MS, compress=1e6)
    for event in islice(simulator.events(), 40 * len(names)):
        decoded = codecs[event.topic].decode(event.value)
        assert isinstance(decoded, Event), decoded


def test_refuses_to_stand_still() -> None:
    """A rate or compression that is not above 0 is an error at once."""
    with pytest.raises(ValueError, match="must be above 0"):
        Simulator(CHAIR, seed=1, start_ms=0, rate=0)
