"""The rules judged three ways agree, in what fires and in every word: by history, by Prometheus, by Grafana.

`backtest` reads the history. Prometheus evaluates its rules and fills its texts. Grafana's rules ask what
Prometheus answers, are evaluated as Grafana does it, and fill their own texts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitor.backtest.run import Fired, Key, Teller, alerts_of, spans_of
from monitor.backtest.timeline import BEFORE, StageSpan
from monitor.counting import metrics
from monitor.counting.panes import SHORT
from monitor.generate import grafana
from monitor.generate.grafana import never_empty, rule_groups
from monitor.generate.prometheus import rule_file
from monitor.journey_file.model import ALL
from monitor.rules.alerts import INHIBITOR
from monitor.rules.facts import Alert, Asked, of_its_stage
from monitor.rules.journeys import BETWEEN, OWN_LABELS
from monitor.rules.plan import plan
from tests.kit.grafana import Ask, Notified, Rule, rules_of
from tests.kit.promtool import Evaluation, QueryError, Sample, evaluated, filled
from tests.monitor.generate.histories import Told, series, told
from tests.monitor.generate.situations import SITUATIONS, Situation

pytestmark = pytest.mark.full

NO_FAULT = ("healthy", "journeys go well")

UNJUDGED_BY_HISTORY = (
    "MonitorBlind",
    "JourneysFull",
    "StepsSkipped",
    "DeadLettersRising",
    "CriticalTouchpoint",
    "Watchdog",
)


class Said(NamedTuple):
    """An alert that fires: labels and texts, in order of their names."""

    labels: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What it is, and about what, as `Key` tells it."""
        labels = dict(self.labels)
        about = ("alertname", "severity", "stage", "experience", "segment", *OWN_LABELS)
        return " ".join(labels[one] for one in about if one in labels)


def said(labels: dict[str, str], texts: dict[str, str]) -> Said:
    """As it is compared."""
    return Said(tuple(sorted(labels.items())), tuple(sorted(texts.items())))


By = dict[int, set[Said]]
"""By step, what fires."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What `backtest` says of an alert as it begins, and all segments that are hit as hard as the one it
    names: of equals Prometheus takes any."""

    fired: Fired
    hits: tuple[str, ...]


def by_backtest(
    situation: Situation, found: Told
) -> tuple[dict[int, set[str]], dict[tuple[int, str], Begun]]:
    """Step -> alerts that fire, as `backtest` says; and what it says of each when it begins."""
    held_to, t0 = plan(situation.journey), situation.t0
    end = t0 + situation.watched
    since = t0 - situation.before + situation.blind
    spans = spans_of(held_to, found.histories, t0, end, since=since)
    for mask in (mask for span in spans.values() for by in span.crossed.values() for mask in by.values()):
        mask[:BEFORE] = False  # Prometheus has seen nothing before: nothing is going on from then
    tell = Teller(held_to)
    firing: dict[int, set[str]] = {at: set() for at in range(0, situation.watched, situation.step)}
    begun: dict[tuple[int, str], Begun] = {}
    for key, mask in alerts_of(held_to, spans, {}):
        named = key
        for at, names in firing.items():
            if not mask[at]:
                continue
            if not (at and mask[at - situation.step]) and (at or not key.name.endswith("Silent")):
                fired = tell(key, spans[key.stage], t0 + at)
                named = fired.key
                begun[at, _name(named)] = Begun(fired, _hit_most(fired, spans[key.stage], found, t0 + at))
            names.add(_name(named))
    return firing, begun


def _hit_most(fired: Fired, span: StageSpan, found: Told, at: int) -> tuple[str, ...]:
    if fired.hits is None or fired.key.group != ALL:
        return (fired.hits or "unknown",)
    bad = {
        segment: span.count(row, fired.window, at)
        for (experience, segment), row in found.histories[fired.key.stage].bad.items()
        if experience == fired.key.experience
    }
    return tuple(segment for segment, n in bad.items() if n == bad[fired.hits])


def _name(key: Key) -> str:
    return " ".join(filter(None, key)).replace(BETWEEN, " ")


