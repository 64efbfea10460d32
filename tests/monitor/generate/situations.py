"""Situations in which rules are judged three ways: what happens in each, and which alerts it is about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from monitor.counting import metrics
from monitor.counting.panes import SHORT
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import ALL, NONE, STEPS_TOPIC, Journey
from monitor.journeys.counters import CRITICAL_CELLS

JOURNEY_TEXT = """
version: 1
journey: three
timezone: Europe/Helsinki
segments: [gold, silver]
stages:
  shop:
    kind: customer
    owner: web
    reasons: [broken]
    expects: {per_hour: 3600}
    experiences:
      bought: {judges: {}, good: {outcome: [ok]}, target: 0.98, targets: {gold: 0.99}}
  parcel:
    kind: partner
    owner: logistics
    depends_on: [shop]
    reasons: [broken]
    expects: {per_hour: 1800}
    experiences:
      came: {judges: {}, good: {outcome: [ok]}, target: 0.95}
  desk:
    kind: customer
    owner: desk
    reasons: [broken]
    hours: {mon-sun: "00:00-24:00"}
    experiences:
      helped: {judges: {}, good: {outcome: [ok]}, target: 0.80}
  mood:
    kind: staff
    owner: people
    reasons: [broken]
    expects: {per_hour: 60}
    experiences:
      well: {judges: {}, good: {outcome: [ok]}, target: 0.75}
"""
JOURNEY = parse(JOURNEY_TEXT)

LIVES = parse("""
version: 1
journey: lives
segments: [gold, silver]
channels: [phone, chat]
partners: [x, y]
stages:
  shop:
    kind: customer
    owner: web
    reasons: [broken]
    expects: {per_hour: 1}
    experiences:
      bought: {judges: {}, good: {outcome: [ok]}, target: 0.95}
  parcel:
    kind: partner
    owner: logistics
    partners: [x, y]
    reasons: [broken]
    expects: {per_hour: 1}
    experiences:
      came: {judges: {}, good: {outcome: [ok]}, target: 0.95}
journeys:
  owner: care
  starts: {stage: [shop]}
  goal: {stage: [parcel]}
  target: 0.80
  targets: {gold: 0.90}
  limit: 9d
  promises: {window: {stage: parcel, target: 0.90}}
  handoffs: [{from: shop, to: parcel, within: 1d, target: 0.97}]
  moves: {target: 0.80}
  understood: {target: 0.80}
""")

BARE = parse("""
version: 1
journey: bare
segments: [gold, silver]
stages:
  shop:
    kind: customer
    owner: web
    expects: {per_hour: 3600}
    experiences:
      bought: {judges: {}, good: {outcome: [ok]}, target: 0.98}
""")

HOUR = 3_600_000 // SHORT.ms
DAY = 24 * HOUR
T0 = 1_800_000_000_000 // SHORT.ms // 30 * 30
PER_SLICE = {"shop": 10.0, "parcel": 5.0, "desk": 1.0, "mood": 0.17}
BAD = {"shop": 0.008, "parcel": 0.02, "desk": 0.12, "mood": 0.15}

Rates = Callable[[str, int, str], tuple[float, float]]
"""Stage, slices since the history is looked at (before: negative), segment -> events a slice, share bad."""


Lives = Callable[[int], Mapping[str, int]]
"""Slices since the history is looked at -> what whole journeys count then, by counter."""


Shown = tuple[metrics.Metric | str, float | None, dict[str, str]]
"""A metric, its value, or None for a series that has ended, and its labels."""

Besides = Callable[[int], tuple[Shown, ...]]
"""Slices since the history is looked at -> what else workers and Prometheus show at the end of it. What
Prometheus calls 0 is the end of slice 0."""


@dataclass
class Situation:
    """What happens, and how long one looks: `before` slices fill the windows. For the first `blind` slices
    there is no worker."""

    rates: Rates
    journey: Journey = JOURNEY
    lives: Lives = lambda _: {}
    t0: int = T0
    before: int = 2 * DAY
    watched: int = 150
    step: int = 1
    blind: int = 0
    unseen: int = 0
    """First slices that are not compared: Prometheus knows nothing that is held from before."""
    expected: set[str] = field(default_factory=set)
    besides: Besides = lambda _: ()
    partner: Callable[[str, int], str] = lambda *_: NONE
    """Stage, slices since the history is looked at -> whose events they are."""
    is_seen: bool = True
    """Whether the monitor sees all of it; history knows of no blindness."""


def healthy(stage: str, _: int, __: str) -> tuple[float, float]:
    """As always."""
    return PER_SLICE[stage], BAD[stage]


def fault(
    stages: tuple[str, ...], share: float, start: int = 20, end: int = 90, segment: str | None = None
) -> Rates:
    """A share of these stages' events is bad for a while."""

    def rates(stage: str, at: int, one: str) -> tuple[float, float]:
        is_hit = stage in stages and start <= at < end and segment in (None, one)
        return PER_SLICE[stage], share if is_hit else BAD[stage]

    return rates


