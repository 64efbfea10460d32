"""A history as the text of a journey file, with the reason for every number beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from monitor.counting.display import counted, percent
from monitor.journey_file.model import OUTCOMES
from monitor.learn.order import in_order
from monitor.learn.propose import Proposed, experiences, frequent, kind_of
from monitor.learn.rhythm import Rhythm, rhythm
from monitor.learn.seen import Names, Seen, SeenStage
from monitor.learn.targets import Achieved, Key, Target

OWNER = "operations"

UNKNOWN = "0.5"
"""A target before anything was judged."""

RHYTHM_DAYS = 7
"""Fewer do not hold every day of the week."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a history, and how its journey file is called."""

    name: str
    timezone: str
    seen: Seen
    achieved: Mapping[Key, Achieved] = field(default_factory=dict)
    """Nothing before the history was judged: targets are then `UNKNOWN`."""


def written(learned: Learned) -> str:
    """The file. Without `achieved` it says the same but for its targets."""
    return "\n".join(_file(learned)) + "\n"


def _file(learned: Learned) -> Iterator[str]:
    seen = learned.seen
    yield f"# Learned from {counted(seen.n, 'event')} over {_days(seen)}. What is a guess says so."
    yield "# `touchpoint check` says what is wrong with it, `touchpoint backtest` what it would have told."
    yield "version: 1"
    yield f"journey: {learned.name}"
    yield f"timezone: {learned.timezone}   # of opening hours and rhythm: name your own"
    yield f"segments: {_list(seen.segments)}   # by how many they are: put the most important first"
    yield f"channels: {_list(seen.channels)}"
    partners = Names()
    for stage in seen.stages.values():
        partners.update({name: stage.partners[name] for name in frequent(stage.partners)})
    yield f"partners: [{', '.join(name for name, _ in partners.most_common())}]"
    yield ""
    yield "stages:   # in the order in which journeys pass them, else in that in which they appear"
    for name in in_order(seen):
        yield from _stage(learned, name, seen.stages[name])


def _stage(learned: Learned, name: str, stage: SeenStage) -> Iterator[str]:
    seen = learned.seen
    kind = kind_of(stage, seen)
    yield f"  {name}:   # {counted(stage.n, 'event')}"
    yield f"    kind: {kind}   # a guess: customer, background, partner, feedback or staff"
    yield f"    owner: {OWNER}   # who is told"
    others = [outcome for outcome in stage.outcomes if outcome not in OUTCOMES]
    if others:
        yield f"    outcomes: [{', '.join(others)}]   # beside {', '.join(OUTCOMES)}; not judged"
    for key, names in (
        ("partners", stage.partners),
        ("locations", stage.locations),
        ("reasons", stage.reasons),
        ("touchpoints", stage.touchpoints),
    ):
        if frequent(names):
            yield f"    {key}: {_list(names)}"
    if seen.days >= RHYTHM_DAYS:
        yield from _rhythm(rhythm(stage.quarters, seen.first_ms, seen.last_ms, learned.timezone))
    yield "    experiences:"
    for experience in experiences(stage, kind):
        yield from _experience(experience, learned.achieved.get((name, experience.name)), seen)


def _rhythm(found: Rhythm) -> Iterator[str]:
    if found.hours:
        spans = ", ".join(f'{days}: "{spans}"' for days, spans in found.hours.items())
        yield f"    hours: {{{spans}}}   # outside them next to nothing came"
    if found.per_hour >= LEAST_PER_HOUR:
        by_hour = ", ".join(f"{n:.3g}" for n in found.by_hour)
        yield "    # the events of each hour, from midnight on, on the weekday that has fewest then"
        yield f"    expects: {{per_hour: {found.per_hour:.3g}, by_hour: [{by_hour}]}}"


LEAST_PER_HOUR = 0.01
"""Where less comes nothing is ever called silent."""


def _experience(proposed: Proposed, achieved: Achieved | None, seen: Seen) -> Iterator[str]:
    yield f"      {proposed.name}:" + (f"   # {proposed.why}" if proposed.why else "")
    yield f'        title: "{proposed.title}"'
    yield f"        judges: {proposed.judges}"
    if proposed.ignores:
        yield f"        ignores: {proposed.ignores}   # hung up before anybody could answer"
    yield f"        good: {proposed.good}"
    if achieved is None:
        yield f"        target: {UNKNOWN}   # nothing was judged: a guess"
        return
    yield f"        target: {achieved.all.target}   # {_told(achieved.all, seen)}"
    if achieved.segments:
        yield "        targets:   # of segments that are surely below it"
        for segment, own in achieved.segments.items():
            yield f"          {segment}: {own.target}   # {_told(own, seen)}"


def _told(target: Target, seen: Seen) -> str:
    share = target.share
    when = "on the worst day" if target.is_of_worst_day else f"over {_days(seen)}"
    return f"achieved {percent(share)} of {share.n:,} {when}; set a hair under it"


def _days(seen: Seen) -> str:
    return counted(max(1, round(seen.days)), "day")


def _list(names: Names) -> str:
    return f"[{', '.join(frequent(names))}]"
