"""The rules judged three ways agree: over history, by Prometheus, by the query of the Grafana rules.

Counts of a seeded history go to `backtest` as they are, and to Prometheus as the windows that a worker would
show, summed by its own code.
"""

import json
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from monitor.backtest.history import StageHistory
from monitor.backtest.run import Key, alerts_of, spans_of, worst
from monitor.counting import metrics
from monitor.counting.judging import bad_name, good_name, outcome_name, reason_name
from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.windows import WINDOWS, StageWindows
from monitor.generate.grafana import rule_groups
from monitor.generate.prometheus import rule_file
from monitor.journey_file.grammar import parse
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import NONE, WHOLE, Journey, Stage
from monitor.journeys.counters import CRITICAL, counter_names
from monitor.live.exposition import _journeys
from monitor.live.journeys import JourneysSnapshot
from monitor.rules.journeys import BETWEEN, WholeName
from monitor.rules.qualities import SILENT_WINDOWS, judged, qualities

pytestmark = pytest.mark.full

JOURNEY = parse("""
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
""")

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

HOUR = 3_600_000 // SHORT.ms
DAY = 24 * HOUR
T0 = 1_800_000_000_000 // SHORT.ms // 30 * 30
PER_SLICE = {"shop": 10.0, "parcel": 5.0, "desk": 1.0, "mood": 0.17}
BAD = {"shop": 0.008, "parcel": 0.02, "desk": 0.12, "mood": 0.15}

Rates = Callable[[str, int, str], tuple[float, float]]
"""Stage, slices since the history is looked at (before: negative), segment -> events a slice, share bad."""


