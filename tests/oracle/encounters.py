"""Encounters under way, by the README files alone: which are open, and what they are bad for since when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.oracle.events import Event, File, Rows, matches, moment

OPENINGS = ("queued", "started")
DAY = timedelta(days=1)
KNOWN = ("outcome", "segment", "partner", "wait_s", "duration_s")
"""What is judged before an encounter ends; of the outcome, that it is not known."""


def is_beginning(file: File, event: Event) -> bool:
    """Whether it says that an encounter has begun."""
    stage = file.stage(event)
    is_declared = event["outcome"] in stage.get("outcomes", ())
    return event["outcome"] in OPENINGS and not is_declared and stage["kind"] != "staff"


@dataclass
class Encounter:
    """The events of one, `end` the one that ends it."""

    file: File
    first: Event
    begun: dict[str, datetime] = field(default_factory=dict)
    end: Event | None = None

    def add(self, event: Event) -> None:
        """Take the next event that was published."""
        if is_beginning(self.file, event):
            self.begun.setdefault(event["outcome"], moment(event["time"]))
        elif self.end is None:
            self.end = event

    def passed(self) -> dict[str, datetime]:
        """By experience, when the first limit passes that the encounter is held to."""
        found: dict[str, datetime] = {}
        for name, experience in self.file.stage(self.first)["experiences"].items():
            times = [at for path in ("wait_s", "duration_s") if (at := self._passes(path, experience))]
            if times:
                found[name] = min(times)
        return found

    def _passes(self, path: str, experience: Mapping[str, Any]) -> datetime | None:
        since = self.begun.get("queued" if path == "wait_s" else "started")
        good, judges, ignores = (experience.get(name, {}) for name in ("good", "judges", "ignores"))
        most = good.get(path, {}).get("at_most")
        if since is None or most is None or any(asked not in KNOWN for asked in (*judges, *ignores)):
            return None
        at = since + timedelta(seconds=most)
        if path == "wait_s" and self.begun.get("started", at + DAY) <= at:
            return None
        about = {"segment": self.first.get("segment"), "partner": self.first.get("partner"), path: most + 1}
        is_judged = matches(about, {asked: one for asked, one in judges.items() if asked != "outcome"})
        return at if is_judged and not (ignores and matches(about, ignores)) else None

    def rows(self, since: datetime, at: datetime) -> Rows:
        """What it adds while it is open."""
        rows = Rows()
        opening = "started" if "started" in self.begun else "queued"
        if self.end or self.begun.get(opening, at - DAY) <= at - DAY:
            return rows
        stage, segment, partner = (
            self.first["stage"],
            self.file.label(self.first, "segment"),
            self.file.label(self.first, "partner"),
        )
        rows["open_encounters", stage, opening, segment] += 1
        for name, passes in self.passed().items():
            if since < passes < at:
                rows["window_events", stage, name, segment, partner] += 1
        return rows


def encounters(file: File, events: Iterable[Event]) -> list[Encounter]:
    """All that some event names."""
    found: dict[tuple[str, str], Encounter] = {}
    for event in events:
        if event.get("encounter_id"):
            key = event["stage"], event["encounter_id"]
            found.setdefault(key, Encounter(file, event)).add(event)
    return list(found.values())