@dataclass
class Judged:
    """One situation, judged by Prometheus and by Grafana."""

    prometheus: By
    grafana: By


def judged(path: Path, situation: Situation, found: Told) -> Judged:
    """Let Prometheus evaluate its rules at every step, and Grafana ask it."""
    every_s = situation.step * SHORT.ms // 1000
    steps = {at: at * SHORT.ms // 1000 for at in range(0, situation.watched, situation.step)}
    held_to = plan(situation.journey)
    rules = rules_of(rule_groups(held_to), every_s)
    exprs = {expr for rule in rules for expr in rule.queries}
    asked = dict.fromkeys(steps.values(), exprs)
    answers = evaluated(path, rule_file(held_to), series(situation, found), every_s, asked)
    notified = {at: _notified(rules, answers, at_s) for at, at_s in steps.items()}
    texts = filled(path, (text for all_ in notified.values() for one in all_ for text in one.texts.values()))
    return Judged(
        {
            at: {
                said(one.labels, one.texts)
                for one in answers.alerts[at_s]
                if one.labels["alertname"] != INHIBITOR
            }
            for at, at_s in steps.items()
        },
        {
            at: {said(_named(one), {name: texts[text] for name, text in one.texts.items()}) for one in all_}
            for at, all_ in notified.items()
        },
    )


def _notified(rules: list[Rule], answers: Evaluation, at_s: int) -> list[Notified]:
    return [one for rule in rules for one in rule.evaluate(at_s, lambda expr: answers.answer(expr, at_s))]


def _named(one: Notified) -> dict[str, str]:
    """The labels as Prometheus gives them: Grafana calls an alert by its rule's title."""
    labels = dict(one.labels)
    name = labels.pop("touchpoint")
    if labels["alertname"].startswith("Datasource"):
        return labels
    return labels | {"alertname": name}


def differences(situation: Situation, found: Told, told_: Judged) -> list[str]:
    """Where the three do not agree, by step."""
    firing, begun = by_backtest(situation, found)
    wrong = []
    for at, names in firing.items():
        prometheus, asked = told_.prometheus[at], told_.grafana[at]
        wrong += [f"{at}: only Prometheus says {one}" for one in sorted(prometheus - asked)]
        wrong += [f"{at}: only Grafana says {one}" for one in sorted(asked - prometheus)]
        if at < situation.unseen or not situation.is_seen:
            continue
        stages = {one.name: dict(one.texts) for one in prometheus if one.labels}
        of_stages = {name for name in stages if not name.startswith(UNJUDGED_BY_HISTORY)}
        wrong += [f"{at}: only history gives {one}" for one in sorted(names - of_stages)]
        wrong += [f"{at}: history does not give {one}" for one in sorted(of_stages - names)]
        for name in names & of_stages:
            if (at, name) in begun:
                wrong += [f"{at}: {name}: {one}" for one in _different(begun[at, name], stages[name])]
    return wrong


def _different(begun: Begun, texts: dict[str, str]) -> list[str]:
    """Facts and summary that history tells otherwise than an alert does."""
    fired = begun.fired
    facts: dict[str, tuple[object, ...]] = {
        "summary": (fired.summary,), "n": (fired.n,), "bad": (fired.bad,), "window": (fired.window,),
        "reason": (fired.reason or "unknown",), "hits": begun.hits,
    }  # fmt: skip
    return [
        f"{name}: history says {values}, Prometheus {texts[name]!r}"
        for name, values in facts.items()
        if name in texts and texts[name] not in map(str, values)
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SITUATIONS)
def test_three_ways_agree(name: str, tmp_path: Path) -> None:
    """At every step the same alerts fire and say the same, whoever judges; those the situation is about are
    among them."""
    situation = SITUATIONS[name]
    found = told(name, situation)
    both = judged(tmp_path, situation, found)
    assert not differences(situation, found, both)
    fired = {one.name for all_ in both.prometheus.values() for one in all_} - {"Watchdog heartbeat"}
    assert situation.expected <= fired, fired
    assert bool(fired) == (name not in NO_FAULT), fired


SHORT_OUTAGE = replace(SITUATIONS["bare stage"], watched=40)

PLANTED: dict[str, tuple[Callable[[str], str], str]] = {
    "a fact that may be empty": (lambda expr: expr, "only Prometheus says Said(labels=(('alertname', 'Stage"),
    "a fact that cannot be asked": (
        lambda expr: f"({expr}) + on () {metrics.WINDOW_EVENTS.name}", "DatasourceError",
    ),
    "a fact that is not the alert's": (
        lambda expr: f'label_replace({never_empty(expr)}, "stage", "other", "", "")', "'unknown'",
    ),
}  # fmt: skip
"""What is wrong with the queries of Grafana's texts, and how that shows."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_query_is_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with one of Grafana's queries, it does not fire, or does not say, what Prometheus
    does."""
    found = told("bare stage", SHORT_OUTAGE)
    assert not differences(SHORT_OUTAGE, found, judged(tmp_path, SHORT_OUTAGE, found))
    query, shown = PLANTED[name]
    monkeypatch.setattr(grafana, "never_empty", query)
    wrong = differences(SHORT_OUTAGE, found, judged(tmp_path, SHORT_OUTAGE, found))
    assert any(shown in one for one in wrong), wrong


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """One alert more or less, or one other word, on any of the three sides."""
    found = told("bare stage", SHORT_OUTAGE)
    both = judged(tmp_path, SHORT_OUTAGE, found)
    at = next(at for at, all_ in both.prometheus.items() if len(all_) > 1)
    begun = next(one for one in both.prometheus[at] if "StageDegraded" in one.name)
    texts = tuple((name, text.replace("were", "where")) for name, text in begun.texts)
    for changed in (set(), {begun._replace(texts=texts)}):
        rest = both.prometheus[at] - {begun} | changed
        for other in (
            Judged(both.prometheus | {at: rest}, both.grafana | {at: rest}),
            Judged(both.prometheus, both.grafana | {at: rest}),
            Judged(both.prometheus | {at: rest}, both.grafana),
        ):
            assert differences(SHORT_OUTAGE, found, other)


def rule(wait: str = "0s", **more: Any) -> dict[str, Any]:
    """A rule of one query, `a`, and one fact, `b`."""
    alert = Alert("Watchdog", "a", {"severity": "page"}, {"summary": "{b}"}, of_its_stage({"b": Asked("b")}))
    found: dict[str, Any] = grafana._rule(alert)
    return found | {"for": wait} | more


def test_grafana_waits_keeps_and_ends() -> None:
    """`for` holds back; an instance that is gone for two intervals begins anew, and waits again."""
    there = Rule(rule("20s"), 10)
    came = "1100111101111000111"
    a: list[Sample] = [({"stage": "s"}, 1.0)]
    fired = []
    for at, one in enumerate(came):
        answers = {"a": a if one == "1" else [], never_empty("b"): a}
        fired.append(bool(there.evaluate(10 * at, answers.__getitem__)))
    assert "".join(map(str, map(int, fired))) == "0000001101111000001"


def test_grafana_takes_what_is_missing_for_no_data_and_what_fails_for_an_error() -> None:
    """One empty query silences a rule, or is told as missing data; one that fails, or results that cannot be
    told apart, is an error; each under the rule's labels and a name of its own."""
    one: list[Sample] = [({"stage": "s"}, 1.0)]

    def failing(_: str) -> list[Sample]:
        raise QueryError("refused")

    def names(of: dict[str, Any], ask: Ask) -> list[tuple[str, str]]:
        return [(n.labels["alertname"], n.texts.get("Error", "")) for n in Rule(of, 10).evaluate(0, ask)]

    def empty(expr: str) -> list[Sample]:
        return one if expr == "a" else []

    assert names(rule(), lambda _: one) == [("Watchdog page", "")]
    assert names(rule(), empty) == []
    assert names(rule(noDataState="NoData"), empty) == [("DatasourceNoData", "")]
    assert names(rule(), failing) == [("DatasourceError", "refused")]
    ((name, why),) = names(rule(), lambda expr: one * 2 if expr == "a" else one)
    assert (name, why) == ("DatasourceError", "cannot uniquely be identified by its labels")
