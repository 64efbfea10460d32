"""Events against a journey file: what differs, and the lines that would mend it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
import yaml

from monitor.backtest.history import History
from monitor.counting.event import Refused, decoded
from monitor.journey_file.grammar import parse
from monitor.learn.drift import Came, Lacking, drift, exceeded
from monitor.learn.seen import Seen
from monitor.learn.targets import achieved
from monitor.rules.plan import plan
from tests.monitor.learn.test_written import MONDAY, event, hourly, learned_from

FILE = """
version: 1
journey: shop
segments: [new, returning]
channels: [web]
partners: [klarna]
stages:
  checkout:
    kind: customer
    owner: web
    partners: [klarna]
    reasons: [declined]
    experiences:
      pays:
        judges: {outcome: [ok, failed]}
        good: {outcome: [ok]}
        target: 0.9
        targets: {new: 0.8}
      fast:
        judges: {outcome: [ok]}
        ignores: {channel: [web]}
        good: {wait_s: {at_most: 10}}
        target: 0.5
"""


def came(text: str, lines: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """What differs of these events, and which targets are exceeded by far."""
    held_to = plan(parse(text))
    seen, lacking, history = Seen(), Lacking(held_to.journey), History(held_to)
    for line in lines:
        found = decoded(line)
        assert not isinstance(found, Refused)
        seen.add(found)
        lacking.add(found)
        history.add_line(line)
    history.end()
    everything = Came(seen, achieved(held_to, history), lacking, history.refused, history.counted, {})
    return drift(held_to, everything), list(exceeded(held_to, everything))


def differs(text: str, lines: Iterable[bytes]) -> Any:
    """What differs, as YAML reads it."""
    return yaml.safe_load("\n".join(came(text, lines)[0]))


def checkouts(n: int, bad: int = 0, **fields: Any) -> list[bytes]:
    """So many of one day, the first of them bad."""
    return [
        event("checkout", MONDAY + timedelta(minutes=i), outcome="failed" if i < bad else "ok", wait_s=1)
        if not fields
        else event("checkout", MONDAY + timedelta(minutes=i), **{"wait_s": 1, **fields})
        for i in range(n)
    ]


@pytest.mark.long
def test_nothing_differs_from_what_was_learned() -> None:
    """Of the same events: three weeks with opening hours, journeys, promises, hand-overs, segments."""
    lines = []
    for n, at in enumerate(hourly(21)):
        if not 8 <= at.hour < 20:
            continue
        for i in range(16):
            name = {"journey_id": f"j-{n}-{i}", "segment": ("new", "returning")[i % 2]}
            promise = {"id": f"p-{n}-{i}", "kind": "window", "due": (at + timedelta(days=2)).isoformat()}
            given = {"id": f"h-{n}-{i}", "from": "checkout", "to": "delivery"}
            began, done = at + timedelta(minutes=i), at + timedelta(minutes=30 + i)
            left = {"wait_s": 9 * i, "outcome": "abandoned" if i > 13 else "ok", "channel": "web"}
            kept = promise | {"kept": n % 9 > 0}
            lines += [
                event("checkout", began, promise=promise, handoff=given, **left, **name),
                event("delivery", done, promise=kept, handoff=given, partner="postnord", **name),
            ]
    text, journey = learned_from(lines)
    assert journey.journeys is not None
    assert journey.stages[0].hours
    assert came(text, lines) == ([], [])


def test_new_names_are_told_with_the_list_that_has_them() -> None:
    """Where the file lists names; one in a thousand is chance. An outcome and a stage are new, too."""
    lines = checkouts(700, segment="vip", channel="app", partner="adyen", reason="declined", location="oulu")
    lines += checkouts(700, segment="new", channel="web", partner="klarna", outcome="postponed")
    lines += checkouts(1, segment="typo")
    lines += [event("returns", at, channel="web") for at in hourly(2)]
    found = differs(FILE, lines)
    returns = found["stages"].pop("returns")
    assert found == {
        "segments": ["new", "returning", "vip"],
        "channels": ["web", "app"],
        "partners": ["klarna", "adyen"],
        "stages": {"checkout": {"partners": ["klarna", "adyen"], "outcomes": ["postponed"]}},
    }
    assert returns["kind"] == "customer"
    told, _ = came(FILE, lines)
    assert told[:2] == [
        "# refused are 748 of 1,449 events: unknown_outcome 700, unknown_stage 48",
        "segments: [new, returning, vip]   # counts as `other`: vip 700, of 1,401",
    ]


def test_a_field_that_is_missing_leaves_events_unjudged() -> None:
    """Of those that are the experience's to judge: not of what it ignores, nor of another outcome."""
    lines = [*checkouts(80), *checkouts(20, wait_s=None), *checkouts(50, wait_s=None, channel="web")]
    lines += checkouts(7, wait_s=None, outcome="failed")
    told = "        # 20 of 100 lack `wait_s`, and are not judged: their service has to send it"
    assert told in came(FILE, lines)[0]
    assert came(FILE, [*checkouts(80)])[0] == []