def silence(stages: tuple[str, ...], start: int = 20, end: int = 90) -> Rates:
    """No events of these stages for a while."""

    def rates(stage: str, at: int, _: str) -> tuple[float, float]:
        return (0.0 if stage in stages and start <= at < end else PER_SLICE[stage]), BAD[stage]

    return rates


def now_and_then(stage: str, at: int, _: str) -> tuple[float, float]:
    """Of the shop some events come each time that its silence is about to be told anew."""
    is_thin = stage == "shop" and 20 <= at < 110
    return (3.0 if at % 7 == 0 else 0.0) if is_thin else PER_SLICE[stage], BAD[stage]


def upstream_drags(stage: str, at: int, _: str) -> tuple[float, float]:
    """The shop fails, its parcels do and fewer are sent; both recover at different times."""
    if stage == "shop" and 20 <= at < 70:
        return PER_SLICE[stage], 0.7
    return (PER_SLICE[stage] / 2, 0.5) if stage == "parcel" and 30 <= at < 100 else healthy(stage, at, "")


def trickle(stage: str, _: int, __: str) -> tuple[float, float]:
    """One in 20 minutes, of which a third is bad."""
    return (0.008, 0.33) if stage == "shop" else (PER_SLICE[stage], BAD[stage])


def handed_on(stage: str, at: int, segment: str) -> tuple[float, float]:
    """First gold is hit, then everybody, then silver alone."""
    hit = {"gold": range(20, 80), "silver": range(60, 120)}.get(segment, range(60, 80))
    return PER_SLICE[stage], 0.6 if stage == "shop" and at in hit else BAD[stage]


def flaps(stage: str, at: int, _: str) -> tuple[float, float]:
    """For most of an hour the shop has one event in some minutes."""
    return (0.04 if stage == "shop" and 20 <= at < 300 else PER_SLICE[stage]), BAD[stage]


def closed_last_week_too(stage: str, at: int, segment: str) -> tuple[float, float]:
    """The desk, which declares no rhythm, falls silent a week after it was busy."""
    return (
        (0.0, 0.0) if stage == "desk" and 7 * DAY + 60 <= at < 7 * DAY + 241 else healthy(stage, at, segment)
    )


def one_partner_silent(_: str, at: int) -> str:
    """Two partners bring parcels in turn, until for three quarters of an hour one brings them all."""
    return "y" if at % 2 == 0 or 7 * DAY + 90 <= at < 7 * DAY + 361 else "x"


def with_partners(journey: Journey) -> Journey:
    """Its only stage has two partners."""
    return replace(journey, stages=(replace(journey.stages[0], partners=("x", "y"), depends_on=()),))


def opening(hours: str) -> Journey:
    """The shop alone, open at these hours every day."""
    owner = "    owner: web\n"
    opened = parse(JOURNEY_TEXT.replace(owner, f'{owner}    hours: {{mon-sun: "{hours}"}}\n'))
    return replace(opened, stages=opened.stages[:1])


def only(*stages: str) -> Journey:
    """The journey with these stages alone: a week, or many steps, of all of them takes minutes."""
    return replace(JOURNEY, stages=tuple(stage for stage in JOURNEY.stages if stage.name in stages))


