"""Journeys made to be mean: each scene stands at an edge of a definition. The same for the same seed.

Times are hours after the journey's first moment. `seconds` moves what stands at a deadline off it.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]
HOUR = 3600.0
SECOND = 1 / HOUR


class Script:
    """The events of one journey, as its services publish them."""

    def __init__(self, name: str, begin: datetime, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.events: list[Event] = []
        self._begin = begin
        self._segment = rng.choice(["business", "new", "new", "stranger", None])

    def at(self, hours: float) -> str:
        """RFC 3339."""
        return (self._begin + timedelta(hours=hours)).isoformat(timespec="milliseconds")

    def say(self, hours: float, stage: str, outcome: str = "ok", **fields: Any) -> Event:
        """An event of this journey."""
        event = {"id": f"{self.name}-{len(self.events)}", "time": self.at(hours), "stage": stage}
        event |= {"outcome": outcome, "journey_id": self.name} | fields
        if self._segment and "segment" not in fields:
            event["segment"] = self._segment
        self.events.append({name: value for name, value in event.items() if value is not None})
        return event

    def checkout(self, hours: float = 0.0, outcome: str = "ok", **fields: Any) -> None:
        """Begins a journey that has a goal."""
        rest = {
            "channel": "web",
            "partner": self.rng.choice(["klarna", "adyen", "unheard_of", None]),
            "touchpoint": self.rng.choice(["cart", "payment", "cellar", None]),
            "duration_s": self.rng.choice([30, 90, 91, None]),
            "reason": self.rng.choice(["payment_error", "odd", None]),
            "initiator": "customer",
        }
        self.say(hours, "checkout", outcome, **rest | fields)

    def call(self, hours: float, channel: str = "phone", **fields: Any) -> None:
        """A contact."""
        wait_s = self.rng.choice([0, 5, 20, 21, 90, None])
        outcome = self.rng.choice(["ok", "wow", "failed", "abandoned"])
        self.say(hours, "calls", **{"outcome": outcome, "channel": channel, "wait_s": wait_s} | fields)

    def promise(self, due: float | None = None, since: float | None = None, **more: Any) -> Event:
        """The field `promise`, of a delivery unless `kind` says another."""
        told = {"id": f"p-{self.name}", "kind": "delivery_window"} | more
        if due is not None:
            told["due"] = self.at(due)
        if since is not None:
            told["due_from"] = self.at(since)
        return told

    def handoff(self, partner: str = "postnord", **more: Any) -> Event:
        """The field `handoff`, from the warehouse."""
        return {"id": f"h-{self.name}", "from": "warehouse", "to": partner} | more

    def deliver(self, hours: float, outcome: str = "ok", **fields: Any) -> None:
        """Meets the goal, if it ends well."""
        self.say(hours, "delivery", outcome, **{"touchpoint": "doorstep"} | fields)

    def answer(self, hours: float, kind: str = "nps", value: float = 9, **fields: Any) -> None:
        """Ends the journey."""
        self.say(hours, "feedback", **{"channel": "email", "score": {"kind": kind, "value": value}} | fields)


def plain(s: Script) -> None:
    """Ordered, handed over, delivered in time, asked, answered."""
    partner = s.rng.choice(["postnord", "matkahuolto", "bicycle"])
    s.checkout()
    s.say(1, "warehouse", handoff=s.handoff(partner), promise=s.promise(10, 6))
    done = {"handoff": s.handoff(partner), "promise": s.promise(10, 6, kept=True)}
    s.deliver(8, s.rng.choice(["ok", "wow", "failed"]), partner=partner, internal_ok=True, **done)
    s.say(9, "feedback", "asked", channel="email")
    s.answer(
        10, *s.rng.choice([("nps", 9), ("nps", 7), ("nps", 6.9), ("nps", 0), ("csat", 3), ("csat", 3.9)])
    )


def edges_of_a_deadline(s: Script) -> None:
    """Kept just before, at and just after `due_from` and `due`."""
    s.checkout()
    s.say(1, "warehouse", promise=s.promise(8, 5))
    when = s.rng.choice([5 - SECOND, 5, 5 + SECOND, 8 - SECOND, 8, 8 + SECOND, 9])
    s.deliver(when, partner="postnord", promise=s.promise(8, 5, kept=s.rng.random() < 0.7))


def two_words(s: Script) -> None:
    """First that it will not be kept, then that it was, and the other way about."""
    s.checkout()
    s.say(1, "warehouse", promise=s.promise(8, s.rng.choice([None, 5])), handoff=s.handoff("matkahuolto"))
    first, second = sorted(s.rng.sample([3, 4, 6, 7, 8, 9, 11], 2))
    word = s.rng.random() < 0.5
    s.say(first, "delivery", touchpoint="depot", promise=s.promise(kept=word), partner="matkahuolto")
    s.deliver(second, promise=s.promise(kept=not word), handoff=s.handoff("matkahuolto"))


def kept_before_promised(s: Script) -> None:
    """Its services' clocks differ."""
    s.checkout()
    s.deliver(2, partner="postnord", promise=s.promise(kept=True))
    s.say(s.rng.choice([3, 5]), "warehouse", promise=s.promise(4))


