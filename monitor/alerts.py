"""The alerts of a journey, in no product's format: name, expression, labels, texts with named facts.

A text names its facts in braces: `{bad} of {n}`. What a fact is stands beside it as PromQL; each format fills
it in its own way, and `backtest` fills it from history.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from monitor import metrics, promql
from monitor.journey import ALL, Journey, Stage
from monitor.promql import select
from monitor.rules import LAG_S, Quality, Severity, qualities, silence_severity, upstream

Name = Literal["StageDegraded", "StageSilent", "MonitorBlind", "DeadLettersRising", "Watchdog"]

BLIND_FOR_S = 60
"""While partitions move to another worker nobody counts for some seconds, up to a minute with many."""

LETTERS_WINDOW = "10m"
LETTERS_LEAST = 10
LETTERS_SHARE = "0.01"
"""A service that sends one bad record in a hundred, and more than a handful."""


EACH = "EACH"
"""In the expression of a fact: the segment of the alert that the fact is told of."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number, share, age or label value that a text names; `expr` gives one series for each alert.

    An `own label` is one of the alert's and needs no expression.
    """

    expr: str
    shows: Literal["count", "share", "age", "label", "own label"]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that alerts. `expr` has a series for each thing that is wrong, above 0, and else none."""

    name: Name
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    facts: dict[str, Fact] = field(default_factory=dict)
    for_s: int = 0

    @property
    def title(self) -> str:
        """A name of its own: name, severity and what it is about."""
        about = [self.labels[key] for key in ("stage", "experience") if key in self.labels]
        return " ".join([self.name, self.labels["severity"], *about])

    @property
    def uid(self) -> str:
        """At most 40 characters, the same as long as the title is."""
        return f"touchpoint-{hashlib.sha256(self.title.encode()).hexdigest()[:24]}"


def alerts(journey: Journey) -> Iterator[Alert]:
    """Every alert of the journey: the monitor's own, then stage by stage in the order of the journey."""
    yield _watchdog(journey)
    yield _monitor_blind(journey)
    severities = {(one.stage.name, one.experience.name, one.severity): one for one in qualities(journey)}
    for stage in journey.stages:
        yield _silent(journey, stage)
        yield _dead_letters(journey, stage)
        for quality in severities.values():
            if quality.stage is stage:
                yield _degraded(journey, quality)


DEGRADED_SUMMARY = (
    "{title} (segment {segment}): {bad} of {n} in {window} were bad ({share}), at most {allowed} may be. "
    "Measured: {measured}."
)
SILENT_SUMMARY = "{title}: no event in {window}, {expected} were expected."


def _degraded(journey: Journey, quality: Quality) -> Alert:
    """One alert for each segment that suffers beside others, or for everybody."""
    stage, experience, severity = quality.stage, quality.experience, quality.severity
    about = {"stage": stage.name, "experience": experience.name}
    everybody = select(metrics.WORST, **about, segment=ALL, severity=severity)
    some = select(metrics.WORST, **about, severity=severity)
    expr = f"max by (stage, experience, segment) ({everybody} or ({some} unless on () {everybody}))"
    expr = promql.unless_explained(expr, stage, upstream(journey, stage))
    expr += f"\nunless on () {select(metrics.SILENT, stage=stage.name)}"
    if severity == "ticket":
        paging = select(metrics.WORST, **about, severity="page")
        expr += f"\nunless on (segment) {paging}"
        expr += f"\nunless on () {select(metrics.WORST, **about, segment=ALL, severity='page')}"
    return Alert(
        "StageDegraded",
        expr,
        _labels(stage, severity) | {"experience": experience.name},
        {
            "summary": _fill(DEGRADED_SUMMARY, title=stage.title, measured=experience.title),
            "description": (
                "Most frequent reason at this stage: {reason}. Most bad events: segment {hits}. "
                "Last change: {change} ({age} ago)."
            ),
            "n": "{n}", "bad": "{bad}", "window": "{window}", "share": "{share}", "allowed": "{allowed}",
            "reason": "{reason}", "hits": "{hits}", "change": "{change}",
            **_links(journey, stage, "StageDegraded"),
        },
        _degraded_facts(about, severity),
    )  # fmt: skip


def _fill(text: str, **words: str) -> str:
    """Put in what is known now, leave the facts. Braces in titles become parentheses: they would be facts."""
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word.replace("{", "(").replace("}", ")"))
    return text


def _degraded_facts(about: dict[str, str], severity: Severity) -> dict[str, Fact]:
    def worst(series: str) -> str:
        return select(series, **about, segment=EACH, severity=severity)

    target = select(metrics.TARGET.name, **about, segment=EACH)
    return {
        "segment": Fact("", "own label", "segment"),
        "share": Fact(f"{worst(metrics.WORST_BAD)} / {worst(metrics.WORST_EVENTS)}", "share"),
        "window": Fact(worst(metrics.WORST), "label", "window"),
        "n": Fact(worst(metrics.WORST_EVENTS), "count"),
        "bad": Fact(worst(metrics.WORST_BAD), "count"),
        "allowed": Fact(f"1 - max by (stage, experience, segment) ({target})", "share"),
        "reason": Fact(worst(metrics.WORST_REASON), "label", "reason"),
        "hits": Fact(worst(metrics.WORST_SEGMENT), "label", "hits"),
        **_change_facts(worst(metrics.WORST_CHANGE)),
    }


