"""How good the alerts are: false pages in healthy months, faults found and how fast, pages per incident and
how soon the last one ends, beside plain SRE pairs.

Counts are drawn, not events: 10 s slices of six stages from 6 to 360 events a minute with nights, weekends
and overdispersion, each 0.5 to 2 points above its target. Alone: `python -m tests.bench.alert_quality`.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from monitor.backtest import timeline
from monitor.backtest.history import StageHistory
from monitor.backtest.masks import Mask, held_on
from monitor.backtest.run import alerts_of, spans_of
from monitor.counting.panes import SHORT
from monitor.journey_file.grammar import parse
from monitor.journey_file.hours import expected
from monitor.journey_file.model import Journey, Stage
from monitor.rules.limits import Limit
from monitor.rules.plan import Quality, Severity, plan
from tests.kit.slices import add_slices

MINUTE, HOUR = 60_000 // SHORT.ms, 3_600_000 // SHORT.ms
DAY = 24 * HOUR

START = 1_798_761_600_000 // SHORT.ms
"""2027-01-01T00:00:00Z, a Friday."""

BY_HOUR = "[2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 13, 12, 12, 12, 13, 14, 15, 15, 13, 10, 6, 4]"
STAGE = """
  {name}:
    kind: customer
    owner: me
    depends_on: [{upstream}]
    partners: [x, y]
    {rhythm}
    experiences: {{e: {{judges: {{}}, good: {{outcome: [ok]}}, target: {target}}}}}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A stage: its traffic, its target, and how far above it it lies when healthy, in points."""

    per_hour: int
    target: str
    margin: float
    is_declared: bool = True
    upstream: str = ""


KINDS = {
    "busy": Kind(21_600, "0.95", 0.01),
    "strict": Kind(7_200, "0.98", 0.007),
    "after": Kind(3_600, "0.93", 0.015, upstream="busy"),
    "loose": Kind(3_600, "0.80", 0.02),
    "quiet": Kind(360, "0.99", 0.005),
    "undeclared": Kind(1_800, "0.95", 0.015, is_declared=False),
}

WEEKEND = 0.6
"""Share of a weekday's traffic that comes at the weekend, which no rhythm of a journey file knows."""

TRAFFIC_WOBBLE, KEEPS = 0.15, 0.97
"""Traffic wanders by some 15 %, the bad share by half the stage's margin (so it is truly below target in 2 %
of the time), either keeping 97 % of its deviation from one minute to the next."""

SEGMENTS = {"gold": 0.2, "basic": 0.8}
PARTNER_SHARE = 0.4


def journey() -> Journey:
    """The stages of the benchmark."""
    stages = "".join(
        STAGE.format(
            name=name,
            upstream=kind.upstream,
            rhythm=f"expects: {{per_hour: {kind.per_hour}, by_hour: {BY_HOUR}}}" if kind.is_declared else "",
            target=kind.target,
        )
        for name, kind in KINDS.items()
    )
    return parse(
        f"version: 1\njourney: quality\nsegments: [{', '.join(SEGMENTS)}]\npartners: [x, y]\nstages:{stages}"
    )


