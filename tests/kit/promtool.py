"""Prometheus' own judgement of the rules: `promtool` on what is rendered, with series given by the test."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monitor.generate.files import as_yaml
from monitor.generate.prometheus import rule_file
from monitor.journey_file.model import Journey

STEP_S = 10

LABELS = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

NAMES = ("alertname", "severity", "stage", "experience", "segment", "cause")

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
    (directory / "rules.yaml").write_text(as_yaml(rule_file(journey)))
    test = {"interval": f"{STEP_S}s", "input_series": series.as_input(), **checks}
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_S}s", "tests": [test]}
    (directory / "test.yaml").write_text(as_yaml(content))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=directory, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _alerts(line: str) -> Iterable[tuple[str, ...]]:
    for series in re.findall(r"\{(.*?)\} ", line):
        labels = dict(LABELS.findall(series))
        if "alertname" in labels:
            yield tuple(labels[name] for name in NAMES if name in labels)