def _change_facts(changed: str) -> dict[str, Fact]:
    return {"change": Fact(changed, "label", "title"), "age": Fact(f"time() - {changed}", "age")}


def _of_stage(expr: str, stage: Stage) -> str:
    """The series with the stage's label: by its labels an alert finds its facts."""
    return f'label_replace({expr}, "stage", "{stage.name}", "", "")'


def _silent(journey: Journey, stage: Stage) -> Alert:
    quiet = select(metrics.SILENT, stage=stage.name)
    shortest = f"topk(1, -{quiet})"
    about = {"stage": stage.name}
    last = f"max by (stage) ({select(metrics.LAST_EVENT.name, **about)})"
    return Alert(
        "StageSilent",
        promql.unless_explained(f"max by (stage) ({quiet})", stage, upstream(journey, stage)),
        _labels(stage, silence_severity(stage)),
        {
            "summary": _fill(SILENT_SUMMARY, title=stage.title),
            "description": "Last event {last} ago. Last change: {change} ({age} ago).",
            "n": "0", "expected": "{expected}", "window": "{window}", "change": "{change}",
            **_links(journey, stage, "StageSilent"),
        },
        {
            "expected": Fact(f"-{shortest}", "count"),
            "window": Fact(shortest, "label", "window"),
            "last": Fact(f"time() - {last}", "age"),
            **_change_facts(select(metrics.CHANGED, **about)),
        },
    )  # fmt: skip


def _dead_letters(journey: Journey, stage: Stage) -> Alert:
    topic = stage.topic
    refused = select(f"{metrics.DEAD_LETTERS.name}_total", topic=topic)
    read = select(f"{metrics.RECORDS.name}_total", topic=topic, result=READ)
    letters = f"sum(increase({refused}[{LETTERS_WINDOW}]))"
    records = f"sum(increase({read}[{LETTERS_WINDOW}]))"
    reasons = f"sum by (reason) (increase({refused}[{LETTERS_WINDOW}]))"
    return Alert(
        "DeadLettersRising",
        _of_stage(f"({letters} >= {LETTERS_LEAST} and {letters} > {LETTERS_SHARE} * {records})", stage),
        _labels(stage, "ticket"),
        {
            "summary": f"{stage.title}: {{n}} events refused in {LETTERS_WINDOW}, of {{read}} read.",
            "description": (
                f"Most frequent reason: {{reason}}. `touchpoint dead-letters list --stage {stage.name}` "
                "shows them; mended ones can be sent back, each once."
            ),
            "n": "{n}", "reason": "{reason}",
            **_links(journey, stage, "DeadLettersRising"),
        },
        {
            "n": Fact(_of_stage(letters, stage), "count"),
            "read": Fact(_of_stage(records, stage), "count"),
            "reason": Fact(_of_stage(f"topk(1, {reasons} > 0)", stage), "label", "reason"),
        },
    )  # fmt: skip


READ = ("counted", "duplicate", "refused")
"""Results of records that add up to all that were read; `late` ones are counted too."""

CAUSES = {
    "no_worker": "no worker answers",
    "scrape_failed": "a worker cannot be scraped",
    "not_ready": "a worker is not ready: not assigned, not recovered, or not committing",
    "not_counted": "partitions that no worker counts",
    "lag": f"a worker is more than {LAG_S} s behind its events",
}


def _monitor_blind(journey: Journey) -> Alert:
    return Alert(
        "MonitorBlind",
        f"max by (cause, stage) ({metrics.BLIND})",
        {"severity": "page", "owner": "touchpoint-monitor"},
        {
            "summary": "The monitor cannot judge (stage {stage}): {cause}. Its other alerts are held back.",
            "description": "; ".join(f"{cause}: {text}" for cause, text in CAUSES.items()) + ".",
            "dashboard_url": f"{journey.links.grafana}/d/touchpoint-monitor",
            "runbook_url": _runbook(journey, "MonitorBlind"),
        },
        {"cause": Fact("", "own label", "cause"), "stage": Fact("", "own label", "stage")},
        BLIND_FOR_S,
    )


def _watchdog(journey: Journey) -> Alert:
    return Alert(
        "Watchdog",
        "vector(1)",
        {"severity": "heartbeat", "owner": "touchpoint-monitor"},
        {
            "summary": "Always firing: whoever stops hearing it knows that alerting itself is broken.",
            "runbook_url": _runbook(journey, "Watchdog"),
        },
    )


def _labels(stage: Stage, severity: Severity) -> dict[str, str]:
    return {"severity": severity, "stage": stage.name, "owner": stage.owner, "kind": stage.kind}


def _links(journey: Journey, stage: Stage, name: Name) -> dict[str, str]:
    return {
        "dashboard_url": f"{journey.links.grafana}/d/touchpoint-stage?var-stage={stage.name}",
        "failures_url": f"{journey.links.monitor}/api/stages/{stage.name}/failures",
        "runbook_url": stage.runbook or _runbook(journey, name),
        "alert_runbook_url": _runbook(journey, name),
    }


def _runbook(journey: Journey, name: Name) -> str:
    return f"{journey.links.monitor}/runbooks/{name}"
