"""The rules as a Prometheus rule file: one group, for only within one are rules evaluated in order."""

from collections.abc import Mapping
from string import Formatter
from typing import Any

from monitor.rules.alerts import INHIBITOR, NOBODY, Inhibitor, alerts, inhibitors
from monitor.rules.facts import Alert, Asked, Chosen, Fact, Own
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
    facts = {name: _template(fact) for name, fact in alert.facts(OWN_STAGE).items()}
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
    done, plain = "", ""
    for part, name, _, _ in Formatter().parse(text):
        plain += part  # a doubled brace ends a part, and what must be escaped may lie on both sides of it
        if name is not None:
            done += escaped(plain) + facts[name]
            plain = ""
    return done + escaped(plain)


def escaped(text: str) -> str:
    """Text of the journey file that a template must not take for its own."""
    return text.replace("{{", '{{ "{{" }}')


def _template(fact: Fact) -> str:
    if isinstance(fact, Own):
        return own(fact)
    if isinstance(fact, Chosen):
        return chosen(fact)
    asked = f"query `{fact.expr}`"
    if OWN_STAGE in fact.expr:
        asked = f"printf `{fact.expr}` $labels.stage | query"
    told = fact.text.format(value=SHOWN[fact.value], label=f'{{{{ . | first | label "{fact.label}" }}}}')
    return f"{{{{ with {asked} }}}}{told}{otherwise(fact)}"


def otherwise(fact: Asked) -> str:
    """How a template ends that may find nothing."""
    return f"{{{{ else }}}}{fact.otherwise}{{{{ end }}}}" if fact.otherwise else "{{ end }}"


def own(fact: Own) -> str:
    """One of the alert's labels."""
    return f"{{{{ $labels.{fact.label} }}}}"


def chosen(fact: Chosen) -> str:
    """The first text whose labels the alert has; the last, if it has none of them."""
    *some, (_, last) = fact.texts
    found = ""
    for pairs, text in some:
        tests = [f'eq $labels.{label} "{value}"' for label, value in pairs.items()]
        test = tests[0] if len(tests) == 1 else "and " + " ".join(f"({one})" for one in tests)
        found += f"{{{{ {'else if' if found else 'if'} {test} }}}}{escaped(text)}"
    return f"{found}{{{{ else }}}}{escaped(last)}{{{{ end }}}}" if found else escaped(last)