def never_promised(s: Script) -> None:
    """Word of what nobody knew of, once or twice."""
    if s.rng.random() < 0.7:
        s.checkout()
    s.deliver(2, partner="postnord", promise=s.promise(kept=True))
    if s.rng.random() < 0.5:
        s.say(3, "delivery", promise=s.promise(kept=False))


def rescheduled(s: Script) -> None:
    """By the company, the customer, nobody in particular; before and after the deadline; to the same."""
    s.checkout()
    s.say(1, "warehouse", promise=s.promise(8, 6), handoff=s.handoff())
    for _ in range(s.rng.choice([1, 1, 2])):
        who = s.rng.choice(["customer", "company", None])
        told = s.rng.choice([2, 3, 4, 7, 8 + SECOND, 9])
        s.call(told + s.rng.random() / 10, initiator=who, promise=s.promise(s.rng.choice([6, 8, 12, 14])))
    if s.rng.random() < 0.8:
        kept = s.promise(kept=s.rng.random() < 0.8)
        s.deliver(s.rng.choice([5, 7, 11, 13, 15]), handoff=s.handoff(), promise=kept)


def whose_promise(s: Script) -> None:
    """Promised at the checkout with klarna; handed to somebody early, late, twice or never."""
    s.checkout(partner="klarna", promise=s.promise(8))
    named = s.rng.choice(["postnord", "matkahuolto", "bicycle", None])
    if named:
        s.say(s.rng.choice([1, 9]), "warehouse", handoff=s.handoff(named))
    if s.rng.random() < 0.3:
        s.say(3, "delivery", "failed", partner="matkahuolto", touchpoint="depot")
    if s.rng.random() < 0.3:
        s.deliver(10, partner="postnord", promise=s.promise(kept=True))


def promised_by_phone(s: Script) -> None:
    """A promise of a stage without partners, and one of an unknown kind."""
    s.call(0, promise=s.promise(3, kind="call_back"))
    if s.rng.random() < 0.6:
        s.call(s.rng.choice([2, 3, 4]), initiator="company", promise=s.promise(kind="call_back", kept=True))
    if s.rng.random() < 0.5:
        s.call(5, promise=s.promise(9, kind="gift", id=f"g-{s.name}"))


def handed_over(s: Script) -> None:
    """Received at its time, after it, before it was sent, elsewhere, never."""
    s.checkout()
    partner = s.rng.choice(["postnord", "bicycle", "delivery"])
    named = s.rng.choice([None, "matkahuolto"])
    s.say(2, "warehouse", handoff=s.handoff(partner), partner=named)
    when = s.rng.choice([1, 5, 26 - SECOND, 26, 26 + SECOND, 30, None])
    if when and s.rng.random() < 0.8:
        s.deliver(when, handoff=s.handoff(partner), partner=s.rng.choice([None, "postnord"]))
    if s.rng.random() < 0.2:
        s.say(6, "store", handoff=s.handoff(partner))


def labyrinth(s: Script) -> None:
    """From channel to channel and unit to unit, with steps of no customer between and after."""
    if s.rng.random() < 0.5:
        s.checkout()
    hours = 1.0
    for _ in range(s.rng.choice([2, 3, 4, 5])):
        stage = s.rng.choice(["calls", "calls", "store"])
        outcome = s.rng.choice(["failed", "failed", "ok", "abandoned"])
        channel = s.rng.choice(["phone", "chat", "chat", "email", "pigeon", None])
        s.say(hours, stage, outcome, channel=channel, wait_s=s.rng.choice([2, 200]), reason="not_solved")
        hours += 1
        if s.rng.random() < 0.3:
            s.say(hours, "feedback", "asked", channel="email")
            hours += 0.5
    if s.rng.random() < 0.3:
        s.say(hours, "warehouse", channel="web")
    if s.rng.random() < 0.3:
        s.deliver(hours + 1, s.rng.choice(["ok", "failed"]), channel=s.rng.choice([None, "phone"]))
    if s.rng.random() < 0.3:
        s.answer(hours + 2, value=s.rng.choice([2, 10]))


def sent_around(s: Script) -> None:
    """Chat, phone, chat: unsolved; then something that moves nobody."""
    for number, channel in enumerate(["chat", "phone", "chat"]):
        s.call(number, channel, outcome="failed", reason="not_solved", wait_s=s.rng.choice([2, 60]))
    s.say(4, "feedback", s.rng.choice(["asked", "followed_up"]), channel="email")


