"""What an open encounter is bad for, and since when."""

from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.counting.event import Event
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, SHORT, PaneKey, Tally
from monitor.journey_file.grammar import parse
from monitor.journeys.deadlines import Backdated, BackdatingTally, Deadlines
from monitor.journeys.encounters import Encounter, Encounters

NOW = 1_800_000_000_000

FILE = """
version: 1
journey: desk
timezone: UTC
segments: [new, old]
channels: [phone]
stages:
  desk:
    kind: customer
    owner: desk
    hours: {mon-sun: "00:00-24:00"}
    experiences:
      prompt: {judges: {outcome: [ok, abandoned]}, good: {wait_s: {at_most: 20}}, target: 0.8}
      quick: {judges: {segment: [new]}, good: {duration_s: {at_most: 60}}, target: 0.8}
      by_phone: {judges: {channel: [phone]}, good: {wait_s: {at_most: 5}}, target: 0.8}
      patient:
        judges: {outcome: [ok, abandoned]}
        ignores: {outcome: [abandoned], wait_s: {at_most: 5}}
        good: {wait_s: {at_most: 30}}
        target: 0.8
"""


def deadlines(text: str = FILE) -> tuple[Deadlines, Judge]:
    """Of the only stage of a file."""
    journey = parse(text)
    stage = journey.stage("desk")
    judge = Judge(journey, stage)
    return Deadlines(journey, stage, judge), judge


@pytest.mark.parametrize(
    ("segment", "begun", "age_ms", "expected"),
    [
        ("old", {"queued_ms": NOW}, 20_000, {}),
        ("old", {"queued_ms": NOW}, 20_001, {"prompt": 20_000}),
        ("old", {"queued_ms": NOW}, 40_000, {"prompt": 20_000, "patient": 30_000}),
        ("old", {"queued_ms": NOW, "started_ms": NOW + 20_000}, 90_000, {}),
        ("old", {"queued_ms": NOW, "started_ms": NOW + 25_000}, 90_000, {"prompt": 20_000}),
        ("old", {"started_ms": NOW}, 90_000, {}),
        ("new", {"started_ms": NOW}, 90_000, {"quick": 60_000}),
    ],
)
def test_a_limit_passes_in_an_open_encounter(
    segment: str, begun: dict[str, int], age_ms: int, expected: dict[str, int]
) -> None:
    """At the limit nothing is bad, after it what is judged is; what asks for a channel waits for the end."""
    one = Encounter(segment, "none", **begun)
    passed = deadlines()[0].passed(one, NOW + age_ms)
    assert {name: at_ms - NOW for name, at_ms in passed.items()} == expected


def test_nothing_is_late_in_closed_hours() -> None:
    """A limit that passes while the stage is closed is judged when the encounter ends, if at all."""
    closed, _ = deadlines(FILE.replace('mon-sun: "00:00-24:00"', 'mon-sun: "00:00-00:01"'))
    assert closed.passed(Encounter("old", "none", queued_ms=NOW), NOW + 90_000) == {}


def test_late_ones_are_added_up_by_slice() -> None:
    """Of each partition as far as it has been read."""
    read, unread = Encounters(), Encounters()
    for encounters in (read, unread):
        for n in range(3):
            encounters.begin(f"e-{n}", "queued", NOW + n * 1000, ("old", "none"))
    encounters.end("e-2", 7, ("old", "none"), NOW)
    late = deadlines()[0].late([(read, NOW + 25_000), (unread, NOW + 20_500)])
    assert late == {(SHORT.start_of(NOW + 20_000), "bad/prompt/old/none"): 4}


def ended(**fields: Any) -> tuple[Event, list[Backdated]]:
    """An event that ends an encounter 63 s after its beginning, and what it backdates."""
    time = datetime.fromtimestamp(NOW / 1000 + 63, UTC)
    event = Event(stage="desk", segment="old", encounter_id="e", time=time, **fields)
    return event, deadlines()[0].backdated(Encounter("old", "none", queued_ms=NOW), event, NOW + 63_000)


def test_the_end_counts_what_was_bad_when_it_became_so() -> None:
    """Only what it is bad for, and nothing else of it."""
    event, backdated = ended(outcome="ok", wait_s=63)
    assert backdated == [
        ("bad/prompt/old/none", NOW + 63_000, NOW + 20_000),
        ("bad/patient/old/none", NOW + 63_000, NOW + 30_000),
    ]
    _, judge = deadlines()
    whole, timely = Tally(judge), BackdatingTally(Tally(judge), {id(event): backdated})
    assert timely.add([event], [NOW + 63_000]) == whole.add([event], [NOW + 63_000])
    panes, plain = dict(timely.panes()), dict(whole.panes())
    assert panes[PaneKey(SHORT.ms, NOW + 20_000)] == {"bad/prompt/old/none": 1}
    assert panes[PaneKey(SHORT.ms, NOW + 30_000)] == {"bad/patient/old/none": 1}
    assert panes[PaneKey(LONG.ms, NOW)] == plain[PaneKey(LONG.ms, NOW)]
    assert panes[PaneKey(SHORT.ms, NOW + 60_000)] == {
        name: n for name, n in plain[PaneKey(SHORT.ms, NOW + 60_000)].items() if not name.startswith("bad/")
    }


@pytest.mark.parametrize("fields", [{"outcome": "ok", "wait_s": 15}, {"outcome": "failed", "wait_s": 63}])
def test_the_end_decides(fields: dict[str, Any]) -> None:
    """What the event is not bad for was never bad, though a limit had passed."""
    assert ended(**fields)[1] == []
