"""An event in, the names of the counters it adds to out. Everything the monitor counts is named here.

An event outside its stage's opening hours is counted by its outcome, and judged for nothing.

A pane is a sum of named counters; this is the only place that says what those names are:

    good/<experience>/<segment>/<partner>    judged and good
    bad/<experience>/<segment>/<partner>     judged and not good
    outcome/<outcome>                        every event
    reason/<reason>                          every event that is bad for some experience
    duration/<bucket>, duration_ms           histogram of `duration_s` and its sum
    wait/<bucket>, wait_ms                   histogram of `wait_s` and its sum

Names, not positions, so that records written under another journey file can still be read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from monitor.event import Event
from monitor.journey import NONE, OTHER, Condition, Experience, Journey, Stage
from monitor.rhythm import MINUTE_MS, is_open

BOUNDS_S = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1800, 3600, 7200, 21600, 86400, 259200,
    604800,
)  # fmt: skip
"""Upper bounds of the duration and wait buckets, inclusive as in Prometheus: a 1-2-5 series up to 10 s, then
times people speak of."""

BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")

NO_REASON = "unspecified"
"""Counted as the reason of a bad event that gives none."""


def good_name(experience: str, segment: str, partner: str) -> str:
    """Counter of events judged good."""
    return f"good/{experience}/{segment}/{partner}"


def bad_name(experience: str, segment: str, partner: str) -> str:
    """Counter of events judged bad."""
    return f"bad/{experience}/{segment}/{partner}"


def outcome_name(outcome: str) -> str:
    """Counter of all events by outcome."""
    return f"outcome/{outcome}"


def reason_name(reason: str) -> str:
    """Counter of bad events by reason."""
    return f"reason/{reason}"


def bucket_names(kind: str) -> tuple[str, ...]:
    """Counters of the buckets of `duration` or `wait`, in the order of `BUCKETS`, not cumulative."""
    return tuple(f"{kind}/{bucket}" for bucket in BUCKETS)


def reason_labels(stage: Stage) -> tuple[str, ...]:
    """Every reason a bad event of the stage can be counted under."""
    return (*stage.reasons, OTHER, NO_REASON)


def counter_names(journey: Journey, stage: Stage) -> tuple[str, ...]:
    """Every counter an event of the stage can add to: the closed key space of its panes."""
    cells = [
        (experience.name, segment, partner)
        for experience in stage.experiences
        for segment in journey.segment_labels
        for partner in stage.partner_labels
    ]
    return (
        *(good_name(*cell) for cell in cells),
        *(bad_name(*cell) for cell in cells),
        *(outcome_name(outcome) for outcome in stage.outcomes),
        *(reason_name(reason) for reason in reason_labels(stage)),
        *bucket_names("duration"),
        "duration_ms",
        *bucket_names("wait"),
        "wait_ms",
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event adds 1 to, and the experiences it was bad for."""

    counters: tuple[str, ...]
    bad_for: tuple[str, ...]


