"""What an alert is, in no product's format: name, expression, labels, texts with named facts.

A text names its facts in braces: `{bad} of {n}`. What a fact is stands beside it as PromQL; each format fills
it in its own way, and `backtest` fills it from history.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from monitor.journey_file import links
from monitor.journey_file.model import Journey, Stage
from monitor.rules.journeys import WholeName
from monitor.rules.plan import Severity
from monitor.rules.series import Values

Name = (
    WholeName
    | Literal[
        "StageDegraded",
        "StageSilent",
        "PartnerSilent",
        "MonitorBlind",
        "DeadLettersRising",
        "JourneysFull",
        "StepsSkipped",
        "Watchdog",
        "CriticalTouchpoint",
    ]
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query of one series for each alert gives: `text`, in which `{value}` is its value, shown as a
    count, share or age, and `{label}` its label of that name. Without a series it is `otherwise`; so it is
    for Grafana with a series that has no label (`generate.grafana.never_empty`)."""

    expr: str
    value: Literal["count", "share", "age"] = "count"
    label: str = ""
    text: str = "{value}"
    otherwise: str = "unknown"


@dataclass(frozen=True, slots=True)
class Own:
    """One of the alert's labels."""

    label: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """A text by the alert's labels: the first of `texts` all of whose pairs of label and value are so."""

    texts: tuple[tuple[Mapping[str, str], str], ...]

    def of(self, labels: Mapping[str, str]) -> str:
        """The text for an alert with these labels."""
        return next(text for pairs, text in self.texts if pairs.items() <= labels.items())


Fact = Asked | Own | Chosen

Facts = Callable[[Values], dict[str, Fact]]
"""What texts name, of these stages: a template that is filled for each alert asks for its stage alone, a
query made once for all alerts of a rule asks for any."""


def of_its_stage(facts: Mapping[str, Fact]) -> Facts:
    """Facts of an alert that has one stage, or none."""
    return lambda _stage: dict(facts)


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that alerts. `expr` has a series for each thing that is wrong, above 0, and else none."""

    name: Name
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    facts: Facts = field(default=of_its_stage({}))
    for_s: int = 0
    board: str = links.STAGE_BOARD

    @property
    def title(self) -> str:
        """A name of its own: name, severity and what it is about."""
        about = [self.labels[key] for key in ("stage", "experience", "partner") if key in self.labels]
        return " ".join([self.name, self.labels["severity"], *about])

    @property
    def uid(self) -> str:
        """At most 40 characters, the same as long as the title is."""
        return f"touchpoint-{hashlib.sha256(self.title.encode()).hexdigest()[:24]}"


def literal(text: str) -> str:
    """Text of the journey file within a text that names facts."""
    return text.replace("{", "{{").replace("}", "}}")


def named(*facts: str) -> dict[str, str]:
    """Annotations that say one fact each, and are named after it."""
    return {fact: f"{{{fact}}}" for fact in facts}


def fill(text: str, **words: str) -> str:
    """Put in what is known now, leave the facts."""
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", literal(word))
    return text


def stage_labels(stage: Stage, severity: Severity) -> dict[str, str]:
    """What routes and people know an alert on a stage by."""
    return {"severity": severity, "stage": stage.name, "owner": stage.owner, "kind": stage.kind}


def stage_links(journey: Journey, stage: Stage, name: Name) -> dict[str, str]:
    """Where an alert on a stage leads to."""
    found = {
        "dashboard_url": f"{journey.links.grafana}{links.stage_board(stage.name)}",
        "failures_url": links.failures(journey, stage.name),
        "runbook_url": stage.runbook or links.runbook(journey, name),
        "alert_runbook_url": links.runbook(journey, name),
    }
    return {name: literal(url) for name, url in found.items()}
