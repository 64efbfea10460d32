"""An event in, the names of the counters it adds to out. Everything the monitor counts is named here.

An event outside its stage's opening hours is counted by its outcome, and judged for nothing.

A pane is a sum of named counters; this is the only place that says what those names are:

    good/<experience>/<segment>/<partner>    judged and good
    bad/<experience>/<segment>/<partner>     judged and not good
    outcome/<outcome>                        every event, whatever the experiences say
    begun/<outcome>                          every event that says that an encounter has begun
    reason/<reason>                          every event that is bad for some experience
    duration/<bucket>, duration_ms           histogram of `duration_s` and its sum
    wait/<bucket>, wait_ms                   histogram of `wait_s` and its sum
    touchpoint/<touchpoint>/<outcome>        every event of a stage that names its touchpoints
    asked/<channel>                          who was asked for an answer
    waits/<outcome>, waits_ms/<outcome>      how many events tell `wait_s`, and its sum, by how they ended
    tool_ms, tool_of_ms                      sums of `system_wait_s` and `duration_s` where both are given
    answer/<kind>/<class>/<channel>/<segment>      what was answered, where answers are asked for
    spread_good/<experience>/<by>/<name>     judged and good, by `channel` and by `location`
    spread_bad/<experience>/<by>/<name>      judged and not good, likewise

Names, not positions, so that records written under another journey file can still be read.
"""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter

from monitor.counting.conditions import Rule, rule_of, test_of
from monitor.counting.event import Event
from monitor.journey_file.hours import MINUTE_MS, is_open
from monitor.journey_file.model import ALL, NONE, OTHER, Condition, Journey, Stage

BOUNDS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600),
    *(1800, 3600, 7200, 21600, 86400, 259200, 604800),
)
"""Upper bounds of the duration and wait buckets, inclusive as in Prometheus: a 1-2-5 series up to 10 s, then
times people speak of."""

BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")

ABANDONED = "abandoned"
"""The outcome of whoever gave up. All others were answered, be it without a wait."""

ASKED, FOLLOWED_UP = "asked", "followed_up"
"""Outcomes a feedback stage may declare further: somebody was asked, somebody who was unhappy was contacted.
Neither carries a score, so a stage that judges scores judges neither; what is answered is counted itself."""

ANSWER_CLASSES: dict[str, tuple[tuple[str, float, float], ...]] = {
    "nps": (("promoter", 9, 10), ("passive", 7, 9), ("detractor", 0, 7)),
    "csat": (("good", 4, 5), ("other", 1, 4)),
    "ces": (("easy", 5, 7), ("other", 1, 5)),
}
"""Kind of score -> class, from which value on, up to which; a value off the scale is no answer. Where two
classes meet, the higher one has the value (NPS on 0-10, CSAT on 1-5, CES on 1-7)."""

TOUCHPOINT = "touchpoint"
"""Where in its stage an event happened."""

BY_CHANNEL, BY_LOCATION = "channel", "location"
"""What experiences are compared by: evenness whatever the channel, whatever the place."""

NO_REASON = "unspecified"
"""Counted as the reason of a bad event that gives none."""


def counter_name(kind: str, *of: str) -> str:
    """The name of a counter of this kind, by what it is counted by: see above."""
    return "/".join((kind, *of))


def bucket_names(kind: str) -> tuple[str, ...]:
    """Counters of the buckets of `duration` or `wait`, in the order of `BUCKETS`, not cumulative."""
    return tuple(f"{kind}/{bucket}" for bucket in BUCKETS)


def waits_names(outcome: str) -> tuple[str, str]:
    """Counters of events of an outcome that tell their wait: how many, and the sum of their waits in ms."""
    return f"waits/{outcome}", f"waits_ms/{outcome}"


def touchpoint_labels(stage: Stage) -> tuple[str, ...]:
    """Every touchpoint that events of the stage are counted by, in the order customers meet them."""
    return (*stage.touchpoints, OTHER, NONE) if stage.touchpoints else ()


def asked_channels(journey: Journey, stage: Stage) -> tuple[str, ...]:
    """The channels that asking is counted by, where customers are asked."""
    asks = ASKED in stage.outcomes and stage.kind != "staff" and bool(journey.channels)
    return (NONE, *journey.channels, OTHER) if asks else ()


