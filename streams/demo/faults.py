"""The faults a simulation can be told to have; one that has an effect touches only the stage this names.

A fault is written `NAME[=STRENGTH]@SECONDS[+SECONDS]`: `checkout-payment-failure=60%@120+300` lets 60 % of
checkouts fail from two minutes after the live part begins, for five minutes. Without an end it stays on.
Faults between the stages leave every stage's numbers on target: only who looks at whole journeys sees them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import nearest
from streams.demo import story
from streams.demo.story import BETWEEN_STAGES, EFFECTS

BAD_EVENTS = "bad-events"
STAGE_SILENT = "stage-silent"

KINDS = story.FAULTS | {
    STAGE_SILENT: (1.0, "events of the stage that are never sent"),
    BAD_EVENTS: (0.05, "events that are malformed"),
}
FAULTS = {
    name + (":<stage>" if name == STAGE_SILENT else ""): f"{does} ({strength})"
    for name, (strength, does) in KINDS.items()
}
"""Fault as it is written -> what it does, with its default strength in brackets."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a simulation."""

    name: str
    strength: float
    """0..1; what it is the share of says the fault's description."""
    from_s: float
    """When it begins, in seconds after the start of the live part."""
    stage: str | None
    """The silent stage of `stage-silent`, otherwise None."""
    for_s: float = math.inf
    """How long it lasts."""

    @property
    def is_total(self) -> bool:
        """Whether it leaves nothing of what it strikes, for ever."""
        return self.strength == 1.0 and self.for_s == math.inf


WRITTEN = "NAME[=STRENGTH]@SECONDS[+SECONDS]"
STRENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(%?)")
SECONDS = re.compile(r"\d+(?:\.\d*)?|\.\d+")


def parse_fault(text: str, journey: Journey) -> Fault:
    """Read `NAME[=STRENGTH]@SECONDS[+SECONDS]`; ValueError says in one line what is wrong with it."""
    head, at, seconds = text.strip().rpartition("@")
    if not at:
        raise ValueError(f"fault `{text}`: must be {WRITTEN}, as courier-late=0.6@30 or courier-late@30+300")
    begins, plus, lasts = seconds.partition("+")
    for each in (begins, *([lasts] if plus else [])):
        if not SECONDS.fullmatch(each) or not math.isfinite(float(each)):
            raise ValueError(f"fault `{text}`: `{each}` must be a number of seconds, 0 or more")
    head, equals, strength = head.partition("=")
    name, colon, stage = head.partition(":")
    if name not in KINDS:
        raise ValueError(f"fault `{text}`: unknown fault `{name}`{nearest(name, FAULTS)}")
    _check_stage(text, name, stage if colon else None, tuple(s.name for s in journey.stages))
    share = _strength(text, strength) if equals else KINDS[name][0]
    for_s = float(lasts) if plus else math.inf
    return Fault(name, share, float(begins), stage if colon else None, for_s)


def _check_stage(text: str, name: str, stage: str | None, known: tuple[str, ...]) -> None:
    if name == STAGE_SILENT:
        if not stage:
            raise ValueError(f"fault `{text}`: must name its stage, as {STAGE_SILENT}:{known[0]}")
        if stage not in known:
            raise ValueError(f"fault `{text}`: unknown stage `{stage}`{nearest(stage, known)}")
    elif stage is not None:
        raise ValueError(f"fault `{text}`: only {STAGE_SILENT} takes a stage, write `{name}`")
    for needed in (EFFECTS[name].stage,) if name in EFFECTS else BETWEEN_STAGES.get(name, ()):
        if needed not in known:
            raise ValueError(
                f"fault `{text}`: needs stage `{needed}`, which the journey file lacks; "
                f"{STAGE_SILENT}:{known[0]} and {BAD_EVENTS} fit any journey"
            )


def _strength(text: str, strength: str) -> float:
    match = STRENGTH.fullmatch(strength)
    share = float(match[1]) / (100 if match[2] else 1) if match else math.inf
    if share > 1:
        raise ValueError(f"fault `{text}`: strength `{strength}` must be 0 to 1, or 0% to 100%")
    return share


MALFORMED: tuple[Callable[[dict[str, Any]], bytes], ...] = (
    lambda event: orjson.dumps(event)[:-9],
    lambda event: orjson.dumps({**event, "outcome": "teleported"}),
    lambda event: orjson.dumps({**event, "time": "yesterday"}),
    lambda event: orjson.dumps({**event, "stage": "carrier-pigeon"}),
    lambda event: orjson.dumps({**event, "wait_s": "long"}),
    lambda event: orjson.dumps({**event, "wait_s": -1}),
    lambda event: orjson.dumps({**event, "id": None}),
)
"""The ways an event of `bad-events` is malformed; the codec has a refusal for each."""
