"""A history as the text of a journey file, with the reason for every number beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from monitor.counting.display import counted, percent
from monitor.journey_file.model import OUTCOMES, WHOLE, Kind
from monitor.learn.journeys import HandedOver, Owed, Whole, whole
from monitor.learn.order import in_order
from monitor.learn.propose import Proposed, experiences, frequent, kind_of
from monitor.learn.rhythm import Rhythm, rhythm
from monitor.learn.seen import Names, Seen
from monitor.learn.targets import Achieved, Key, Target
from monitor.rules.journeys import GOAL

OWNER = "operations"

UNKNOWN, GUESS = "0.5", "a guess: nothing was judged"
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
    topics: Mapping[str, str] = field(default_factory=dict)
    """Those of stages, where the history was read from such; others have the usual name."""


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
    order = in_order(seen)
    kinds = {name: kind_of(stage, seen) for name, stage in seen.stages.items()}
    if found := whole(seen, order, kinds):
        yield ""
        yield from _journeys(found, learned)
    yield ""
    yield "stages:   # in the order in which journeys pass them, else in that in which they appear"
    for name in order:
        yield from stage_lines(learned, name, kinds[name])


def _journeys(found: Whole, learned: Learned) -> Iterator[str]:
    """The section `journeys`; each target is that of an experience of whole journeys."""

    def target(experience: str) -> tuple[str, str]:
        achieved = learned.achieved.get((WHOLE, experience))
        return (str(achieved.all.target), told(achieved.all, learned.seen)) if achieved else (UNKNOWN, GUESS)

    goal, why = target(GOAL)
    yield "journeys:   # events with one `journey_id` are a journey"
    yield f"  owner: {OWNER}"
    yield f"  starts: {{stage: [{found.starts}]}}   # a guess: where most journeys of several stages begin"
    outcomes = ", ".join(found.goal_outcomes)
    yield f"  goal: {{stage: [{found.goal}], outcome: [{outcomes}]}}   # a guess: the last stage"
    yield f"  target: {goal}   # {why}"
    yield f"  quiet: {found.quiet}   # 99 of 100 journeys are never silent for longer"
    yield f"  limit: {found.limit}   # 99 of 100 journeys take no longer"
    if found.promises:
        yield "  promises:   # each with the stage that says whether it was kept"
    for owed in found.promises:
        yield promise_line(owed, *target(owed.experience))
    if found.contacts:
        yield f"  contacts: [{', '.join(found.contacts)}]   # most of its events name a case"
    if found.handoffs:
        yield "  handoffs:   # 99 of 100 that arrived took no longer"
    for one in found.handoffs:
        yield handoff_line(one, *target(one.experience))
    if found.has_moves:
        moves, why = target("moves")
        yield f"  moves: {{target: {moves}}}   # {why}"


def promise_line(owed: Owed, target: str, why: str) -> str:
    """A kind of promise with its target, and the reason for that."""
    return f"    {owed.kind}: {{stage: {owed.stage}, target: {target}}}   # {why}"


def handoff_line(one: HandedOver, target: str, why: str) -> str:
    """A hand-over with its target, and the reason for that."""
    ways = f"from: {one.sender}, to: {one.receiver}, within: {one.within}, target: {target}"
    return f"    - {{{ways}}}   # {why}"


def stage_lines(learned: Learned, name: str, kind: Kind) -> Iterator[str]:
    """A stage of the file, whole."""
    seen, stage = learned.seen, learned.seen.stages[name]
    yield f"  {name}:   # {counted(stage.n, 'event')}"
    yield f"    kind: {kind}   # a guess: customer, background, partner, feedback or staff"
    yield f"    owner: {OWNER}   # who is told"
    if name in learned.topics:
        yield f'    topic: "{learned.topics[name]}"'
    others = [outcome for outcome in stage.outcomes if outcome not in OUTCOMES]
    if others:
        yield f"    outcomes: [{', '.join(others)}]   # beside {', '.join(OUTCOMES)}; not judged"
    for key, names, advice in (
        ("partners", stage.partners, ""),
        ("locations", stage.locations, ""),
        ("reasons", stage.reasons, ""),
        ("touchpoints", stage.touchpoints, "   # by how many end there: put them in the order of customers"),
    ):
        if frequent(names):
            yield f"    {key}: {_list(names)}{advice}"
    if seen.days >= RHYTHM_DAYS:
        yield from _rhythm(rhythm(stage.quarters, seen.first_ms, seen.last_ms, learned.timezone))
    yield "    experiences:"
    for experience in experiences(stage, kind):
        yield from _experience(experience, learned.achieved.get((name, experience.name)), seen)


def _rhythm(found: Rhythm) -> Iterator[str]:
    if found.hours:
        spans = ", ".join(f'{days}: "{spans}"' for days, spans in found.hours.items())
        yield f"    hours: {{{spans}}}   # outside them next to nothing came"
    yield from expects_lines(found)


def expects_lines(found: Rhythm) -> Iterator[str]:
    """What a stage expects; nothing where next to nothing comes."""
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
        yield f"        target: {UNKNOWN}   # {GUESS}"
        return
    yield f"        target: {achieved.all.target}   # {told(achieved.all, seen)}"
    if achieved.segments:
        yield "        targets:   # of segments that are surely below it"
        for segment, own in achieved.segments.items():
            yield f"          {segment}: {own.target}   # {told(own, seen)}"


def told(target: Target, seen: Seen) -> str:
    """The reason for a target."""
    share = target.share
    left_out = f", {counted(target.left_out, 'day')} of trouble left out" if target.left_out else ""
    of = target.of or f"over {_days(seen)}{left_out}"
    return f"achieved {percent(share)} of {share.n:,} {of}; set a hair under it"


def _days(seen: Seen) -> str:
    return counted(max(1, round(seen.days)), "day")


def _list(names: Names) -> str:
    return f"[{', '.join(frequent(names))}]"