def answer_class(kind: str, value: float) -> str | None:
    """What an answer counts as; None when its value is off the scale of its kind."""
    _, _, highest = ANSWER_CLASSES[kind][0]
    return next((name for name, low, _ in ANSWER_CLASSES[kind] if low <= value <= highest), None)


def counts_answers(stage: Stage) -> bool:
    """Whether answers are asked for at the stage: it is there for that, or judges by scores."""
    return stage.kind in ("feedback", "staff") or any(
        condition.field.startswith("score.")
        for experience in stage.experiences
        for condition in (*experience.judges, *experience.ignores, *experience.good)
    )


def answer_places(journey: Journey, stage: Stage) -> tuple[tuple[str, str], ...]:
    """The channels and segments that answers are counted by.

    Of staff neither is kept: a few colleagues at one desk would be known by their answers.
    """
    if stage.kind == "staff":
        return ((ALL, ALL),)
    channels = (NONE, *journey.channels, OTHER)
    return tuple((channel, segment) for channel in channels for segment in journey.segment_labels)


def answer_cells(journey: Journey, stage: Stage) -> Iterator[tuple[str, str, str, str]]:
    """Kind, class, channel and segment of every counter of answers of the stage."""
    if counts_answers(stage):
        for kind, classes in ANSWER_CLASSES.items():
            for name, _, _ in classes:
                for channel, segment in answer_places(journey, stage):
                    yield kind, name, channel, segment


