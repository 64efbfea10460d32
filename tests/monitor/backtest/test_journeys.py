"""Journeys of history come to what a plain count of their events says, in whatever order these are read."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

import orjson
import pytest

from monitor.backtest.history import History, StageHistory
from monitor.backtest.journeys import JourneysHistory
from monitor.backtest.run import backtest
from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.counting.panes import SHORT
from monitor.journey_file.model import WHOLE
from monitor.journeys.counters import Effect
from monitor.journeys.open import KEEP_MS
from monitor.journeys.step import Contact, Step, contact_of, step_of
from monitor.rules.plan import plan
from streams.demo.faults import parse_fault
from streams.demo.simulator import SimulatedEvent, Simulator
from tests.kit.journey_truth import Truth, sharing_cases
from tests.kit.programs import touchpoint
from tests.kit.shipped import SHIPPED as CHAIR

START = 1_700_000_000_000 // SHORT.ms * SHORT.ms
DAY = 86_400_000

OVER = START + 60 * DAY
"""All journeys are over by then: long after the last of them began."""


@cache
def published(journeys: int = 300, fault: str = "") -> tuple[SimulatedEvent, ...]:
    """All events of so many simulated customers."""
    faults = [parse_fault(fault, CHAIR)] if fault else []
    simulator = Simulator(CHAIR, seed=5, start_ms=START, rate=0.002, faults=faults)
    known: set[str] = set()
    found = []
    for event in simulator.events():
        if event.at_ms > START + 6 * DAY:  # the first hours' customers have no event later than that
            break
        journey_id = orjson.loads(event.value).get("journey_id")
        if journey_id is not None and (journey_id in known or len(known) < journeys):
            known.add(journey_id)
            found.append(event)
    return tuple(found)


def decoded(events: Iterable[SimulatedEvent]) -> Iterator[tuple[Event, Judge]]:
    """Each event, and who judges it."""
    judges = {one.topic: (Codec(CHAIR, one), Judge(CHAIR, one)) for one in CHAIR.stages}
    for simulated in events:
        codec, judge = judges[simulated.topic]
        event = codec.decode(simulated.value)
        assert isinstance(event, Event)
        yield event, judge


def steps_of(events: Iterable[SimulatedEvent]) -> list[Step]:
    """As `History` makes them."""
    return [
        step_of(event, event.at_ms, 0, number, judge.judge(event))
        for number, (event, judge) in enumerate(decoded(events))
        if event.journey_id is not None
    ]


def contacts_of(events: Iterable[SimulatedEvent]) -> list[Contact]:
    """Likewise."""
    assert CHAIR.journeys is not None
    stages = CHAIR.journeys.contacts
    found = (contact_of(event) for event, _ in decoded(events) if event.stage in stages)
    return [contact for contact in found if contact is not None]


def step(journey_id: str, at_ms: int, stage: str = "web_checkout", offset: int = 0) -> Step:
    """A good encounter."""
    return Step(journey_id, stage, 0, offset, at_ms, "ok", 1, ())


def effects_of(steps: Iterable[Step], contacts: Iterable[Contact] = ()) -> list[Effect]:
    """What these steps and contacts add to."""
    held = JourneysHistory(CHAIR)
    for one in steps:
        held.add(one)
    for contact in contacts:
        held.add_contact(contact)
    return list(held.effects())


def total(effects: list[Effect]) -> Counter[str]:
    """Every counter."""
    return Counter(name for effect in effects for name in effect.counters)


@pytest.mark.long
def test_every_counter_is_what_a_plain_count_says() -> None:
    """Once all simulated journeys are over, each counter equals that of the independent oracle."""
    truth = Truth(CHAIR)
    random = Random(2)
    events = [told for event in published() for told in sharing_cases(event, random, 50)]
    for event in events:
        truth.add(event)
    found = total(effects_of([*steps_of(events), step("last", OVER)], contacts_of(events)))
    assert truth.journeys == len({one.journey_id for one in steps_of(events)}) > 250
    assert found == truth.counters()
    assert {name.split("/")[0] for name in found} >= {
        "hit", "closed", "score", "weakest", "promise", "handoff", "moved", "critical", "gap", "contact",
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "fix"),
    [
        ("checkout-payment-failure@0", ("stage:web_checkout", "none")),
        ("parcel-lost@0", ("handoff:warehouse>delivery", "promise:delivery_window")),
        ("call-queue-flood@0", ("stage:call_queue", "none")),
    ],
)
def test_the_fix_worth_most_is_that_of_the_fault(fault: str, fix: tuple[str, str]) -> None:
    """A history names what was simulated to go wrong as what would have made most journeys good."""
    history = History(plan(CHAIR))
    for event in published(300, fault):
        history.add_line(event.value)
    history.add_line(line(OVER, "web_checkout", journey_id="last"))
    history.end()
    worth = history.as_json()["fixes"]
    assert worth == sorted(worth, key=lambda one: -one["journeys"])
    assert (worth[0]["fix"], worth[0]["also"]) == fix


def test_the_command_names_the_fixes_worth_most(tmp_path: Path) -> None:
    """Three of them, most first, in words; two things that made a journey bad are one fix, three are none."""
    file = tmp_path / "a.jsonl"
    bad = {"a": ("store",) * 2, "b": ("store",), "c": ("web_checkout", "store"), "d": ("web_checkout",)}
    bad |= {"e": ("warehouse",), "f": ("web_checkout", "store", "warehouse")}
    told = [
        line(START + 60_000 * number, stage, journey_id=journey_id, outcome="failed")
        for number, (journey_id, stages) in enumerate(bad.items())
        for stage in stages
    ]
    file.write_bytes(b"\n".join([*told, line(START + 15 * DAY, "web_checkout", journey_id="last")]))
    done = touchpoint("backtest", str(file))
    assert done.returncode == 0, done.stderr
    assert " ".join(done.stdout.split()).endswith(
        "fixes worth most, of journeys that one thing made bad, or two: Store (2 journeys); "
        "Store and Web checkout (1 journey); Warehouse (1 journey)"
    )


@pytest.mark.long
def test_order_does_not_matter() -> None:
    """Steps in any order add to the same counters at the same times."""
    steps, contacts = [*steps_of(published(60)), step("last", OVER)], contacts_of(published(60))
    mixed, turned = steps.copy(), contacts.copy()
    Random(1).shuffle(mixed)
    Random(1).shuffle(turned)
    assert sorted(effects_of(mixed, turned)) == sorted(effects_of(steps, contacts))


@pytest.mark.long
def test_what_is_under_way_stays_so() -> None:
    """Time goes no further than the last step of any journey."""
    quiet_ms = CHAIR.journeys.quiet_ms if CHAIR.journeys is not None else 0
    assert not effects_of([step("a", START)])
    assert not effects_of([step("a", START), step("b", START + quiet_ms - 1, offset=1)])
    over = effects_of([step("a", START), step("b", START + quiet_ms, offset=1)])
    assert {effect.at_ms for effect in over} == {START + quiet_ms}
    assert total(over)["closed/missed/other"] == 1


def test_an_id_that_comes_again_is_a_new_journey() -> None:
    """A step soon after the end of its journey is late; one more than an hour later begins another."""
    assert CHAIR.journeys is not None
    over_ms = START + CHAIR.journeys.quiet_ms
    for again_ms, journeys in ((over_ms + KEEP_MS, 1), (over_ms + KEEP_MS + 1, 2)):
        steps = [step("a", START), step("a", again_ms, offset=1), step("last", OVER, offset=2)]
        assert total(effects_of(steps))["closed/missed/other"] == journeys


def test_nothing_comes_of_nothing() -> None:
    """Without a step there is no effect."""
    assert effects_of([]) == []


def line(at_ms: int, stage: str, **more: object) -> bytes:
    """A line of a history file."""
    time = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return orjson.dumps({"id": f"{stage}-{at_ms}", "time": time, "stage": stage, "outcome": "ok"} | more)


def test_a_history_counts_journeys_at_its_end() -> None:
    """Events without a journey are counted at once, whole journeys when all lines are read, and only once."""
    history = History(plan(CHAIR))
    history.add_line(line(START, "web_checkout", journey_id="a"))
    history.add_line(line(START + 1, "web_checkout"))
    history.add_line(line(OVER, "web_checkout", journey_id="last"))
    assert history.stages[WHOLE].span() is None
    history.end()
    history.end()
    assert CHAIR.journeys is not None
    over = (START + CHAIR.journeys.quiet_ms) // SHORT.ms
    held = history.stages[WHOLE]
    assert held.span() == (over, over)
    assert held.events_between(over, over + 1) == 1
    assert held.table(over, over + 1)[held.bad["goal", "other"], 0] == 1


def test_what_adds_up_to_nothing_is_no_event() -> None:
    """A hand-over that comes after it was called lost is received, and late: neither good nor bad. A history
    that ends, or consists, of such a one has no crash and no event there."""
    stage = plan(CHAIR).stages[-1]
    assert stage is not None
    about = "handoff/warehouse/delivery/postnord"
    received = (f"{about}/received", f"{about}/late")
    for counted in ((received,), ((received[0],), (received[1],))):
        held = StageHistory(plan(CHAIR), stage)
        for counters in counted:
            held.add(counters, OVER)
        assert held.span() is None
        held.add(("closed/met/new",), START)
        assert held.span() == (START // SHORT.ms, START // SHORT.ms)


def test_a_lost_hand_over_that_comes_late_is_judged() -> None:
    """A whole history whose last hour holds nothing but such a one is judged like any other."""
    history = History(plan(CHAIR))
    handed = {"id": "h", "from": "warehouse", "to": "delivery"}
    history.add_line(line(START, "warehouse", journey_id="a", handoff=handed))
    history.add_line(line(START + 6 * DAY, "delivery", journey_id="a", handoff=handed, outcome="failed"))
    history.end()
    held = history.stages[WHOLE]
    cell = "handoff_warehouse_delivery", "none"
    lost = (START + 5 * DAY) // SHORT.ms
    assert held.span() == (lost, lost)
    assert held.table(lost, lost + 1)[[held.good[cell], held.bad[cell]], 0].tolist() == [0, 1]
    assert not [one for one in backtest(plan(CHAIR), history).fired if one.key.stage == WHOLE]


@pytest.mark.parametrize(("days", "is_judged"), [(2, False), (4, True)])
def test_it_is_said_when_a_history_is_too_short_for_the_goal(days: int, is_judged: bool) -> None:
    """Of journeys that all missed their goal three days say nothing, and that is told."""
    history = History(plan(CHAIR))
    for hour in range(days * 24):
        history.stages[WHOLE].add(("closed/missed/new",) * 30, START + hour * 3_600_000)
    found = backtest(plan(CHAIR), history)
    assert ("JourneyDegraded" in {one.key.name for one in found.fired}) is is_judged
    assert ("JourneyDegraded" in found.as_json()["rules_not_judged"]) is not is_judged