Lives = Callable[[int], Mapping[str, int]]
"""Slices since the history is looked at -> what whole journeys count then, by counter."""


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
    found |= {"moved/phone/chat": n, "lost/phone/chat": n // 50, "weakest/parcel/silver": round(n * missed)}
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


def shop_weighs(at: int) -> Mapping[str, int]:
    """Once enough have answered, the shop turns out to be critical; meanwhile promises are broken too."""
    answers = dict(zip(CRITICAL, (40, 60, 60, 840), strict=True)) if at == 301 else {}
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


SITUATIONS = {
    "healthy": Situation(healthy),
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
        step=29,  # what a rule said last is known for 30
        blind=29,
        expected={"StageSilent page desk"},
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


def counts(name: str, situation: Situation) -> Iterator[tuple[Stage, int, str, int, int]]:
    """Stage, slice, segment, good and bad of a seeded history, in order of time."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for stage in situation.journey.stages:
        for segment, weight in zip(situation.journey.segment_labels, (0.2, 0.5, 0.3), strict=True):
            n, share = np.array(
                [
                    situation.rates(stage.name, at, segment)
                    for at in range(-situation.before, situation.watched)
                ]
            ).T
            events = rng.poisson(n * weight)
            bad = rng.binomial(events, share)
            for at in np.flatnonzero(events).tolist():
                yield (
                    stage,
                    situation.t0 + at - situation.before,
                    segment,
                    int(events[at] - bad[at]),
                    int(bad[at]),
                )


@dataclass
class Told:
    """A history as either side reads it."""

    histories: dict[str, StageHistory]
    windows: dict[str, list[tuple[int, PaneKey, dict[str, int]]]]


def told(name: str, situation: Situation) -> Told:
    """The same counts, for `backtest` and as panes of a worker."""
    found, journey = Told({}, {}), situation.journey
    start, length = situation.t0 - situation.before, situation.before + situation.watched
    tables: dict[str, Any] = {}
    for stage in judged(journey):
        found.histories[stage.name] = held = StageHistory(journey, stage)
        tables[stage.name] = held.table(start, start + length)
        found.windows[stage.name] = []
    for stage, at, segment, good, bad in counts(name, situation):
        held, experience = found.histories[stage.name], stage.experiences[0].name
        column = tables[stage.name][:, at - start]
        column[held.good[experience, segment]] += good
        column[held.bad[experience, segment]] += bad
        column[held.events] += good + bad
        column[held.reasons["broken"]] += bad
        cell = (experience, segment, NONE)
        pane = {good_name(*cell): good, bad_name(*cell): bad, outcome_name("ok"): good}
        pane |= {outcome_name("failed"): bad, reason_name("broken"): bad}
        _seen(found.windows[stage.name], at, pane)
    for at in range(start, start + length) if journey.journeys is not None else ():
        if lives := situation.lives(at - situation.t0):
            _seen(found.windows[WHOLE], at, dict(lives))
            for row, n in _rows(found.histories[WHOLE], lives):
                tables[WHOLE][row, at - start] += n
    for stage_name, table in tables.items():
        found.histories[stage_name].add_table(start, table)
    return found


def _seen(panes: list[tuple[int, PaneKey, dict[str, int]]], at: int, counted: dict[str, int]) -> None:
    for grain in (SHORT, LONG):
        panes.append((at, PaneKey(grain.ms, grain.start_of(at * SHORT.ms)), counted))


def _rows(held: StageHistory, lives: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Row and how much to add to it, worked out name by name."""
    for name, n in lives.items():
        family, *about = name.split("/")
        if family == "closed":
            result, segment = about
            yield held.events, n
            yield (held.good if result == "met" else held.bad)["goal", segment], n
        elif family == "promise" and about[2] == "kept":
            yield held.good["promise_window", about[1]], n
            yield held.bad["promise_window", about[1]], -n
        elif family == "promise":
            yield held.bad["promise_window", about[1]], n
        elif family == "handoff" and about[3] == "received":
            yield held.good["handoff_shop_parcel", about[2]], n
        elif family == "moved":
            yield held.good["moves", BETWEEN.join(about)], n
        elif family == "lost":
            yield held.good["moves", BETWEEN.join(about)], -n
            yield held.bad["moves", BETWEEN.join(about)], n
        elif family == "gap":
            is_bad = about[1] == "ok_inside_bad_outside"
            yield (held.bad if is_bad else held.good)["understood", about[0]], n
        elif family == "weakest":
            yield held.reasons[about[0]], n
        elif family == "critical":
            yield held.critical[about[0]][CRITICAL.index(about[1])], n


def by_backtest(situation: Situation, found: Told) -> dict[int, set[str]]:
    """Step -> alerts that fire, as `backtest` says."""
    journey, t0 = situation.journey, situation.t0
    rules, end = tuple(qualities(journey)), t0 + situation.watched
    since = t0 - situation.before + situation.blind
    spans = spans_of(journey, rules, found.histories, t0, end, since=since)
    firing: dict[int, set[str]] = {at: set() for at in range(0, situation.watched, situation.step)}
    for key, mask in alerts_of(journey, spans):
        named = key
        for at, names in firing.items():
            if mask[at] and key.name != "StageSilent" and not (at and mask[at - situation.step]):
                named, _ = worst(rules, key, spans[key.stage], t0 + at)
            if mask[at]:
                names.add(_name(named))
    return {at: names for at, names in firing.items() if at >= situation.unseen}


def _name(key: Key) -> str:
    return " ".join(filter(None, key))


def series(situation: Situation, found: Told) -> list[dict[str, str]]:
    """What a worker's /metrics would have shown at the end of each slice."""
    shown: dict[str, list[float]] = {}
    journey, t0 = situation.journey, situation.t0
    blind = range(t0, t0 - situation.before + situation.blind, situation.step)

    def show(name: str, value: float, labels: Mapping[str, str]) -> None:
        pairs = ", ".join(f'{label}="{of}"' for label, of in labels.items())
        shown.setdefault(f"{name}{{{pairs}}}", []).append(value)

    def show_metric(metric: metrics.Metric, value: float, *labels: str) -> None:
        show(metric.name, value, dict(zip(metric.labels, labels, strict=True)))

    held = {stage.name: StageWindows(_names(journey, stage)) for stage in judged(journey)}
    queues = {name: sorted(panes, key=lambda pane: pane[0]) for name, panes in found.windows.items()}
    done = dict.fromkeys(queues, 0)
    for at in range(t0 + len(blind) * situation.step, t0 + situation.watched, situation.step):
        end_ms = (at + 1) * SHORT.ms
        for metric, value in ((metrics.READY, 1), (metrics.PARTITIONS, 4), (metrics.OWNED, 4)):
            show_metric(metric, value)
        for stage in judged(journey):
            queue, windows = queues[stage.name], held[stage.name]
            while done[stage.name] < len(queue) and queue[done[stage.name]][0] <= at:
                _, key, pane = queue[done[stage.name]]
                windows.add(key, pane)
                done[stage.name] += 1
            sums = windows.sums(end_ms - 1)
            if stage.name == WHOLE:
                for family in _journeys(JourneysSnapshot("", windows.column, sums, {}, 0, {}, {}, ())):
                    for sample in family.samples:
                        show(sample.name, sample.value, sample.labels)
                continue
            show_metric(metrics.OPEN, is_open(journey, stage, end_ms - 1), stage.name)
            experience = stage.experiences[0]
            for segment in journey.segment_labels:
                target = float(experience.target_for(segment))
                show_metric(metrics.TARGET, target, stage.name, experience.name, segment)
            for window in WINDOWS:
                row = dict(zip(windows.names, sums[window.label], strict=True))
                for segment in journey.segment_labels:
                    cell = (experience.name, segment, NONE)
                    good, bad = row[good_name(*cell)], row[bad_name(*cell)]
                    show_metric(metrics.WINDOW_EVENTS, good + bad, stage.name, *cell, window.label)
                    show_metric(metrics.WINDOW_GOOD, good, stage.name, *cell, window.label)
                for outcome in ("ok", "failed"):
                    show_metric(
                        metrics.WINDOW_OUTCOMES, row[outcome_name(outcome)], stage.name, outcome, window.label
                    )
                show_metric(
                    metrics.WINDOW_REASONS, row[reason_name("broken")], stage.name, "broken", window.label
                )
                if stage.per_hour is not None and window.label in SILENT_WINDOWS:
                    from_ms = window.grain.start_of(end_ms - 1) + window.grain.ms - window.ms
                    n = expected(journey, stage, from_ms, end_ms)
                    show_metric(metrics.EXPECTED, n, stage.name, window.label)
    return [
        {"series": name, "values": " ".join(["_"] * len(blind) + [f"{value:.17g}" for value in values])}
        for name, values in shown.items()
    ]


def _names(journey: Journey, stage: Stage) -> tuple[str, ...] | list[str]:
    if stage.name == WHOLE:
        return counter_names(journey)
    cells = [(stage.experiences[0].name, segment, NONE) for segment in journey.segment_labels]
    return [
        *(name(*cell) for cell in cells for name in (good_name, bad_name)),
        outcome_name("ok"), outcome_name("failed"), reason_name("broken"),
    ]  # fmt: skip


JUDGED = ("StageDegraded", "StageSilent", *get_args(WholeName))
FIRING = (
    "count by (alertname, severity, stage, experience, segment) "
    f'(ALERTS{{alertname=~"{"|".join(JUDGED)}", alertstate="firing"}})'
)


def grafana(journey: Journey) -> str:
    """One query for all of Grafana's rules: the query of each, its last value, above its threshold. Grafana
    takes a rule of which any query is empty for one without data, so each must have series."""
    asked = []
    for group in rule_groups(journey)["groups"]:
        for rule in group["rules"]:
            if rule["labels"]["touchpoint"] not in JUDGED:
                continue
            by_ref = {one["refId"]: one["model"] for one in rule["data"]}
            threshold = by_ref[rule["condition"]]
            reduce = by_ref[threshold["expression"]]
            assert (reduce["type"], reduce["reducer"], threshold["type"]) == ("reduce", "last", "threshold")
            evaluator = threshold["conditions"][0]["evaluator"]
            assert evaluator["type"] == "gt"
            query = by_ref[reduce["expression"]]
            assert query["instant"] is True
            expr = f"(({query['expr']}) > {evaluator['params'][0]})"
            facts = [one["expr"] for one in by_ref.values() if "expr" in one and one is not query]
            expr = f"({' and on () '.join([expr, *(f'({fact})' for fact in facts)])})"
            for label, name in (("alertname", "touchpoint"), *((one, one) for one in rule["labels"])):
                expr = f'label_replace({expr}, "{label}", "{rule["labels"][name]}", "", "")'
            asked.append(f"count by (alertname, severity, stage, experience, segment) ({expr})")
    return "\nor\n".join(asked)


Asked = tuple[str, dict[int, set[str]]]
"""A query, and by step the alerts it should give."""


def promtool(
    path: Path, situation: Situation, inputs: list[dict[str, str]], *asked: Asked
) -> subprocess.CompletedProcess[str]:
    """Ask Prometheus' own rule evaluation whether just these alerts fire at each step."""
    interval_s = situation.step * SHORT.ms // 1000
    rules = rule_file(situation.journey)
    for rule in rules["groups"][0]["rules"]:
        rule.pop("annotations", None)  # each is a query, and they are not what is compared
    (path / "rules.yml").write_text(json.dumps(rules))
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{interval_s}s",
        "tests": [
            {
                "interval": f"{interval_s}s",
                "input_series": inputs,
                "promql_expr_test": [
                    {
                        "expr": expr,
                        "eval_time": f"{at // situation.step * interval_s}s",
                        "exp_samples": [{"labels": _labels(name), "value": 1} for name in sorted(names)],
                    }
                    for expr, firing in asked
                    for at, names in firing.items()
                ],
            }
        ],
    }
    (path / "test.yml").write_text(json.dumps(test))
    return subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=path, capture_output=True, text=True, check=False
    )


