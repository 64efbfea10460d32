"""One event by the README files alone: good or bad, and what it adds to its stage."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Event = Mapping[str, Any]
Row = tuple[str, ...]
Rows = Counter[Row]

FAR = datetime.max.replace(tzinfo=UTC)
WEEK = timedelta(days=7)
UNHAPPY = {"nps": 6, "csat": 2, "ces": 2}
SCALES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
CLASSES = {
    "nps": [(9, "promoter"), (7, "passive"), (0, "detractor")],
    "csat": [(4, "good"), (0, "other")],
    "ces": [(5, "easy"), (0, "other")],
}
SCORES = [0.0, 0.25, 0.5, 0.75, 1.0]
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime:
    """RFC 3339."""
    return datetime.fromisoformat(text)


def span(text: str) -> timedelta:
    """E.g. `12h`."""
    return timedelta(**{UNITS[text[-1]]: float(text[:-1])})


def name_of(value: str | None, names: Iterable[str]) -> str:
    """A label: `other` for what the journey file does not know, `none` for what is missing."""
    return "none" if value is None else value if value in names else "other"


def field_of(event: Event, path: str) -> Any:
    """E.g. `score.kind`; None if the event lacks it."""
    outer, _, inner = path.partition(".")
    value = event.get(outer)
    return (value or {}).get(inner) if inner else value


def holds(condition: Any, value: Any) -> bool | None:
    """Whether a value fulfils a condition; None if there is no value."""
    if value is None:
        return None
    if isinstance(condition, list):
        return value in condition
    if isinstance(condition, dict):
        return bool(condition.get("at_least", value) <= value <= condition.get("at_most", value))
    return value is condition


def matches(event: Event, conditions: Mapping[str, Any]) -> bool:
    """Whether all conditions hold."""
    return all(holds(condition, field_of(event, path)) for path, condition in conditions.items())


def verdict(event: Event, experience: Mapping[str, Any]) -> bool | None:
    """Whether the event is good for the experience; None if it is not judged."""
    ignores = experience.get("ignores")
    if not matches(event, experience["judges"]) or (ignores and matches(event, ignores)):
        return None
    found = [holds(wanted, field_of(event, path)) for path, wanted in experience["good"].items()]
    return False if False in found else None if None in found else True


@dataclass(frozen=True)
class File:
    """The journey file."""

    tree: Mapping[str, Any]

    @property
    def journeys(self) -> Any:
        """Its section of whole journeys."""
        return self.tree["journeys"]

    def stage(self, event: Event) -> Any:
        """The stage of an event."""
        return self.tree["stages"][event["stage"]]

    def verdicts(self, event: Event) -> dict[str, bool]:
        """By experience, of those that judge the event."""
        judged = {name: verdict(event, each) for name, each in self.stage(event)["experiences"].items()}
        return {name: good for name, good in judged.items() if good is not None}

    def label(self, event: Event, what: str) -> str:
        """A label of an event: segment, channel, partner, reason, touchpoint or location."""
        names = self.tree if what in ("segment", "channel") else self.stage(event)
        missing = {"segment": "other", "reason": "unspecified"}
        return name_of(event.get(what, missing.get(what)), [*names.get(what + "s", ()), *missing.values()])

    def is_unhappy(self, event: Event) -> bool:
        """Whether it is an answer of an unhappy customer. Of a mean the whole part counts."""
        if not event.get("score") or self.stage(event)["kind"] == "staff":
            return False
        kind, value = event["score"]["kind"], event["score"]["value"]
        best = (UNHAPPY | self.journeys.get("unhappy", {}))[kind]
        return bool(int(value) <= best)

    def accepts(self, event: Event) -> bool:
        """Whether an answer is on its scale."""
        if not event.get("score"):
            return True
        least, most = SCALES[event["score"]["kind"]]
        return bool(least <= event["score"]["value"] <= most)


# What a stage counts


def stage_rows(file: File, event: Event, since: datetime, passed: Mapping[str, datetime]) -> Rows:
    """What one event adds to its stage, as far as it counts after `since`. What it is bad for counts when a
    limit of the experience `passed`, if that was before."""
    rows: Rows = Counter()
    time = moment(event["time"])
    stage, outcome = event["stage"], event["outcome"]
    segment, partner = file.label(event, "segment"), file.label(event, "partner")
    verdicts = file.verdicts(event)
    for experience, good in verdicts.items():
        if (time if good else min(time, passed.get(experience, time))) <= since:
            continue
        spread = [(by, file.label(event, by)) for by in ("channel", "location") if event.get(by)]
        rows["window_events", stage, experience, segment, partner] += 1
        rows["window_good", stage, experience, segment, partner] += good
        for by, name in spread:
            rows["window_spread_events", stage, experience, by, name] += 1
            rows["window_spread_good", stage, experience, by, name] += good
    if time <= since:
        return rows
    rows["window_outcomes", stage, outcome] += 1
    if False in verdicts.values():
        rows["window_reasons", stage, file.label(event, "reason")] += 1
    if (wait_s := event.get("wait_s")) is not None:
        rows["window_waits", stage, outcome] += 1
        rows["window_waited_seconds", stage, outcome] += wait_s
        rows["window_wait_seconds_gcount", stage] += 1
    if (duration_s := event.get("duration_s")) is not None:
        rows["window_duration_seconds_gcount", stage] += 1
        if (tool_s := event.get("system_wait_s")) is not None:
            rows["window_tool_seconds", stage] += tool_s
            rows["window_tool_of_seconds", stage] += duration_s
    if "touchpoints" in file.stage(event):
        rows["window_touchpoints", stage, file.label(event, "touchpoint"), outcome] += 1
    if outcome == "asked":
        rows["window_asked", stage, file.label(event, "channel")] += 1
    if event.get("score") and file.stage(event)["kind"] != "staff":
        kind, value = event["score"]["kind"], event["score"]["value"]
        found = next(name for least, name in CLASSES[kind] if value >= least)
        rows["window_answers", stage, kind, found, file.label(event, "channel"), segment] += 1
    return rows


def contact_rows(file: File, events: list[Event], since: datetime) -> Rows:
    """First contacts and repeats, of cases across journeys."""
    rows: Rows = Counter()
    latest: dict[str, datetime] = {}
    for event in events:
        case = "case " + event["case_id"] if event.get("case_id") else event.get("journey_id")
        is_contact = event["stage"] in file.journeys["contacts"] and event.get("initiator") != "company"
        if not case or not is_contact:
            continue
        time = moment(event["time"])
        before = latest.get(case)
        latest[case] = time
        if time > since:
            kind = "repeat" if before and time - before <= WEEK else "first"
            rows["window_contacts", event["stage"], kind] += 1
    return rows