def unhappy(s: Script) -> None:
    """Answered badly; followed up in time, at its time, late, twice or never."""
    if s.rng.random() < 0.5:
        s.checkout()
    s.say(
        1, "store", internal_ok=s.rng.random() < 0.5, channel=None, location=s.rng.choice(["oulu", "x", None])
    )
    s.answer(2, *s.rng.choice([("nps", 6), ("nps", 6.9), ("nps", 7), ("csat", 3.9), ("csat", 4), ("ces", 2)]))
    for when in s.rng.sample([3, 9, 10, 10 + SECOND, 11], s.rng.choice([0, 1, 1, 2])):
        s.say(when, "feedback", "followed_up", initiator="company", channel="phone")
    if s.rng.random() < 0.3:
        s.answer(6, value=s.rng.choice([1, 10]))


def after_the_end(s: Script) -> None:
    """Steps after the answer, after silence, at the very end of silence and of the limit."""
    s.checkout()
    if s.rng.random() < 0.5:
        s.answer(2)
        s.call(2 + 10 / 60, outcome="failed", wait_s=90)
        return
    s.call(s.rng.choice([12 - SECOND, 12, 12 + SECOND, 30]), outcome="failed", wait_s=90)
    if s.rng.random() < 0.5:
        s.deliver(14)


def to_the_limit(s: Script) -> None:
    """Something promised for long after the limit, or something always happening."""
    s.checkout(promise=s.promise(s.rng.choice([47, 48, 60])))
    for hours in range(8, 56, 8):
        s.call(hours - 0.1, initiator=s.rng.choice([None, "company"]))
    if s.rng.random() < 0.7:
        when = s.rng.choice([48 - SECOND, 48, 48 + SECOND, 50])
        s.deliver(when, partner="postnord", promise=s.promise(kept=True))


def who_spoke_first(s: Script) -> None:
    """Something went wrong, and somebody spoke, before or after."""
    s.checkout(outcome=s.rng.choice(["ok", "failed"]))
    s.say(1, "warehouse", s.rng.choice(["ok", "failed"]), promise=s.promise(6), handoff=s.handoff())
    for hours in s.rng.sample([0.5, 2, 5, 6.5, 7, 9], 2):
        s.call(hours, outcome="ok", wait_s=1, initiator=s.rng.choice(["company", "customer", None]))
    if s.rng.random() < 0.5:
        s.deliver(8, handoff=s.handoff(), promise=s.promise(kept=s.rng.random() < 0.5))


def of_a_case(s: Script) -> None:
    """Contacts of a case, of a journey, of both and of neither."""
    case = s.rng.choice([f"k-{s.name}", f"k-{s.rng.randrange(5)}", None])
    for hours in sorted(s.rng.sample([0, 1, 5, 20, 40], 3)):
        s.call(hours, case_id=case, initiator=s.rng.choice(["company", "customer", None]))
    s.events[-1].pop("journey_id" if s.rng.random() < 0.5 else "reason", None)


SCENES: list[Callable[[Script], None]] = [
    plain,
    edges_of_a_deadline,
    two_words,
    kept_before_promised,
    never_promised,
    rescheduled,
    whose_promise,
    promised_by_phone,
    handed_over,
    labyrinth,
    sent_around,
    unhappy,
    after_the_end,
    to_the_limit,
    who_spoke_first,
    of_a_case,
]


def journeys(seed: int, count: int, now: datetime) -> Iterator[Event]:
    """Events of so many journeys that begin in the six days before `now`, each scene in its turn."""
    rng = random.Random(seed)
    for number in range(count):
        scene = SCENES[number % len(SCENES)]
        begin = now - timedelta(hours=rng.uniform(3, 6 * 24))
        script = Script(f"{scene.__name__}-{number}", begin.replace(microsecond=0), rng)
        scene(script)
        yield from script.events


def beside(seed: int, now: datetime) -> Iterator[Event]:
    """Events of no journey: cases on the edge of seven days, staff, what must be refused."""
    rng = random.Random(seed)
    for number in range(30):
        first = now - timedelta(days=7, hours=rng.uniform(2, 12))
        gap = timedelta(days=7, seconds=rng.choice([-1, 0, 1]))
        for turn, time in enumerate([first, first + gap]):
            told = {"id": f"case-{number}-{turn}", "time": time.isoformat(timespec="milliseconds")}
            yield told | {"stage": "calls", "outcome": "ok", "case_id": f"week-{number}", "wait_s": 3}
    for number in range(60):
        when = (now - timedelta(hours=rng.uniform(2, 100))).astimezone(UTC).isoformat(timespec="milliseconds")
        score = {"kind": "csat", "value": rng.choice([1, 3, 4, 5, 6])}
        yield {"id": f"staff-{number}", "time": when, "stage": "staff_pulse", "outcome": "ok", "score": score}
