"""Prometheus' own judgement of the rules: `promtool` on what is rendered, with series given by the test."""

import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.generate.files import as_yaml
from monitor.generate.prometheus import rule_file
from monitor.journey_file.model import Journey
from monitor.rules.journeys import OWN_LABELS
from monitor.rules.plan import plan

STEP_S = 10

MEMORY_FOR_TIME = "400"
"""Go collects garbage once its heap is five times what lives, not twice (https://go.dev/doc/gc-guide#GOGC).
`healthy` of `test_three_ways.py`: 16 s of a core instead of 22, and 160 MB instead of 90."""

LABELS = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

NAMES = ("alertname", "severity", "stage", "experience", "segment", "cause", *OWN_LABELS)

Verdict = frozenset[tuple[str, ...]]
"""Alerts that fire: each by its name, severity, stage, experience, segment, cause, as far as it has them."""


class Series:
    """Input series of a test: a value for each step of 10 s, by metric name and labels."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, values: Sequence[float], **labels: str) -> None:
        """A series from the first step on."""
        matchers = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        self._values[f"{name}{{{matchers}}}"] = list(values)

    def as_input(self) -> list[dict[str, str]]:
        """As promtool reads them."""
        return [{"series": series, "values": _short(values)} for series, values in self._values.items()]


def _short(values: Sequence[float]) -> str:
    """Equal values one after another as `5x9`: 5 and nine more."""
    parts: list[list[float]] = []
    for value in values:
        if parts and parts[-1][0] == value:
            parts[-1][1] += 1
        else:
            parts.append([value, 0])
    return " ".join(f"{value:g}x{more:g}" if more else f"{value:g}" for value, more in parts)


def firing(directory: Path, journey: Journey, series: Series, at_s: Iterable[int]) -> dict[int, Verdict]:
    """What people are told at each time; promtool tells it by the difference to a wrong guess."""
    times = list(at_s)
    expr = 'ALERTS{alertstate="firing", alertname!~"Watchdog|Inhibitor"} or vector(1)'
    checks: list[dict[str, Any]] = [{"expr": expr, "eval_time": f"{at}s"} for at in times]
    said = _said(directory, journey, series, {"promql_expr_test": checks})
    told = [line for line in said.splitlines() if line.strip().startswith("got:")]
    assert len(told) == len(times), said
    return {at: frozenset(_alerts(line)) for at, line in zip(times, told, strict=True)}


def told_by(directory: Path, journey: Journey, series: Series, at_s: int, name: str) -> str:
    """Labels and texts of the alerts of that name that fire, as promtool prints what it did not expect."""
    check = {"eval_time": f"{at_s}s", "alertname": name, "exp_alerts": []}
    return _said(directory, journey, series, {"alert_rule_test": [check]})


def _said(directory: Path, journey: Journey, series: Series, checks: dict[str, Any]) -> str:
    (directory / "rules.yaml").write_text(as_yaml(rule_file(plan(journey))))
    test = {"interval": f"{STEP_S}s", "input_series": series.as_input(), **checks}
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_S}s", "tests": [test]}
    (directory / "test.yaml").write_text(as_yaml(content))
    return _tested(directory)


def _tested(directory: Path) -> str:
    """What promtool says to `test.yaml`."""
    command = ["promtool", "test", "rules", "test.yaml"]
    env = {**os.environ, "GOGC": MEMORY_FOR_TIME}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert "FAILED" in told or done.returncode == 0, told[-3000:]
    return told


def _alerts(line: str) -> Iterable[tuple[str, ...]]:
    for series in re.findall(r"\{(.*?)\} ", line):
        labels = dict(LABELS.findall(series))
        if "alertname" in labels:
            yield tuple(labels[name] for name in NAMES if name in labels)


Sample = tuple[dict[str, str], float]
"""Labels and value."""


class QueryError(Exception):
    """Prometheus' answer to a query that it cannot evaluate."""


@dataclass(frozen=True, slots=True)
class Alerting:
    """An alert that fires: labels, its name among them, and texts."""

    labels: dict[str, str]
    texts: dict[str, str]


@dataclass
class Evaluation:
    """What Prometheus made of its rules, and answered, at each moment that was asked of."""

    alerts: dict[int, list[Alerting]] = field(default_factory=dict)
    _answers: dict[tuple[str, int], list[Sample] | str] = field(default_factory=dict)

    def answer(self, expr: str, at_s: int) -> list[Sample]:
        """The samples of a query; QueryError when it failed."""
        found = self._answers.get((expr, at_s), [])
        if isinstance(found, str):
            raise QueryError(found)
        return found


QUERY = re.compile(r"^ *expr: (\".*\"), time: (\w+),(?: err: (.*)|\n *exp: nil\n *got: (.*))$", re.M)
FIRED = re.compile(r"^ *alertname: \w+, time: (\w+), \n *exp:\[\], \n *got:\[\n(.*?)\n {12}\]$", re.M | re.S)
ONE = re.compile(r"^ *Labels:\{(.*)\}\n *Annotations:\{(.*)\},?$", re.M)
SAMPLE = re.compile(r"\{((?:\w+=\"(?:[^\"\\]|\\.)*\"(?:, )?)*)\} ([-+\w.]+)")


def evaluated(
    directory: Path,
    rules: Mapping[str, Any],
    inputs: list[dict[str, str]],
    every_s: int,
    asked: Mapping[int, Collection[str]],
) -> Evaluation:
    """Evaluate the rules every so often; at each of the moments tell the alerts that fire, and answer the
    queries. promtool tells what is so by the difference to nothing expected."""
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    test = {
        "interval": f"{every_s}s",
        "input_series": inputs,
        "promql_expr_test": [
            {"expr": expr, "eval_time": f"{at}s", "exp_samples": []}
            for at, exprs in asked.items()
            for expr in exprs
        ],
        "alert_rule_test": [
            {"alertname": name, "eval_time": f"{at}s", "exp_alerts": []}
            for at in asked
            for name in sorted(names)
        ],
    }
    (directory / "rules.yaml").write_text(json.dumps(rules))
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{every_s}s", "tests": [test]}
    (directory / "test.yaml").write_text(json.dumps(content))
    told, found = _tested(directory), Evaluation({at: [] for at in asked})
    for expr, at, error, samples in QUERY.findall(told):
        found._answers[json.loads(expr), _seconds(at)] = error or [
            (_labels(labels), float(value)) for labels, value in SAMPLE.findall(samples)
        ]
    for at, alerts in FIRED.findall(told):
        for labels, texts in ONE.findall(alerts):
            found.alerts[_seconds(at)].append(Alerting(_labels(labels), _labels(texts)))
    read = len(found._answers) + sum(map(len, found.alerts.values()))
    assert read == told.count(' expr: "') + told.count("  Labels:{"), "something was not read"
    return found


def _labels(text: str) -> dict[str, str]:
    return {name: json.loads(f'"{value}"') for name, value in LABELS.findall(text)}


def _seconds(duration: str) -> int:
    units = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([wdhms])", duration))


def filled(directory: Path, templates: Iterable[str]) -> dict[str, str]:
    """What Prometheus' template engine makes of each, none of which asks anything."""
    texts = sorted(set(templates))
    rule = {
        "alert": "Texts",
        "expr": "vector(1)",
        "annotations": {f"t{i}": one for i, one in enumerate(texts)},
    }
    (alert,) = evaluated(directory, {"groups": [{"name": "texts", "rules": [rule]}]}, [], 1, {0: ()}).alerts[
        0
    ]
    return {one: alert.texts[f"t{i}"] for i, one in enumerate(texts)}
