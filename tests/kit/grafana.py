"""Grafana's evaluation of provisioned alert rules, as 9.4 does it (`pkg/services/ngalert`), without Grafana.

A query that fails makes the rule's one result an error; any query without a series makes it no data, whatever
the condition says; else each series of the condition is an instance with a state of its own. An instance that
is not among the results for two intervals ends. Texts are filled by Prometheus' own template engine, which
is the one Grafana 9.4 uses. What the generator does not write is refused here, not guessed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

from tests.kit.promtool import QueryError, Sample

KEYS = {
    "uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState", "execErrState", "for",
    "labels", "annotations", "isPaused",
}  # fmt: skip

Ask = Callable[[str], Iterable[Sample]]
"""What Prometheus answers to a query now; QueryError when it does not."""

State = Literal["Normal", "Pending", "Alerting", "NoData", "Error"]
Labels = frozenset[tuple[str, str]]

SETTINGS: dict[str, State] = {"OK": "Normal", "Alerting": "Alerting", "NoData": "NoData", "Error": "Error"}
"""What a rule without data, or with an error, is, by its `noDataState` or `execErrState`."""


class Notified(NamedTuple):
    """An alert as Grafana sends it while it fires: its labels, and texts as templates of Prometheus."""

    labels: dict[str, str]
    texts: dict[str, str]


class Result(NamedTuple):
    """What one evaluation says of one instance, and by name what its texts may tell."""

    state: State
    values: Mapping[str, Sample]
    error: str = ""


@dataclass(slots=True)
class Instance:
    """An instance that was there at the last evaluation, or the one before."""

    state: State
    since_s: int
    seen_s: int


@dataclass
class Rule:
    """One rule, evaluated again and again."""

    rule: dict[str, Any]
    every_s: int
    _instances: dict[Labels, Instance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert set(self.rule) == KEYS, set(self.rule) ^ KEYS
        assert not self.rule["isPaused"]
        self._for_s = int(self.rule["for"].removesuffix("s"))
        self._labels = {name: text.replace("$$", "$") for name, text in self.rule["labels"].items()}
        assert not any("{{" in text for text in self._labels.values())

    @property
    def queries(self) -> list[str]:
        """What it asks Prometheus at each evaluation."""
        return [one["model"]["expr"] for one in self.rule["data"] if "expr" in one["model"]]

    def evaluate(self, at_s: int, ask: Ask) -> list[Notified]:
        """What is firing after the evaluation at that time, errors and missing data among it."""
        firing = []
        for own, result in self._results(ask).items():
            there = dict(own)
            labels = there | self._labels  # the rule's labels win
            key = frozenset(labels.items())
            instance = self._instances.setdefault(key, Instance("Normal", at_s, at_s))
            instance.seen_s = at_s
            self._next(instance, result.state, at_s)
            if instance.state in ("Alerting", "Error", "NoData"):
                firing.append(self._notified(instance.state, there, labels, result))
        self._instances = {
            key: one for key, one in self._instances.items() if one.seen_s + 2 * self.every_s > at_s
        }
        return firing

    def _next(self, instance: Instance, result: State, at_s: int) -> None:
        if result == "NoData":
            result = SETTINGS[self.rule["noDataState"]]
        if result == "Error":
            result = SETTINGS[self.rule["execErrState"]]
        if result == "Alerting" and self._for_s and instance.state != "Alerting":
            is_due = instance.state == "Pending" and at_s - instance.since_s >= self._for_s
            result = "Alerting" if is_due else "Pending"
        if result != instance.state:
            instance.state, instance.since_s = result, at_s

    def _results(self, ask: Ask) -> dict[Labels, Result]:
        answers: dict[str, list[Sample]] = {}
        expressions = []
        for one in self.rule["data"]:
            if one["datasourceUid"] == "__expr__":
                expressions.append(one["model"])
                continue
            try:
                answers[one["refId"]] = list(ask(one["model"]["expr"]))
            except QueryError as error:
                return {frozenset(): Result("Error", {}, str(error))}
        if empty := sorted(ref for ref, samples in answers.items() if not samples):
            return {frozenset({("ref_id", ",".join(empty))}): Result("NoData", {})}
        reduced: dict[str, list[Sample]] = {}
        for model in expressions:
            of = model["expression"]
            reduced[model["refId"]] = _calculated(model, answers[of] if of in answers else reduced[of])
        condition = reduced[self.rule["condition"]]
        if len({frozenset(labels.items()) for labels, _ in condition}) < len(condition):
            return {frozenset(): Result("Error", {}, "cannot uniquely be identified by its labels")}
        return {
            frozenset(labels.items()): Result("Alerting" if value else "Normal", _captured(labels, reduced))
            for labels, value in condition
        }

    def _notified(
        self, state: State, own: Mapping[str, str], labels: dict[str, str], result: Result
    ) -> Notified:
        if state != "Alerting":  # under a name of Grafana's own; its other texts say nothing that is known
            name = {"alertname": f"Datasource{state}", "rulename": self.rule["title"]}
            return Notified(labels | name, {"Error": result.error})
        texts = self.rule["annotations"].items()
        filled = {name: _template(text, own, result.values) for name, text in texts}
        return Notified(labels | {"alertname": self.rule["title"]}, filled)


def _calculated(model: Mapping[str, Any], samples: list[Sample]) -> list[Sample]:
    if model["type"] == "reduce":
        assert model["reducer"] == "last"  # of an instant query there is one value
        return [(_but_name(labels), value) for labels, value in samples]
    assert model["type"] == "threshold"
    (condition,) = model["conditions"]
    assert condition["evaluator"]["type"] == "gt"
    (limit,) = condition["evaluator"]["params"]
    return [(labels, float(value > limit)) for labels, value in samples]


def _but_name(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "__name__"}


def _captured(own: Mapping[str, str], reduced: Mapping[str, list[Sample]]) -> dict[str, Sample]:
    """By name the value whose labels are the instance's, or some of them, or those and more. Of several
    Grafana takes whichever comes last, and which that is changes: no text may depend on it."""
    found = {}
    for ref, samples in reduced.items():
        fitting = [one for one in samples if _fits(one[0], own)]
        assert len(fitting) <= 1, f"several values are called {ref}: {fitting}"
        if fitting:
            found[ref] = fitting[0]
    return found


def _fits(labels: Mapping[str, str], own: Mapping[str, str]) -> bool:
    return labels.items() <= own.items() or own.items() <= labels.items()


LABEL_OF = re.compile(r'index \(index \$values "(\w+)"\)\.Labels "(\w+)"')
FIELD_OF = re.compile(r'\(index \$values "(\w+)"\)\.(Labels|Value)')
OWN_LABEL = re.compile(r"\$labels\.(\w+)")


def _template(text: str, own: Mapping[str, str], values: Mapping[str, Sample]) -> str:
    """The template with the instance's labels and values written into it as constants."""
    nothing: Sample = ({}, 0.0)  # of a map Go gives what is not in it as the zero value

    def label(found: re.Match[str]) -> str:
        return json.dumps(values.get(found[1], nothing)[0].get(found[2], ""), ensure_ascii=False)

    def one_field(found: re.Match[str]) -> str:
        labels, value = values.get(found[1], nothing)
        return f"{value:.17e}" if found[2] == "Value" else ("true" if labels else "false")

    def own_label(found: re.Match[str]) -> str:
        return json.dumps(own[found[1]], ensure_ascii=False)  # one that is absent would read "[no value]"

    done = OWN_LABEL.sub(own_label, FIELD_OF.sub(one_field, LABEL_OF.sub(label, text)))
    assert "$" not in "".join(re.findall(r"\{\{.*?\}\}", done)), done
    return done


def rules_of(groups: Mapping[str, Any], every_s: int) -> list[Rule]:
    """Every rule of a provisioning file."""
    found = chain.from_iterable(group["rules"] for group in groups["groups"])
    return [Rule(rule, every_s) for rule in found]