def _labels(name: str) -> str:
    fields = ("alertname", "severity", "stage", "experience", "segment")
    return "{" + ", ".join(f'{k}="{v}"' for k, v in zip(fields, name.split(), strict=False)) + "}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SITUATIONS)
def test_three_ways_agree(name: str, tmp_path: Path) -> None:
    """At every step the same alerts fire, whoever judges; those the situation is about are among them."""
    situation = SITUATIONS[name]
    found = told(name, situation)
    firing = by_backtest(situation, found)
    fired = set().union(*firing.values())
    assert situation.expected <= fired, fired
    assert fired or name in ("healthy", "just started", "journeys go well")
    edges = [at for at in firing if at and firing[at] != firing.get(at - situation.step)]
    near = {at + d * situation.step for at in edges for d in (-1, 0, 1)}
    some = near | set(random.Random(7).sample(sorted(firing), min(30, len(firing))))
    asked = {at: names for at, names in firing.items() if at in some}
    inputs = series(situation, found)
    answered = promtool(tmp_path, situation, inputs, (FIRING, firing), (grafana(situation.journey), asked))
    assert answered.returncode == 0, (answered.stdout + answered.stderr)[-3000:]


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """One alert more or less than Prometheus has, at one step, fails."""
    situation = SITUATIONS["outage"]
    found = told("outage", situation)
    firing, inputs = by_backtest(situation, found), series(situation, found)
    at = next(at for at, names in firing.items() if names)
    for wrong in (set(), firing[at] | {"StageSilent page desk"}):
        assert promtool(tmp_path, situation, inputs, (FIRING, {at: wrong})).returncode != 0
