"""Encounters made to be mean: their waits stand at an edge of a limit. The same for the same seed.

An event whose id begins with `0` is to be published before all others, one that begins with `9` after them.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.oracle.events import Event

WAITS_S = [0, 5, 19, 20, 21, 63, 3000]
LASTS_S = [30, 89, 90, 91, 3000]
WEEK_H = 7 * 24


class Encounter:
    """The events of one, as its service publishes them."""

    def __init__(self, name: str, stage: str, begin: datetime, rng: random.Random) -> None:
        self.name, self.stage, self._begin = name, stage, begin
        self.events: list[Event] = []
        segment = rng.choice(["business", "new", "stranger", None])
        partner = rng.choice(["klarna", "unheard_of", None]) if stage == "checkout" else None
        self._about = {key: one for key, one in (("segment", segment), ("partner", partner)) if one}

    def say(self, seconds: float, outcome: str, turn: int = 5, **fields: object) -> None:
        """So long after its beginning."""
        time = (self._begin + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        id_ = f"{turn}-{self.name}-{len(self.events)}"
        named = {"id": id_, "time": time, "stage": self.stage, "outcome": outcome, "encounter_id": self.name}
        self.events.append(named | self._about | fields)


def call(one: Encounter, rng: random.Random, turn: int = 5) -> None:
    """Queued, answered or not, over."""
    wait_s = rng.choice(WAITS_S)
    outcome = rng.choice(["ok", "wow", "failed", "abandoned"])
    one.say(0, "queued", journey_id=f"nobody-{one.name}")
    if outcome != "abandoned" and rng.random() < 0.5:
        one.say(wait_s, "started")
    after_s = 0 if outcome == "abandoned" else 100
    one.say(wait_s + after_s, outcome, turn, wait_s=wait_s, channel="phone")


def checkout(one: Encounter, rng: random.Random, turn: int = 5) -> None:
    """Started, over."""
    lasts_s = rng.choice(LASTS_S)
    one.say(0, "started")
    one.say(lasts_s, rng.choice(["ok", "wow", "failed"]), turn, duration_s=lasts_s, channel="web")


def encounters(seed: int, count: int, now: datetime) -> Iterator[Event]:
    """Events of so many encounters of each kind; of one that is open no event is younger than an hour."""
    rng = random.Random(seed)
    for number in range(count):
        for stage, live in (("calls", call), ("checkout", checkout)):
            name = f"{stage}-{number}"
            over = Encounter(f"over-{name}", stage, now - timedelta(hours=rng.uniform(3, 150)), rng)
            live(over, rng)
            edge = Encounter(f"edge-{name}", stage, now - timedelta(hours=WEEK_H + 0.5), rng)
            live(edge, rng, 9)
            late = Encounter(f"late-{name}", stage, now - timedelta(hours=rng.uniform(3, 20)), rng)
            live(late, rng)
            open_ = Encounter(f"open-{name}", stage, now - timedelta(hours=rng.uniform(2, 20)), rng)
            opening = "queued" if stage == "calls" else "started"
            open_.say(0, opening)
            if stage == "calls" and rng.random() < 0.5:
                open_.say(rng.choice(WAITS_S), "started")
            lost = Encounter(f"lost-{name}", stage, now - timedelta(hours=rng.uniform(30, 100)), rng)
            lost.say(0, opening, 0)
            for one in (over, edge, late, open_, lost):
                yield from one.events
            if number % 3 == 0:
                yield over.events[0]  # published twice