JOURNEY = journey()
PLAN = plan(JOURNEY)
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one stage by slice: events expected, and the share of them that is bad, of each segment."""

    events: Numbers
    bad: dict[str, Numbers]


def healthy(name: str, rng: np.random.Generator, length: int) -> Rates:
    """Nights, weekends, and a slow wandering of both traffic and quality."""
    kind, stage = KINDS[name], JOURNEY.stage(name)
    like = replace(stage, per_hour=float(kind.per_hour), by_hour=JOURNEY.stage("busy").by_hour)
    starts_ms = START * SHORT.ms + 3_600_000 * np.arange(length // HOUR)
    hours = np.array([expected(JOURNEY, like, at_ms, at_ms + 3_600_000) for at_ms in starts_ms.tolist()])
    days = (4 + np.arange(len(hours)) // 24) % 7
    per_slice = np.repeat(np.where(days >= 5, WEEKEND, 1.0) * hours / HOUR, HOUR)
    bad = 1 - float(kind.target) - kind.margin
    return Rates(
        per_slice * np.exp(TRAFFIC_WOBBLE * _wobble(rng, length)),
        {one: np.maximum(0.0, bad + kind.margin / 2 * _wobble(rng, length)) for one in SEGMENTS},
    )


def _wobble(rng: np.random.Generator, length: int) -> Numbers:
    """Normal around 0, minute by minute, each remembering the one before."""
    noise = rng.normal(0.0, np.sqrt(1 - KEEPS**2), length // MINUTE)
    state, found = float(rng.normal()), []
    for step in noise.tolist():
        state = state * KEEPS + step
        found.append(state)
    return np.repeat(np.array(found), MINUTE)


def drawn(stage: Stage, rates: Rates, rng: np.random.Generator) -> StageHistory:
    """Counts of these rates."""
    held = StageHistory(PLAN, stage)
    table = held.table(START, START + len(rates.events))
    for segment, weight in SEGMENTS.items():
        events = rng.poisson(rates.events * weight)
        bad = rng.binomial(events, np.clip(rates.bad[segment], 0, 1))
        table[held.good["e", segment]] = events - bad
        table[held.bad["e", segment]] = bad
        table[held.events] += events
    add_slices(held, START, table)
    return held


def month(seed: int, days: int) -> tuple[dict[str, Rates], dict[str, StageHistory]]:
    """All stages in health."""
    rng = np.random.default_rng(seed)
    rates = {name: healthy(name, rng, days * DAY) for name in KINDS}
    return rates, {name: drawn(JOURNEY.stage(name), rates[name], rng) for name in KINDS}


# -- faults -----------------------------------------------------------------------------------------------

STRENGTHS = {"strong": 0.75, "middling": 0.20, "weak": 0.05}
"""Points over what is allowed; of a strong one, the share that is bad at least."""

LENGTH = {"blip": 3 * MINUTE, "outage": 30 * MINUTE, "ramp": 4 * HOUR}
FAULTS = ("outage", "partial", "partner", "segment", "ramp", "blip", "silence", "upstream")
STAGES_OF = {"silence": ("busy", "strict", "quiet"), "upstream": ("busy",)}
TAIL = 3 * HOUR
"""After a fault, for its end to be told, and for a page too many to come."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a stage from slice `at` on."""

    what: str
    strength: str
    stage: str
    at: int

    @property
    def length(self) -> int:
        return LENGTH.get(self.what, 2 * HOUR)


def faults(days: int) -> Iterator[Fault]:
    """Five of each kind: two strong, two middling, one weak, over stages and hours of the day."""
    number = 0
    for what in FAULTS:
        stages = STAGES_OF.get(what, ("busy", "strict", "loose", "after", "undeclared"))
        for i, strength in enumerate(("strong", "strong", "middling", "middling", "weak")):
            number += 1
            at = (8 + number % (days - 9)) * DAY + (8 + 3 * i) % 24 * HOUR + 7 * MINUTE + number % 6
            yield Fault(what, strength, stages[i % len(stages)], at)


def injected(fault: Fault, rates: dict[str, Rates]) -> dict[str, Rates]:
    """Rates with the fault in them."""
    found = dict(rates)
    now = slice(fault.at, fault.at + fault.length)
    points = STRENGTHS[fault.strength]
    allowed = 1 - float(KINDS[fault.stage].target)
    share = 1.0 if (fault.what, fault.strength) == ("outage", "strong") else min(1.0, allowed + points)

    def worse(name: str, by: Numbers | float, segments: tuple[str, ...] = tuple(SEGMENTS)) -> None:
        bad = {one: values.copy() for one, values in found[name].bad.items()}
        for one in segments:
            bad[one][now] = np.maximum(bad[one][now], by)
        found[name] = Rates(found[name].events, bad)

    def fewer(name: str, kept: float) -> None:
        events = found[name].events.copy()
        events[now] *= kept
        found[name] = Rates(events, found[name].bad)

    if fault.what == "silence":
        fewer(fault.stage, 0.0)
    elif fault.what == "ramp":
        worse(fault.stage, np.minimum(share, np.linspace(0, 2 * share, fault.length)))
    elif fault.what == "segment":
        worse(fault.stage, share, ("gold",))
    elif fault.what == "partner":  # one of two partners, with two orders of five
        healthy_bad = allowed - KINDS[fault.stage].margin
        worse(fault.stage, PARTNER_SHARE * share + (1 - PARTNER_SHARE) * healthy_bad)
    else:
        worse(fault.stage, share)
    if fault.what == "upstream":
        worse("after", share / 2)
        fewer("after", 1 - share)
    return found