def spread_cells(journey: Journey, stage: Stage) -> Iterator[tuple[str, str, str]]:
    """Experience, what it is compared by, and name of every counter of spread of the stage.

    None of staff, nor of channels or locations where the file names none.
    """
    named = {BY_CHANNEL: journey.channels, BY_LOCATION: stage.locations}
    for experience in stage.experiences if stage.kind != "staff" else ():
        for by, names in named.items():
            for name in (*names, OTHER) if names else ():
                yield experience.name, by, name


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
        *(counter_name("good", *cell) for cell in cells),
        *(counter_name("bad", *cell) for cell in cells),
        *(counter_name("outcome", outcome) for outcome in stage.outcomes),
        *(counter_name("begun", outcome) for outcome in stage.openings),
        *(counter_name("reason", reason) for reason in reason_labels(stage)),
        *bucket_names("duration"),
        "duration_ms",
        *bucket_names("wait"),
        "wait_ms",
        *(name for outcome in stage.outcomes for name in waits_names(outcome)),
        *(counter_name("touchpoint", *at) for at in product(touchpoint_labels(stage), stage.outcomes)),
        *(counter_name("asked", channel) for channel in asked_channels(journey, stage)),
        "tool_ms",
        "tool_of_ms",
        *(counter_name("answer", *cell) for cell in answer_cells(journey, stage)),
        *(counter_name("spread_good", *cell) for cell in spread_cells(journey, stage)),
        *(counter_name("spread_bad", *cell) for cell in spread_cells(journey, stage)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What an event adds 1 to, how many experiences judged it, and those it was bad for.

    `spread` are the counters by channel and location. A verdict equals itself only: what is remembered is
    the same each time, and is told from others at no cost.
    """

    counters: tuple[str, ...]
    spread: tuple[str, ...]
    judged: int
    bad_for: tuple[str, ...]


class Judge:
    """Judges the events of one stage. Stateless but for a memo, whose size the journey file bounds.

    Events that agree on the memo's key agree on every condition, so each combination is judged once.
    """

    def __init__(self, journey: Journey, stage: Stage) -> None:
        self._segments = _labels(journey.segments, absent=OTHER)
        self._partners = _labels(stage.partners, absent=NONE)
        self._reasons = _labels(stage.reasons, absent=NO_REASON)
        self._channels = _labels(journey.channels, absent=NONE)
        self._rules = {experience.name: rule_of(experience) for experience in stage.experiences}
        self._is_open = _opening(journey, stage)
        self._tests = tuple(test_of(condition) for condition in _beyond_the_key(stage))
        if stage.hours:
            self._tests = (self._is_open, *self._tests)
        self._answers = {cell: counter_name("answer", *cell) for cell in answer_cells(journey, stage)}
        self._classes = {
            (kind, n): answer_class(kind, n) for kind in ANSWER_CLASSES for n in map(float, range(11))
        }
        self.waits = {outcome: waits_names(outcome) for outcome in stage.outcomes}
        """Outcome -> its `waits_names`."""
        self._begun = {one: Verdict((counter_name("begun", one),), (), 0, ()) for one in stage.openings}
        self._is_staff = stage.kind == "staff"
        self._compared = {by: None for _, by, _ in spread_cells(journey, stage)}
        self._places = {
            by: _labels(journey.channels if by == BY_CHANNEL else stage.locations, absent=NONE)
            for by in self._compared
        }
        if stage.touchpoints:
            self._places[TOUCHPOINT] = _labels(stage.touchpoints, absent=NONE)
        self._asks = bool(asked_channels(journey, stage))
        self._read = attrgetter("outcome", "segment", "partner", "reason", *self._places)
        self._memo: dict[tuple[object, ...], Verdict] = {}

    def judge(self, event: Event) -> Verdict:
        """Counters of the closed key space only: unknown names count as `other`."""
        (verdict,) = self.judge_all((event,))
        return verdict

    def judge_all(self, events: Sequence[Event]) -> list[Verdict]:
        """The verdict of each event. Events alike share one, so for most of them it is looked up."""
        keys: list[tuple[object, ...]] = list(map(self._read, events))
        if self._tests:
            answers = zip(*(map(test, events) for test in self._tests), strict=True)
            keys = list(map(operator.add, keys, answers))
        return [
            known or self._judge_anew(key, event)
            for known, key, event in zip(map(self._memo.get, keys), keys, events, strict=True)
        ]

    def answer(self, event: Event) -> str | None:
        """The counter of the event's answer; None without one, or where answers are not counted."""
        score = event.score
        if score is None or not self._answers:
            return None
        answer = self._classes.get((score.kind, score.value)) or answer_class(score.kind, score.value)
        if answer is None:
            return None
        if self._is_staff:
            return self._answers[score.kind, answer, ALL, ALL]
        channel = self._channels.get(event.channel, OTHER)
        return self._answers[score.kind, answer, channel, self._segments.get(event.segment, OTHER)]

    def segment_label(self, segment: str | None) -> str:
        """The `segment` label that an event of this segment counts under."""
        return self._segments.get(segment, OTHER)

    def partner_label(self, partner: str | None) -> str:
        """The `partner` label that an event of this partner counts under."""
        return self._partners.get(partner, OTHER)

    def _judge_anew(self, key: tuple[object, ...], event: Event) -> Verdict:
        """By the rules of all experiences. Verdicts are remembered, but not for names that the file lacks:
        those are endless."""
        if event.outcome in self._begun:
            return self._begun[event.outcome]
        places = {by: getattr(event, by) for by in self._places}
        strange = [by for by, name in places.items() if name not in self._places[by]]
        if strange:  # it counts as any other strange channel or location: only its label is remembered
            others = [OTHER if by in strange else name for by, name in places.items()]
            key = (*key[:4], *others, *key[4 + len(others) :])
            if (verdict := self._memo.get(key)) is not None:
                return verdict
        segment = self.segment_label(event.segment)
        partner = self.partner_label(event.partner)
        reason = self._reasons.get(event.reason, OTHER)
        counters = self._whatever(event)
        spread = []
        judged = 0
        bad_for = []
        for experience, rule in self._rules.items() if self._is_open(event) else ():
            good = rule(event)
            if good is None:
                continue
            judged += 1
            kind = "good" if good else "bad"
            counters.append(counter_name(kind, experience, segment, partner))
            spread += [
                counter_name(f"spread_{kind}", experience, by, self._places[by].get(place, OTHER))
                for by in self._compared
                if (place := places[by]) is not None
            ]
            if not good:
                bad_for.append(experience)
        if bad_for:
            counters.append(counter_name("reason", reason))
        verdict = Verdict(tuple(counters), tuple(spread), judged, tuple(bad_for))
        if (
            event.segment in self._segments
            and event.partner in self._partners
            and event.reason in self._reasons
        ):
            self._memo[key] = verdict
        return verdict

    def _whatever(self, event: Event) -> list[str]:
        """What is counted of an event, judged or not."""
        counters = [counter_name("outcome", event.outcome)]
        if TOUCHPOINT in self._places:
            touchpoint = self._places[TOUCHPOINT].get(event.touchpoint, OTHER)
            counters.append(counter_name("touchpoint", touchpoint, event.outcome))
        if self._asks and event.outcome == ASKED:
            counters.append(counter_name("asked", self._channels.get(event.channel, OTHER)))
        return counters


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
