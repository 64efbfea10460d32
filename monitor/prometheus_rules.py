"""The rules as a Prometheus rule file: one group, for only within one are rules evaluated in order."""

from collections.abc import Mapping
from typing import Any

from monitor.alerts import EACH, Alert, Fact, alerts
from monitor.journey import Journey
from monitor.promql import recordings

SHOWN = {
    "count": '| first | value | printf "%.0f"',
    "share": "| first | value | humanizePercentage",
    "age": "| first | value | humanizeDuration",
}


def rule_file(journey: Journey) -> dict[str, Any]:
    """The rule file as plain data; it is evaluated as often as Prometheus evaluates by default."""
    rules: list[dict[str, Any]] = []
    for recording in recordings(journey):
        labels = {"labels": recording.labels} if recording.labels else {}
        rules.append({"record": recording.record, "expr": recording.expr, **labels})
    rules.extend(_alert(alert) for alert in alerts(journey))
    return {"groups": [{"name": f"touchpoint-{journey.name}", "rules": rules}]}


def _alert(alert: Alert) -> dict[str, Any]:
    facts = {name: _template(fact) for name, fact in alert.facts.items()}
    wait = {"for": f"{alert.for_s}s"} if alert.for_s else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **wait,
        "labels": {label: escaped(value) for label, value in alert.labels.items()},
        "annotations": {name: filled(text, facts) for name, text in alert.annotations.items()},
    }


def filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with its facts put in, and whatever else it holds left as it is."""
    text = escaped(text)
    for name, template in facts.items():
        text = text.replace(f"{{{name}}}", template)
    return text


def escaped(text: str) -> str:
    """Text of the journey file that a template must not take for its own."""
    return text.replace("{{", '{{ "{{" }}')


def _template(fact: Fact) -> str:
    if fact.shows == "own label":
        return f"{{{{ $labels.{fact.label} }}}}"
    shown = SHOWN.get(fact.shows, f'| first | label "{fact.label}"')
    asked = f"query `{fact.expr}`"
    if EACH in fact.expr:
        asked = f"printf `{fact.expr.replace(EACH, '%[1]s')}` $labels.segment | query"
    return f"{{{{ with {asked} }}}}{{{{ . {shown} }}}}{{{{ else }}}}unknown{{{{ end }}}}"