# -- the rules --------------------------------------------------------------------------------------------


def plain_qualities(of: Journey) -> Iterator[Quality]:
    """The pairs of the SRE workbook as they are: no gates, no fast limits, no segments."""
    tables: tuple[tuple[Severity, tuple[tuple[str, str, str], ...]], ...] = (
        ("page", (("14.4", "1h", "5m"), ("6", "6h", "30m"))),
        ("ticket", (("3", "1d", "2h"), ("1", "3d", "6h"))),
    )
    for stage in of.stages:
        for experience in stage.experiences:
            allowed = 1 - experience.target
            for severity, burns in tables:
                limits = tuple(
                    Limit((long, short), Decimal(burn) * allowed, Decimal(-1), min_bad=0, min_n=0)
                    for burn, long, short in burns
                )
                yield Quality(stage, experience, severity, experience.target, ("all",), limits)


Alerting = dict[tuple[str, str], Mask]
"""(stage, severity) -> whether anybody is alerted at the end of each slice."""


def ours(heard: dict[str, StageHistory], start: int, end: int) -> Alerting:
    """By the shipped rules, with their suppressions."""
    spans = spans_of(PLAN, heard, start, end, since=START)
    return _any(((key.stage, key.severity), mask) for key, mask in alerts_of(PLAN, spans, {}))


def plain(heard: dict[str, StageHistory], start: int, end: int) -> Alerting:
    """By the plain pairs."""
    spans = spans_of(replace(PLAN, qualities=tuple(plain_qualities(JOURNEY))), heard, start, end, since=START)
    return _any(
        ((name, severity), held_on(mask, timeline.HOLD[severity])[timeline.BEFORE :])
        for name, span in spans.items()
        for (_experience, severity, _segment), by_window in span.crossed.items()
        for mask in by_window.values()
    )


def _any(masks: Iterable[tuple[tuple[str, str], Mask]]) -> Alerting:
    found: Alerting = {}
    for about, mask in masks:
        found[about] = found.get(about, np.zeros_like(mask)) | mask
    return found


WAYS = {"ours": ours, "plain": plain}


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one fault: seconds until the first page and ticket; whether another stage paged; how
    many pages came, and seconds from the fault's end to theirs, None without a page or an end."""

    fault: Fault
    page_s: float | None
    ticket_s: float | None
    is_other_paged: bool
    pages: int
    ended_s: float | None


def look_for(fault: Fault, way: str, heard: dict[str, StageHistory]) -> Found:
    """Judge from the fault's beginning to `TAIL` after its end."""
    start = START + fault.at
    alerting = WAYS[way](heard, start, start + fault.length + TAIL)

    def first_s(severity: str) -> float | None:
        mask = alerting.get((fault.stage, severity))
        at = [] if mask is None else np.flatnonzero(mask).tolist()
        return (int(at[0]) + 1) * SHORT.ms / 1000 if len(at) else None

    others = [mask.any() for (name, severity), mask in alerting.items()
              if severity == "page" and name != fault.stage]  # fmt: skip
    paging = alerting.get((fault.stage, "page"), np.zeros(fault.length + TAIL, dtype=bool))
    last = np.flatnonzero(paging)[-1:].tolist()
    ended_s = (last[0] + 1 - fault.length) * SHORT.ms / 1000 if last and not paging[-1] else None
    return Found(fault, first_s("page"), first_s("ticket"), any(others), begun(paging), ended_s)


def begun(mask: Mask) -> int:
    """How many alerts it holds."""
    return int((np.diff(np.concatenate(([0], mask.astype(np.int8)))) == 1).sum())


def involved(fault: Fault) -> set[str]:
    """The stages that a fault is seen at, or explained by."""
    return {fault.stage, *({"busy", "after"} if fault.stage in ("busy", "after") else ())}