@pytest.mark.parametrize(("bad", "target"), [(20, None), (34, None), (60, 0.63)])
def test_a_target_is_far_off_when_twice_as_many_are_surely_bad(bad: int, target: float | None) -> None:
    """A tenth may be. 17 % are within chance; one that is exceeded is promised, and no difference."""
    found = differs(FILE, checkouts(200, bad))
    assert found == (target and {"stages": {"checkout": {"experiences": {"pays": {"target": target}}}}})


def test_a_target_that_is_exceeded_is_no_difference() -> None:
    """It is told apart: who promises less than is kept has nothing to change."""
    found, notes = came(FILE, checkouts(200))
    assert found == []
    assert [one.partition(":")[0] for one in notes] == ["checkout pays", "checkout fast"]
    assert notes[0].endswith("achieved 100 % of 200 over 1 day; set a hair under it; the file asks 90 %")


def test_a_segment_has_a_target_of_its_own() -> None:
    """Of 200 new customers half are bad, where a fifth may be; of the others none is."""
    lines = [
        event("checkout", MONDAY, segment=segment, wait_s=1, outcome="failed" if i < bad else "ok")
        for segment, bad in (("new", 100), ("returning", 0))
        for i in range(1_000 if segment == "returning" else 200)
    ]
    found = differs(FILE, lines)["stages"]["checkout"]["experiences"]["pays"]
    assert list(found) == ["targets"]
    assert list(found["targets"]) == ["new"]
    assert found["targets"]["new"] < 0.5


HOURS = '    hours: {mon-fri: "08:00-16:00"}\n    expects: {per_hour: 20, by_hour: [%s]}\n'


@pytest.mark.long
def test_hours_and_rhythm_are_told_when_they_are_off() -> None:
    """Open on Saturday, closed on Friday, and three times as many come as are expected."""
    by_hour = ", ".join("60" if 8 <= hour < 16 else "0" for hour in range(24))
    text = FILE.replace("    experiences:", HOURS % by_hour + "    experiences:")

    def week(open_on: str, n: int) -> list[bytes]:
        return [
            event("checkout", at + timedelta(seconds=20 * i), wait_s=1)
            for at in hourly(22)
            if at.strftime("%a") in open_on and 8 <= at.hour < 16
            for i in range(n)
        ]

    usual = "Mon Tue Wed Thu Fri"
    assert came(text, week(usual, 60))[0] == []
    assert came(text, week(usual, 30))[0] == [], "half as many are still as they may be"
    told, _ = came(text, week("Mon Tue Wed Thu Sat", 180))
    found = yaml.safe_load("\n".join(told))["stages"]["checkout"]
    assert found["hours"] == {"mon-thu": "08:00-16:00", "sat": "08:00-16:00"}
    assert found["expects"]["by_hour"] == [180 if 8 <= hour < 16 else 0 for hour in range(24)]
    why = "# 4,320 of 23,040 came while closed; next to none in 8 open hours of a week"
    assert any(line.endswith(why) for line in told)


JOURNEYS = """
journeys:
  owner: shop
  starts: {stage: [checkout]}
  goal: {stage: [delivery], outcome: [ok]}
  target: 0.99
  quiet: 7d
  limit: 14d
  promises:
    call_back: {stage: delivery, target: 0.9}
  handoffs:
    - {from: delivery, to: checkout, within: 36h, target: 0.9}
"""


def test_promises_and_hand_overs_that_nobody_knows_are_told() -> None:
    """With the lines that would have them; those that the file has stay."""
    stage = FILE.partition("  checkout:")[2].replace("partners: [klarna]", "partners: []")
    text = FILE + "  delivery:" + stage.replace("wait_s", "duration_s") + JOURNEYS
    lines = []
    for n in range(60):
        at, name = MONDAY + timedelta(hours=n), {"journey_id": f"j-{n}"}
        given = {"id": f"h-{n}", "from": "checkout", "to": "delivery"}
        promise = {"id": f"p-{n}", "kind": "window", "due": due(at, 2)}
        lines += [
            event("checkout", at, wait_s=1, promise=promise, handoff=given, **name),
            event("delivery", at + timedelta(hours=1), promise=promise | {"kept": True}, handoff=given,
                  duration_s=1, outcome="ok" if n % 2 else "failed", **name),
        ]  # fmt: skip
    lines.append(event("checkout", MONDAY + timedelta(days=30), wait_s=1, journey_id="late"))
    found = differs(text, lines)["journeys"]
    assert found["promises"] == {"window": {"stage": "delivery", "target": 0.5}}
    assert found["handoffs"] == [{"from": "checkout", "to": "delivery", "within": "1h", "target": 0.5}]
    assert found["target"] < 0.5
    told, _ = came(text, lines)
    assert any(line.endswith("# counts as `other`: 120 of 120; a guess: nothing was judged") for line in told)


def due(at: datetime, days: int) -> str:
    """So many days later."""
    return orjson.dumps(at + timedelta(days=days)).decode().strip('"')
