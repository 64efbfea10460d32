"""Every row of journeys that a worker shows is what the README files alone come to."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitor.journey_file.grammar import parse
from monitor.live.exposition import render
from tests.fuzz import fold
from tests.oracle.journeys import beside, journeys
from tests.oracle.oracle import Event, Rows, count, moment
from tests.oracle.queues import encounters

HERE = Path(__file__).parent
JOURNEY = (HERE / "journey.yaml").read_text()
TABLE = (HERE.parents[1] / "deploy/README.md").read_text()
NOW = datetime(2026, 11, 27, 12, 0, 5, tzinfo=UTC)


def generated(seed: int, number: int, now: datetime = NOW) -> list[Event]:
    """In any order; nothing of it falls due within half an hour."""
    known = [*journeys(seed, number, now), *beside(seed, now)]
    random.Random(seed).shuffle(known)
    return [event for event in known if moment(event["time"]) < now - timedelta(minutes=30)]


def labels_of() -> dict[str, list[str]]:
    """The labels of each metric, in the order of the table of metrics."""
    rows = re.findall(r"^\| `touchpoint_(\w+)` \| ([\w, ]*) \|", TABLE, re.MULTILINE)
    return {
        name: [label for label in labels.split(", ") if label not in ("", "window")] for name, labels in rows
    }


def shown(life: fold.Life) -> Rows:
    """What a scrape says of seven days."""
    return rows(render(life.snapshot(), "text/plain")[0].decode())


def rows(scrape: str) -> Rows:
    """Of what a worker answers, that of seven days."""
    found: Rows = Counter()
    order = labels_of()
    for family in text_string_to_metric_families(scrape):
        for name, labels, value, *_ in family.samples:
            metric = name.removeprefix("touchpoint_")
            if value and (labels.get("window") == "7d" or metric in ("open_journeys", "open_encounters")):
                known = order[re.sub("_gcount$|_gsum$|_bucket$", "", metric)]
                found[(metric, *(labels[label] for label in known))] += round(value)
    return found


def differing(found: Rows, expected: Rows) -> dict[tuple[str, ...], tuple[int, int]]:
    """Rows of the metrics that the oracle knows, as they are shown and as they should be. Staff is not among
    them: it is released in blocks."""
    metrics = {row[0] for row in expected}
    return {
        row: (found[row], expected[row])
        for row in found.keys() | expected.keys()
        if row[0] in metrics and row[1:2] != ("staff_pulse",) and found[row] != expected[row]
    }


async def lives(events: list[Event], late: Sequence[Event] = ()) -> tuple[Rows, Rows]:
    """A worker that reads all, some of it when all else has been counted; and a successor that has only its
    changelogs."""
    first, second = fold.Life(), fold.Life()
    await first.own(1)
    for part in ([event for event in events if event not in late], late):
        await first.read([(event["stage"], orjson.dumps(event), []) for event in part])
    second.inherit(first)
    await second.own(2)
    return shown(first), shown(second)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_worker_counts_what_the_readme_files_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of each metric that the oracle knows, and no row beside; a successor says the same."""
    monkeypatch.setattr(fold, "JOURNEY", parse(JOURNEY))
    monkeypatch.setattr(fold, "NOW_MS", round(NOW.timestamp() * 1000))
    events = generated(seed, 320)
    first, second = asyncio.run(lives(events))
    expected, _ = count(yaml.safe_load(JOURNEY), events, NOW)
    assert differing(first, expected) == {}
    assert first == second


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_encounters_are_open_and_bad_as_the_readme_files_say(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From beginning to end, when a limit passes meanwhile, and when the end is read after all else."""
    monkeypatch.setattr(fold, "JOURNEY", parse(JOURNEY))
    monkeypatch.setattr(fold, "NOW_MS", round(NOW.timestamp() * 1000))
    events, tree = queues(seed), yaml.safe_load(JOURNEY)
    late = [one for one in events if "late-" in one["id"] and one["outcome"] not in ("queued", "started")]
    before = [one for one in events if one not in late]
    for read, last in ((before, []), (events, late)):
        expected, _ = count(tree, read, NOW)
        assert {"window_begun", "open_encounters", "window_good"} <= {row[0] for row in expected}
        first, second = asyncio.run(lives(read, last))
        assert differing(first, expected) == {}
        assert first == second


def queues(seed: int, number: int = 60) -> list[Event]:
    """In any order, but for those that have to be first or last."""
    known = list(encounters(seed, number, NOW))
    random.Random(seed).shuffle(known)
    return sorted(known, key=lambda event: str(event["id"])[0])


def told_late(events: list[Event], now: datetime = NOW) -> list[Event]:
    """What says that a promise was kept or something handed over arrived, in journeys that are under way with
    all of it and without."""
    tree = yaml.safe_load(JOURNEY)
    words = [
        one
        for one in events
        if one.get("journey_id")
        and (
            one.get("promise", {}).get("kept")
            or one.get("handoff", {}).get("from", one["stage"]) != one["stage"]
        )
    ]
    others = [one for one in events if one not in words]
    with_all, without = (count(tree, some, now)[1] for some in (events, others))
    is_open, nothing = ("open_journeys",), Rows()
    return [
        one
        for one in words
        if all(known.get(one["journey_id"], nothing)[is_open] for known in (with_all, without))
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_word_that_is_published_late_counts_when_it_happened(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else is read first, and what is due by then is counted."""
    monkeypatch.setattr(fold, "JOURNEY", parse(JOURNEY))
    monkeypatch.setattr(fold, "NOW_MS", round(NOW.timestamp() * 1000))
    events, tree = generated(seed, 2000), yaml.safe_load(JOURNEY)
    earlier, now = (count(tree, events, NOW - timedelta(minutes=minutes))[1] for minutes in (30, 0))
    changing = {id_ for id_ in now if now[id_] != earlier.get(id_)}
    events = [one for one in events if one.get("journey_id") not in changing]  # the clock is a bit behind
    late = told_late(events)
    before, after = (
        count(tree, some, NOW)[0] for some in ([one for one in events if one not in late], events)
    )
    less = {row[-1] for row in before if before[row] > after[row]}
    assert {"broken", "lost"} <= less
    first, second = asyncio.run(lives(events, late))
    assert differing(first, after) == {}
    assert first == second


SHIFTS = [
    ("quiet", "43199s"),
    ("quiet", "43201s"),
    ("limit", "172799s"),
    ("limit", "172801s"),
    ("handoffs", [{"from": "warehouse", "to": "delivery", "within": "86399s"}]),
    ("handoffs", [{"from": "warehouse", "to": "delivery", "within": "86401s"}]),
    ("follow_up", {"stage": "feedback", "outcome": ["followed_up"], "within": "28799s"}),
    ("follow_up", {"stage": "feedback", "outcome": ["followed_up"], "within": "28801s"}),
    ("unhappy", {"csat": 2}),
    ("unhappy", {"nps": 5}),
    ("contacts", ["store"]),
]


@pytest.mark.long
@pytest.mark.parametrize(("key", "value"), SHIFTS)
def test_generated_journeys_stand_at_every_edge(key: str, value: object) -> None:
    """A second more or less in the journey file is another count."""
    tree = yaml.safe_load(JOURNEY)
    events = generated(1, 480)
    as_written, _ = count(tree, events, NOW)
    tree["journeys"][key] = value
    assert count(tree, events, NOW)[0] != as_written


@pytest.mark.long
@pytest.mark.parametrize("field", ["due", "due_from"])
@pytest.mark.parametrize("seconds", [-1, 1])
def test_generated_promises_stand_at_every_edge(field: str, seconds: int) -> None:
    """A deadline a second earlier or later is another count."""
    tree = yaml.safe_load(JOURNEY)
    events = generated(1, 480)
    as_written, _ = count(tree, events, NOW)
    for event in events:
        if (promise := event.get("promise")) and field in promise:
            promise[field] = (moment(promise[field]) + timedelta(seconds=seconds)).isoformat()
    assert count(tree, events, NOW)[0] != as_written
