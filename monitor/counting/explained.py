"""What a worker would make of an event, in words for whoever publishes it.

The verdict is the worker's own. The words say why, and what would be lost without an error: a field that
nobody reads, a name that counts as `other`, a field whose absence leaves an experience unjudged.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

import msgspec

from monitor.counting.conditions import rule_of, test_of
from monitor.counting.event import Codec, Event, Refused
from monitor.counting.formats import text_of
from monitor.journey_file.hours import is_open
from monitor.journey_file.model import Condition, Experience, Journey, Stage

Said = Literal["good", "bad", "not judged"]

FREE = "attributes"
"""Holds whatever a service likes; nobody reads it."""

_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_bytes_of = msgspec.json.Decoder(bytes).decode


@dataclass(frozen=True, slots=True)
class Judged:
    """What an experience says of the event, and why."""

    experience: str
    said: Said
    why: str


@dataclass(frozen=True, slots=True)
class Explained:
    """An event that would be counted, at which stage; `warnings` tell what of it would be lost."""

    stage: str
    judged: list[Judged]
    warnings: list[str]


def explained(codec: Codec, value: bytes, now_ms: int) -> Explained | Refused:
    """What a worker makes of a record of that codec's stage that it reads at that moment."""
    event = codec.decode(value)
    if isinstance(event, Refused):
        return event
    if refused := codec.refuse_time(event.at_ms, now_ms):
        return refused
    journey, stage = codec.journey, codec.stage
    warnings = [*_unread(value), *_strange(journey, stage, event)]
    if not is_open(journey, stage, event.at_ms):
        warnings.append("the stage is closed at that time: the event is judged for nothing")
        return Explained(stage.name, [], warnings)
    return Explained(stage.name, [_judged(one, event) for one in stage.experiences], warnings)


_test = cache(test_of)


def _judged(experience: Experience, event: Event) -> Judged:
    name, verdict = experience.name, rule_of(experience)(event)
    if verdict is not None:
        decided = [one for one in experience.good if _test(one)(event) is verdict]
        return Judged(name, "good" if verdict else "bad", _told(decided, event))
    if barred := [one for one in experience.judges if not _test(one)(event)]:
        return Judged(name, "not judged", _told(barred, event))
    if experience.ignores and all(_test(one)(event) for one in experience.ignores):
        return Judged(name, "not judged", f"ignored, for {_told(experience.ignores, event)}")
    return Judged(name, "not judged", _told(undecided(experience, event) or (), event))


def undecided(experience: Experience, event: Event) -> list[Condition] | None:
    """The conditions of `good` whose field an event lacks; None if the event is none to judge."""
    if not all(_test(one)(event) for one in experience.judges):
        return None
    if experience.ignores and all(_test(one)(event) for one in experience.ignores):
        return None
    return [one for one in experience.good if _test(one)(event) is None]


def _told(conditions: Iterable[Condition], event: Event) -> str:
    """What the event has where conditions look, and what they ask for."""
    return "; ".join(
        f"`{one.field}` {_shown(event, one.field)}, asked is {_asked(one)}" for one in conditions
    )


def _shown(event: Event, path: str) -> str:
    value: Any = event
    for name in path.split("."):
        value = getattr(value, name, None)
    return "is missing" if value is None else f"is {msgspec.json.encode(value).decode()}"


def _asked(condition: Condition) -> str:
    if condition.is_true is not None:
        return str(condition.is_true).lower()
    if condition.one_of is not None:
        return " or ".join(sorted(condition.one_of))
    bounds = {"at least": condition.at_least, "at most": condition.at_most}
    return " and ".join(f"{how} {bound:g}" for how, bound in bounds.items() if bound is not None)


def _unread(value: bytes) -> Iterator[str]:
    """Warnings of fields that nobody reads; of a CloudEvent, in its data."""
    named = _fields_of(text_of(value))
    if "specversion" in named and "data" in named:
        named = _fields_of(named["data"])
    elif "specversion" in named and "data_base64" in named:
        named = _fields_of(text_of(_bytes_of(named["data_base64"])))
    known = _names(Event)
    yield from _unknown([name for name in named if name != FREE], known, "")
    for outer, kind in known.items():
        if kind is not None and bytes(named.get(outer, b"null")) != b"null":
            yield from _unknown(_fields_of(named[outer]), _names(kind), f"{outer}.")


@cache
def _names(kind: type[msgspec.Struct]) -> Mapping[str, type[msgspec.Struct] | None]:
    """Names of fields as they are written, each with the struct that it holds."""
    return {one.encode_name: _struct_in(one.type) for one in msgspec.structs.fields(kind)}


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    inner = getattr(kind, "__args__", (kind,))
    return next((one for one in inner if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)


def _unknown(named: Iterable[str], known: Mapping[str, Any], within: str) -> Iterator[str]:
    for name in named:
        if name not in known:
            snake = re.sub(r"(?<=[a-z])(?=[A-Z])|[-. ]", "_", name).lower()
            near = get_close_matches(snake, known, n=1)
            meant = f"is `{within}{near[0]}` meant?" if near else f"what is your own belongs into `{FREE}`"
            yield f"nobody reads the field `{within}{name}`: {meant}"


def listed_names(journey: Journey, stage: Stage) -> dict[str, tuple[str, ...]]:
    """Fields of which the file may list names, and those that it does: with a list, others are `other`."""
    return {
        "segment": journey.segments,
        "channel": journey.channels,
        "partner": stage.partners,
        "reason": stage.reasons,
        "location": stage.locations,
        "touchpoint": stage.touchpoints,
    }


def _strange(journey: Journey, stage: Stage, event: Event) -> Iterator[str]:
    """Warnings of names that count as `other`, for the file does not know them."""
    for name, words in listed_names(journey, stage).items():
        word = getattr(event, name)
        if words and word is not None and word not in words:
            yield f"the {name} counts as `other`; known are {', '.join(words)}"
    if journey.segments and event.segment is None:
        yield f"without a segment it counts as `other`; known are {', '.join(journey.segments)}"
