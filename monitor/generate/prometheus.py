"""The rules as a Prometheus rule file: one group, for only within one are rules evaluated in order."""

from typing import Any

from monitor.generate.templates import escaped_for_template, filled, template
from monitor.rules.alerts import INHIBITOR, NOBODY, Inhibitor, alerts, inhibitors
from monitor.rules.facts import Alert, Asked
from monitor.rules.plan import Plan
from monitor.rules.promql import recordings

SHOWN = {
    "count": '{{ . | first | value | printf "%.0f" }}',
    "share": "{{ . | first | value | humanizePercentage }}",
    "age": "{{ . | first | value | humanizeDuration }}",
}

OWN_STAGE = "%[1]s"
"""The first value that the template's `printf` is given: the stage of the alert whose text is filled."""


def rule_file(plan: Plan) -> dict[str, Any]:
    """The rule file as plain data; it is evaluated as often as Prometheus evaluates by default."""
    rules: list[dict[str, Any]] = []
    for recording in recordings(plan):
        labels = {"labels": recording.labels} if recording.labels else {}
        rules.append({"record": recording.record, "expr": recording.expr, **labels})
    rules.extend(_inhibitor(one) for one in inhibitors())
    rules.extend(_alert(alert) for alert in alerts(plan))
    return {"groups": [{"name": f"touchpoint-{plan.journey.name}", "rules": rules}]}


def _inhibitor(one: Inhibitor) -> dict[str, Any]:
    return {"alert": INHIBITOR, "expr": one.expr, "labels": {"severity": NOBODY, "because": one.because}}


def _alert(alert: Alert) -> dict[str, Any]:
    facts = {name: template(fact, _asked) for name, fact in alert.facts(OWN_STAGE).items()}
    wait = {"for": f"{alert.for_s}s"} if alert.for_s else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **wait,
        "labels": {label: escaped_for_template(value) for label, value in alert.labels.items()},
        "annotations": {name: filled(text, facts) for name, text in alert.annotations.items()},
    }


def _asked(fact: Asked) -> str:
    query = f"query `{fact.expr}`"
    if OWN_STAGE in fact.expr:
        query = f"printf `{fact.expr}` $labels.stage | query"
    told = fact.text.format(value=SHOWN[fact.value], label=f'{{{{ . | first | label "{fact.label}" }}}}')
    return f"{{{{ with {query} }}}}{told}"