class Judge:
    """Judges the events of one stage. Stateless but for a memo, whose size the journey file bounds.

    Events that agree on the memo's key agree on every condition, so each combination is judged once.
    """

    def __init__(self, journey: Journey, stage: Stage) -> None:
        self._segments = _labels(journey.segments, absent=OTHER)
        self._partners = _labels(stage.partners, absent=NONE)
        self._reasons = _labels(stage.reasons, absent=NO_REASON)
        self._rules = {experience.name: _rule(experience) for experience in stage.experiences}
        self._is_open = _opening(journey, stage)
        self._tests = tuple(_test(condition) for condition in _beyond_the_key(stage))
        if stage.hours:
            self._tests = (self._is_open, *self._tests)
        self._memo: dict[tuple[object, ...], Verdict] = {}

    def judge(self, event: Event) -> Verdict:
        """Counters of the closed key space only: unknown names count as `other`."""
        key = (event.outcome, event.segment, event.partner, event.reason, *[t(event) for t in self._tests])
        verdict = self._memo.get(key)
        return verdict if verdict is not None else self._remember(key, event)

    def partner_label(self, partner: str | None) -> str:
        """The `partner` label that an event of this partner counts under."""
        return self._partners.get(partner, OTHER)

    def _remember(self, key: tuple[object, ...], event: Event) -> Verdict:
        segment = self._segments.get(event.segment, OTHER)
        partner = self.partner_label(event.partner)
        reason = self._reasons.get(event.reason, OTHER)
        counters = [outcome_name(event.outcome)]
        bad_for = []
        for experience, rule in self._rules.items() if self._is_open(event) else ():
            good = rule(event)
            if good is None:
                continue
            name = good_name if good else bad_name
            counters.append(name(experience, segment, partner))
            if not good:
                bad_for.append(experience)
        if bad_for:
            counters.append(reason_name(reason))
        verdict = Verdict(tuple(counters), tuple(bad_for))
        if (
            event.segment in self._segments
            and event.partner in self._partners
            and event.reason in self._reasons
        ):  # unknown names are endless, so they stay out of the memo
            self._memo[key] = verdict
        return verdict


def _beyond_the_key(stage: Stage) -> tuple[Condition, ...]:
    """Conditions on fields that are not in the memo's key as they are, each once."""
    found = {
        condition: None
        for experience in stage.experiences
        for condition in (*experience.judges, *experience.ignores, *experience.good)
        if condition.field not in ("outcome", "segment", "partner", "reason")
    }
    return tuple(found)


def _labels(names: tuple[str, ...], absent: str) -> dict[str | None, str]:
    return {None: absent, **{name: name for name in names}}


Rule = Callable[[Event], bool | None]


def _opening(journey: Journey, stage: Stage) -> Rule:
    if not stage.hours:
        return lambda event: True  # noqa: ARG005 - a rule is asked with the event
    known_minute, known = -1, True

    def is_in_hours(event: Event) -> bool:
        """Hours are whole minutes, and events come by time: the answer of the last minute mostly holds."""
        nonlocal known_minute, known
        minute = event.at_ms // MINUTE_MS
        if minute != known_minute:
            known_minute, known = minute, is_open(journey, stage, minute * MINUTE_MS)
        return known

    return is_in_hours


def _rule(experience: Experience) -> Rule:
    judges = tuple(_test(condition) for condition in experience.judges)
    ignores = tuple(_test(condition) for condition in experience.ignores)
    good = tuple(_test(condition) for condition in experience.good)

    def rule(event: Event) -> bool | None:
        """True is good, False is bad, None is not judged."""
        for test in judges:
            if not test(event):
                return None
        if ignores and all(test(event) for test in ignores):
            return None
        undecided = False
        for test in good:
            holds = test(event)
            if holds is None:
                undecided = True
            elif not holds:
                return False
        return None if undecided else True

    return rule


def _test(condition: Condition) -> Rule:
    read = _reader(condition.field)
    if condition.one_of is not None:
        known = condition.one_of

        def is_one_of(event: Event) -> bool | None:
            value = read(event)
            return None if value is None else value in known

        return is_one_of
    if condition.is_true is not None:
        wanted = condition.is_true

        def is_wanted(event: Event) -> bool | None:
            value = read(event)
            return None if value is None else value is wanted

        return is_wanted
    low = float("-inf") if condition.at_least is None else condition.at_least
    high = float("inf") if condition.at_most is None else condition.at_most

    def is_between(event: Event) -> bool | None:
        value = read(event)
        return None if value is None else low <= value <= high

    return is_between


def _reader(field: str) -> Callable[[Event], Any]:
    outer, _, inner = field.partition(".")
    if not inner:
        return attrgetter(outer)

    def read(event: Event) -> Any:
        value = getattr(event, outer)
        return None if value is None else getattr(value, inner)

    return read
