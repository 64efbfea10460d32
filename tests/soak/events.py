"""What the soak publishes: seeded blocks of events of which every counter is known beforehand.

The load repeats blocks with only id and time changed, so counting blocks is counting events. Load and soak
make the same blocks from the same seed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import yaml

from monitor.counting.event import Codec, Refused
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, Counts, Tally
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey, Stage
from streams.settings import SHIPPED_JOURNEY

BLOCK_EVENTS = 100
BLOCKS = 20
"""Different blocks of a stage: 2,000 events vary enough to touch every label."""

BAD_EVERY = 2
"""Every second block holds one record that must be refused: 0.5 %."""

BASE, ADDED, REMOVED, SEGMENT = "base", "experience added", "experience removed", "segment added"
VERSIONS = (BASE, ADDED, REMOVED, SEGMENT)
"""Journey files in the order in which workers are upgraded; then back to the first."""

CHANGED_STAGE = "store"
"""Changes with the versions. Its load rests while workers are exchanged, so that every judgement is known."""

LOOSE_STAGE, LOOSE_EXPERIENCE = "warehouse", "soak_clean"
"""Added and taken away under load: which event met which file is open, so only its bounds are checked."""

WITH_JOURNEY = 0.2
"""Share of events that name their journey. Such an event costs four times as much, and the soak is about the
windows of stages; `tests.journey_month` is about those of journeys."""

NEW_SEGMENT = "soak_vip"


def journey_text(version: str) -> str:
    """The shipped journey file as it stands in that version."""
    file: Any = yaml.safe_load(SHIPPED_JOURNEY.read_text())
    stages = file["stages"]
    changed = stages[CHANGED_STAGE]["experiences"]
    if version != BASE:
        changed["soak_quick"] = {
            "judges": {"outcome": ["ok", "wow", "failed", "abandoned"]},
            "good": {"wait_s": {"at_most": 60}},
            "target": 0.9,
        }
        loose = stages[LOOSE_STAGE]["experiences"]
        loose[LOOSE_EXPERIENCE] = dict(loose["order_packed"])
    if version in (REMOVED, SEGMENT):
        del changed["store_wait"]
    if version == SEGMENT:
        file["segments"].append(NEW_SEGMENT)
    return yaml.safe_dump(file, sort_keys=False)


@cache
def journey(version: str) -> Journey:
    """That version, parsed."""
    return parse(journey_text(version))


@dataclass(frozen=True, slots=True)
class Template:
    """A record without its id and time."""

    rest: bytes
    is_bad: bool

    def record(self, series: bytes, offset: int, time: bytes) -> bytes:
        """The record as it is published at that offset; each partition has its own `series`."""
        return b'{"id":"%s-%d","time":"%s",%s' % (series, offset, time, self.rest)


Block = tuple[Template, ...]


def blocks(stage: Stage, seed: int) -> list[Block]:
    """The blocks of a stage."""
    rng = random.Random(f"{seed} {stage.name}")
    found = []
    for number in range(BLOCKS):
        block = [Template(_rest(_event(stage, rng)), is_bad=False) for _ in range(BLOCK_EVENTS)]
        if number % BAD_EVERY == 0:
            block[rng.randrange(BLOCK_EVENTS)] = Template(rng.choice(list(_bad(stage, rng))), is_bad=True)
        found.append(tuple(block))
    return found


def block_counts(judged_by: Journey, stage_name: str, of: list[Block]) -> list[Counts]:
    """The counters of each block, as a worker with that journey file must count them."""
    stage = judged_by.stage(stage_name)
    codec, judge = Codec(judged_by, stage), Judge(judged_by, stage)
    found = []
    for block in of:
        tally = Tally(judge)
        for template in block:
            event = codec.decode(template.record(b"", 0, b"2026-01-01T00:00:00Z"))
            if isinstance(event, Refused) is not template.is_bad:
                raise AssertionError(f"stage {stage_name}: {template} was judged {event}")
            if not isinstance(event, Refused):
                tally.add([event], [0])
        found.append(next(counts for key, counts in tally.panes() if key.grain_ms == LONG.ms))
    return found


def _rest(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event)[1:]


def _event(stage: Stage, rng: random.Random) -> dict[str, Any]:
    outcome = rng.choices(stage.outcomes, [90, 4, *[3] * (len(stage.outcomes) - 2)])[0]
    segments = ["business", "returning", "new", "walk_in", None]
    event: dict[str, Any] = {
        "stage": stage.name,
        "outcome": outcome,
        "journey_id": f"j-{rng.getrandbits(40):x}" if rng.random() < WITH_JOURNEY else None,
        "customer_ref": f"c-{rng.getrandbits(40):x}",
        "segment": rng.choice([*segments, NEW_SEGMENT] if stage.name == CHANGED_STAGE else segments),
        "partner": rng.choice([*stage.partners, "unheard_of", None]),
        "duration_s": round(rng.expovariate(1 / 60), 1),
        "wait_s": round(rng.expovariate(1 / 60), 1) if rng.random() < 0.8 else None,
    }
    if outcome in ("failed", "abandoned"):
        event["reason"] = rng.choice([*stage.reasons, "unheard_of", None])
    if stage.kind == "feedback":
        event["score"] = {"kind": "nps", "value": rng.randint(0, 10)}
    if stage.kind == "staff":
        event["score"] = {"kind": "csat", "value": rng.randint(1, 5)}
    if stage.kind == "partner":
        kept = rng.choice([True, True, True, False, None])
        event["promise"] = {"id": "p-1", "kind": "delivery_window", "kept": kept}
    return {name: value for name, value in event.items() if value is not None}


def _bad(stage: Stage, rng: random.Random) -> Iterator[bytes]:
    event = _event(stage, rng)
    yield _rest(event | {"stage": "nowhere"})
    yield _rest(event | {"outcome": "meh"})
    yield _rest(event | {"duration_s": "fast"})
    yield _rest(event)[:-1]