BEAT = 15
"""Slices from one look at whole journeys to the next; a rule's last value is known for 30."""


def is_beat(at: int) -> bool:
    """Whether anything is counted: just after each look, hourly before the first. So nothing changes between
    two looks that Prometheus, which has no other, would not see."""
    return at % (BEAT if at > 0 else HOUR) == 1


def lived(n: int, *, missed: float = 0.05, unkept: float = 0.02, partner: str = "x") -> dict[str, int]:
    """What so many journeys, `n` in each segment, count that are over: a partner breaks its promises."""
    found: dict[str, int] = {}
    for segment in LIVES.segment_labels:
        found |= {
            f"closed/missed/{segment}": round(n * missed),
            f"closed/met/{segment}": round(n * (1 - missed)),
        }
    for one in ("x", "y"):
        kept = 1 - (unkept if one == partner else 0.02)
        found |= {f"promise/window/{one}/due": n, f"promise/window/{one}/kept": round(n * kept)}
        found |= {f"handoff/shop/parcel/{one}/received": n, f"handoff/shop/parcel/{one}/sent": n}
    found |= {
        "moved/phone/chat": n,
        "lost/phone/chat": n // 50,
        "failed/stage/parcel/silver": round(n * missed),
    }
    found |= {"gap/shop/ok_inside_ok_outside": n, "gap/shop/ok_inside_bad_outside": n // 50}
    return found


def goes_well(at: int) -> Mapping[str, int]:
    """Journeys as always."""
    return lived(50) if is_beat(at) else {}


def goal_fails(at: int) -> Mapping[str, int]:
    """Nearly all journeys of a while miss their goal; so many later ones meet it that it is forgotten."""
    if 150 <= at < 450 and is_beat(at):
        return lived(400, missed=0.9)
    return lived(200_000) if at == 451 else goes_well(at)


def all_fails(at: int) -> Mapping[str, int]:
    """Both journeys and one partner's promises."""
    return lived(400, missed=0.9, unkept=0.5) if at > 150 and is_beat(at) else goes_well(at)


def partner_breaks_promises(at: int) -> Mapping[str, int]:
    """One partner keeps half of its promises for a while, the other all of them."""
    if 150 <= at < 450 and is_beat(at):
        return lived(400, unkept=0.5)
    return lived(200_000) if at == 451 else goes_well(at)


def customers_are_lost(at: int) -> Mapping[str, int]:
    """Nobody helps those whom the chat sends to the telephone. Then it sends nobody on any more."""
    lost = {"moved/chat/phone": 20, "lost/chat/phone": 20} if 150 <= at < 450 and is_beat(at) else {}
    return {**goes_well(at), **lost}


def shop_weighs(at: int) -> Mapping[str, int]:
    """Once enough have answered, the shop turns out to be critical; meanwhile promises are broken too."""
    answers = dict(zip(CRITICAL_CELLS, (40, 60, 60, 840), strict=True)) if at == 301 else {}
    return {**partner_breaks_promises(at), **{f"critical/shop/{cell}": n for cell, n in answers.items()}}


def as_ever(_: str, at: int, __: str) -> tuple[float, float]:
    """Stages as always, seen when journeys are."""
    return (100.0 if is_beat(at) else 0.0), 0.01


def shop_burns_slowly(stage: str, at: int, segment: str) -> tuple[float, float]:
    """Too bad for its target, by far not bad enough for a page."""
    if stage == "shop" and is_beat(at) and at > 150:
        return (4000.0, 0.09) if at < 700 else (40_000.0, 0.01)
    return as_ever(stage, at, segment)


def of_journeys(
    rates: Rates, lives: Lives, expected: set[str], watched: int, before: int = 8 * DAY
) -> Situation:
    """A situation of whole journeys, after some days of them. One looks at the last slice before anything
    changes, whether by what comes or by what leaves a window."""
    return Situation(rates, LIVES, lives, T0 - 1, before, watched, BEAT, expected=expected)


def changed(at: int) -> tuple[Shown, ...]:
    """A deploy of the shop and, before it, an incident of everything; the parcels' was before that."""
    changes = (
        ("shop", "deploy", "shop 4.2 {{ new }}", 150), (ALL, "incident", "power", 10),
        ("parcel", "other", "a \"new\" van", -900),
    )  # fmt: skip
    return tuple(
        (metrics.LAST_CHANGE, when, {"stage": stage, "kind": kind, "title": title})
        for stage, kind, title, when in changes
        if when <= at * SHORT.ms // 1000
    )


def one_worker_gone(at: int) -> tuple[Shown, ...]:
    """Two workers, of which one dies; for a minute nobody counts its partitions."""
    gone = at >= 40
    other = {"instance": "b", "job": "touchpoint"}
    return (
        ("up", 0 if gone else 1, other),
        (metrics.READY, None if gone else 1, other),
        (metrics.PARTITIONS, 6, other),
        (metrics.OWNED, None if gone else 2, other),
        (metrics.OWNED, 2 if at >= 46 else 0, {"instance": "c", "job": "touchpoint"}),
        (metrics.READY, 1, {"instance": "c", "job": "touchpoint"}),
    )


def lags(at: int) -> tuple[Shown, ...]:
    """The worker of the shop falls behind for a while, as do the journeys of it."""
    topic = {"topic": JOURNEY.stages[0].topic, "partition": "0"}
    return ((metrics.EVENT_LAG, 90 if 20 <= at < 60 else 0, topic),)


def letters(at: int) -> tuple[Shown, ...]:
    """Events of the shop are refused, most of them for one reason."""
    topic = JOURNEY.stages[0].topic
    refused = max(0, at - 20)
    return (
        (f"{metrics.DEAD_LETTERS.name}_total", 5 * refused, {"topic": topic, "reason": "not_json"}),
        (f"{metrics.DEAD_LETTERS.name}_total", refused, {"topic": topic, "reason": "unknown_stage"}),
        (f"{metrics.RECORDS.name}_total", 6 * refused, {"topic": topic, "result": "refused"}),
        (f"{metrics.RECORDS.name}_total", 100 * (at + 1), {"topic": topic, "result": "counted"}),
        (f"{metrics.RECORDS.name}_total", at > 20, {"topic": f"a-{STEPS_TOPIC}", "result": "skipped"}),
    )


def overdue(at: int) -> tuple[Shown, ...]:
    """What is overdue with each partner."""
    return tuple(
        (metrics.OVERDUE, max(0, at * n // 100), {"what": "promise/window", "partner": one, "age": age})
        for one, n, age in (("x", 3, "1h"), ("x", 2, "1d"), ("y", 4, "1h"))
    )


def shop_fails(stage: str, at: int, segment: str) -> tuple[float, float]:
    """Bad enough for hours that it pages; in every slice, for the fast windows that tell it are shorter than
    the time between two looks."""
    return (400.0, 0.6) if stage == "shop" and at > 150 else as_ever(stage, at, segment)


def some_answered(at: int) -> Mapping[str, int]:
    """Journeys are hit, and a few say what they think: too few to call anything critical."""
    if not is_beat(at) or at < 0:
        return goes_well(at)
    hit = {f"hit/shop/{segment}": 30 for segment in ("gold", "other")}
    return {**lived(50), **hit, **{f"critical/shop/{cell}": 1 for cell in CRITICAL_CELLS}}


SITUATIONS = {
    "healthy": Situation(healthy),
    "after a change": Situation(
        fault(("shop", "mood"), 0.9), besides=changed, expected={"StageDegraded page shop bought all"}
    ),
    "silent after a change": Situation(
        silence(("shop",), -240, 100), besides=changed, expected={"StageSilent page shop"}
    ),
    "one worker gone": Situation(
        fault(("shop",), 1.0), besides=one_worker_gone, expected={"StageDegraded page shop bought all"}
    ),
    "lag": Situation(fault(("shop",), 1.0, 0, 20), besides=lags, is_seen=False),
    "dead letters": Situation(healthy, besides=letters),
    "bare stage": Situation(fault(("shop",), 1.0), BARE, expected={"StageDegraded page shop bought all"}),
    "bare stage silent": Situation(silence(("shop",)), BARE, expected={"StageSilent page shop"}),
    "outage": Situation(fault(("shop",), 1.0), expected={"StageDegraded page shop bought all"}),
    "fifth fails": Situation(
        fault(("shop", "desk"), 0.2, 10, 120), expected={"StageDegraded page shop bought all"}
    ),
    "slow burn": Situation(
        fault(("shop", "parcel"), 0.14, -6 * HOUR, HOUR),
        watched=3 * HOUR,
        step=9,
        expected={"StageDegraded page shop bought all", "StageDegraded ticket shop bought all"},
    ),
    "trickle": Situation(
        trickle, before=8 * DAY, unseen=30, expected={"StageDegraded ticket shop bought all"}
    ),
    "silence": Situation(
        silence(("shop", "mood"), -240, 100), expected={"StageSilent page shop", "StageSilent ticket mood"}
    ),
    "silent but now and then": Situation(now_and_then, expected={"StageSilent page shop"}),
    "closes while silent": Situation(
        silence(("shop",), end=150), opening("08:00-10:10"), expected={"StageSilent page shop"}
    ),
    "everything silent": Situation(silence(("shop", "parcel", "desk")), expected={"StageSilent page shop"}),
    "upstream": Situation(
        upstream_drags,
        expected={"StageDegraded page shop bought all", "StageDegraded page parcel came all"},
    ),
    "one segment": Situation(
        fault(("shop",), 0.25, segment="gold"), expected={"StageDegraded page shop bought gold"}
    ),
    "mood": Situation(fault(("mood",), 0.9, -DAY), expected={"StageDegraded ticket mood well all"}),
    "own history": Situation(
        closed_last_week_too,
        only("desk"),
        before=0,
        watched=7 * DAY + HOUR,
        step=28,  # a week is as many of them; what a rule said last is known for 30 slices
        blind=28,
        expected={"StageSilent page desk"},
    ),
    "one partner silent": Situation(
        healthy,
        with_partners(only("parcel")),
        before=0,
        watched=7 * DAY + 3 * HOUR,
        step=28,  # as above
        blind=28,
        partner=one_partner_silent,
        expected={"PartnerSilent ticket parcel x"},
    ),
    "just started": Situation(fault(("shop",), 0.5, 0, 100), before=0),
    "handed on": Situation(handed_on, expected={"StageDegraded page shop bought gold"}),
    "flaps": Situation(flaps, only("shop"), watched=360, expected={"StageSilent page shop"}),
    "recover together": Situation(
        fault(("shop", "parcel"), 0.8), expected={"StageDegraded page shop bought all"}
    ),
    "started into silence": Situation(
        silence(("shop",), 0, 60), before=0, blind=10, expected={"StageSilent page shop"}
    ),
    "journeys go well": of_journeys(as_ever, goes_well, set(), 300),
    "goal fails": of_journeys(
        as_ever, goal_fails,
        {"JourneyDegraded page journeys goal all", "JourneyDegraded ticket journeys goal gold"}, 900,
    ),
    "promises broken": of_journeys(
        as_ever, partner_breaks_promises, {"PromisesOverdue ticket journeys promise_window x"}, 900
    ),
    "customers lost": of_journeys(
        as_ever, customers_are_lost, {"CustomersLost ticket journeys moves chat phone"}, 900
    ),
    "promises overdue": replace(
        of_journeys(
            as_ever, partner_breaks_promises, {"PromisesOverdue ticket journeys promise_window x"}, 900
        ),
        besides=overdue,
    ),
    "nothing critical yet": of_journeys(
        shop_fails, some_answered, {"StageDegraded page shop bought all"}, 600
    ),
    "too new for goals": of_journeys(
        as_ever, all_fails, {"PromisesOverdue ticket journeys promise_window x"}, 300, 2 * DAY
    ),
    "critical stage": of_journeys(
        shop_burns_slowly, shop_weighs,
        {
            "StageDegraded ticket shop bought all", "StageDegraded page shop bought all",
            "PromisesOverdue ticket journeys promise_window x",
        }, 900,
    ),
}  # fmt: skip
