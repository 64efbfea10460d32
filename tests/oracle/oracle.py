"""What a list of events comes to, by the README files alone: the sums of the 7d window, row by row.

A row is (metric, label, …) without the prefix `touchpoint_` and without `window`, e.g.
("window_labyrinths", "new"). Labels stand in the order of the table in deploy/README.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.oracle.encounters import encounters, is_beginning
from tests.oracle.events import WEEK, Event, File, Rows, contact_rows, moment, stage_rows
from tests.oracle.walked import Journey

__all__ = ["Event", "Rows", "count", "moment"]


LATE = timedelta(hours=1)
"""A step so long after the end of a journey is late; a later one begins another with the same id."""


def walk(file: File, events: list[Event], at: datetime) -> Iterator[Journey]:
    """The journeys that begin with these steps, in the order in which they happened."""
    known: dict[str, list[Journey]] = {}
    for event in events:
        if event.get("journey_id"):
            same = known.setdefault(event["journey_id"], [Journey(file, at)])
            if moment(event["time"]) - LATE > same[-1].over:
                same.append(Journey(file, at))
            same[-1].add(event)
    for same in known.values():
        yield from same


def once_only(file: File, events: list[Event]) -> list[Event]:
    """Of events without repetition, those of stages that do not count a repetition."""
    return [event for event in events if "dedupe_s" in file.stage(event)]


def count(tree: Mapping[str, Any], published: Iterable[Event], at: datetime) -> tuple[Rows, dict[str, Rows]]:
    """All rows of a window of 7 days that ends at `at`; and of each journey id alone.

    `published` in any order; the same `id` at the same stage again is the same event again. Its stage counts
    it again unless it has `dedupe_s`, taken to be longer than the publishing took.
    """
    file = File(tree)
    accepted = [event for event in published if file.accepts(event)]
    once = {(event["stage"], event["id"]): event for event in accepted}
    since = at - WEEK
    counted = [
        *(each for each in accepted if "dedupe_s" not in file.stage(each)),
        *once_only(file, list(once.values())),
    ]
    known = encounters(file, counted)
    passed = {id(one.end): one.passed() for one in known}
    ended = [event for event in once.values() if not is_beginning(file, event)]
    events = sorted(ended, key=lambda event: (moment(event["time"]), event["id"]))
    rows = contact_rows(file, events, since)
    for one in known:
        rows += one.rows(since, at)
    for event in counted:
        if not is_beginning(file, event):
            rows += stage_rows(file, event, since, passed.get(id(event), {}))
        elif moment(event["time"]) > since:
            rows["window_begun", event["stage"], event["outcome"]] += 1
    alone: dict[str, Rows] = {}
    for journey in walk(file, events, at):
        alone.setdefault(journey.steps[0]["journey_id"], Counter()).update(journey.rows())
    for each in alone.values():
        rows += each
    return rows, alone