def false_alerts(heard: dict[str, StageHistory], way: str, days: int) -> dict[tuple[str, str], int]:
    """How often each stage would have paged or asked for a ticket in good health, once windows are full."""
    alerting = WAYS[way](heard, START + WARM_DAYS * DAY, START + days * DAY)
    return {about: begun(mask) for about, mask in alerting.items()}


END_S = 600
"""By then people should be told that it is over."""

WARM_DAYS = 8
"""The longest window and a day: before, windows are not full."""


def measure(seed: int, days: int) -> tuple[dict[str, dict[tuple[str, str], int]], dict[str, list[Found]]]:
    """One seed: false alerts and faults found, by the way they are judged."""
    rates, heard = month(seed, days)
    false = {way: false_alerts(heard, way, days) for way in WAYS}
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for number, fault in enumerate(faults(days)):
        hit = injected(fault, rates)
        rng = np.random.default_rng([seed, number])
        seen = {name: drawn(JOURNEY.stage(name), hit[name], rng) for name in sorted(involved(fault))}
        for way in WAYS:
            found[way].append(look_for(fault, way, seen))
    return false, found


def main() -> None:
    """Print tables of false alerts and of faults found."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.alert_quality", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    days = arguments.days + WARM_DAYS
    false: dict[str, Counter[tuple[str, str]]] = {way: Counter() for way in WAYS}
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for seed in range(arguments.seeds):
        some_false, some_found = measure(seed, days)
        for way in WAYS:
            false[way].update(some_false[way])
            found[way] += some_found[way]
    print(f"{arguments.seeds} healthy periods of {arguments.days} days, {len(KINDS)} stages: false alerts")
    print(f"{'':12}" + "".join(f"{way + ' ' + s:>14}" for way in WAYS for s in ("page", "ticket")))
    for name in (*KINDS, "all"):
        counts = [
            sum(n for (stage, one), n in false[way].items() if one == severity and name in (stage, "all"))
            for way in WAYS
            for severity in ("page", "ticket")
        ]
        print(f"{name:12}" + "".join(f"{n:14}" for n in counts))
    print(f"{len(found['ours'])} faults: paged, median time to page, ticket only")
    print(f"{'':20}" + "".join(f"{way:>26}" for way in WAYS) + "   another stage paged")
    for strength in STRENGTHS:
        for what in (*FAULTS, "all"):
            print(f"{strength:9} {what:10}" + "".join(
                f"{_told(found[way], what, strength):>26}" for way in WAYS
            ) + "".join(f"{_others(found[way], what, strength):8}" for way in WAYS), flush=True)  # fmt: skip
    for way in WAYS:
        _tell_incidents(way, [one for one in found[way] if one.pages])
    for one in found["ours"]:
        if one.page_s is None and one.fault.strength != "weak":
            print(f"not paged: {one.fault.strength} {one.fault.what} of {one.fault.stage}, "
                  f"{'ticket' if one.ticket_s is not None else 'NOT FOUND'}")  # fmt: skip


def _tell_incidents(way: str, paged: list[Found]) -> None:
    ended_s = sorted(one.ended_s for one in paged if one.ended_s is not None)
    in_time = sum(one <= END_S for one in ended_s)
    print(
        f"{way}: {len(paged)} incidents paged, {sum(one.pages for one in paged) / len(paged):.2f} pages each"
    )
    half_s, most_s = np.quantile(ended_s, (0.5, 0.9)).tolist()
    print(f"{in_time} ended within {END_S} s of the fault's end")
    print(f"half of them within {half_s:.0f} s, nine of ten within {most_s:.0f} s")


def _of(found: list[Found], what: str, strength: str) -> list[Found]:
    return [one for one in found if one.fault.strength == strength and what in (one.fault.what, "all")]


def _others(found: list[Found], what: str, strength: str) -> int:
    return sum(one.is_other_paged for one in _of(found, what, strength))


def _told(found: list[Found], what: str, strength: str) -> str:
    some = _of(found, what, strength)
    paged = [one.page_s for one in some if one.page_s is not None]
    tickets = sum(one.page_s is None and one.ticket_s is not None for one in some)
    median = f"{statistics.median(paged):.0f} s" if paged else "-"
    return f"{len(paged)}/{len(some)} {median:>7} {tickets:3}"


if __name__ == "__main__":
    main()
