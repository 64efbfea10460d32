"""The alerts as Grafana's provisioning files, for 9.4 to 13: rules, contact points, policy, mute times.

The rules ask the series that Prometheus records (`promql.recordings`). Each alert is a query, its last value,
and whether that is above 0; beside it stand the queries of its texts, found by their labels. Grafana takes a
rule of which any query is empty for one without data, whatever its condition says, so none of them may be.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from monitor.generate.alertmanager import (
    GROUP_BY,
    HEARTBEAT_EVERY,
    NIGHTS_AND_WEEKENDS,
    REPEAT,
    ROUTES,
    WAIT,
    nights_and_weekends,
    receiver,
)
from monitor.generate.templates import escaped_for_template, filled, template
from monitor.journey_file.links import DATASOURCE_UID, webhook
from monitor.journey_file.model import Journey
from monitor.rules.alerts import alerts
from monitor.rules.facts import Alert, Asked
from monitor.rules.plan import Plan
from monitor.rules.series import ANY

FOLDER = "Touchpoint"

PAGES_EVERY = "10s"
"""Grafana's shortest interval, and it exits on one that is no multiple of it."""

TICKETS_EVERY = "1m"

RANGE_S = 600


class OneLine(dict[str, Any]):
    """What is written on one line: a rule is read for what it asks, not for how it is put."""


def rule_groups(plan: Plan) -> dict[str, Any]:
    """`alerting/rules.yaml`: pages are evaluated more often than tickets."""
    found = list(alerts(plan))
    pages = [_rule(one) for one in found if one.labels["severity"] == "page"]
    others = [_rule(one) for one in found if one.labels["severity"] != "page"]
    groups = (("pages", PAGES_EVERY, pages), ("tickets", TICKETS_EVERY, others))
    return {
        "apiVersion": 1,
        "groups": [
            {"orgId": 1, "name": f"touchpoint {name}", "folder": FOLDER, "interval": every, "rules": rules}
            for name, every, rules in groups
        ],
    }


PAGES_USER = "touchpoint"
"""Whom Grafana names when it shows the token."""


def contact_points(journey: Journey) -> dict[str, Any]:
    """`alerting/contact-points.yaml`: one webhook for each severity."""
    return {
        "apiVersion": 1,
        "contactPoints": [
            {
                "orgId": 1,
                "name": receiver(severity),
                "receivers": [
                    {
                        "uid": receiver(severity),
                        "type": "webhook",
                        "settings": {
                            "url": webhook(journey, severity).replace("$", "$$"),  # or Grafana expands it
                            "httpMethod": "POST",
                            # As a password: seen in 9.4, Grafana loses `authorization_credentials`. Where
                            # the variable is not set, neither is sent.
                            "username": PAGES_USER,
                            "password": "${TOUCHPOINT_PAGES_TOKEN}",
                        },
                        "disableResolveMessage": False,
                    }
                ],
            }
            for severity in ROUTES
        ],
    }


def policies() -> dict[str, Any]:
    """`alerting/policies.yaml`: what goes where. It replaces the whole tree of the organisation."""
    routes = []
    for severity in ROUTES:
        route: dict[str, Any] = {
            "receiver": receiver(severity),
            "object_matchers": [["severity", "=", severity]],
        }
        if severity == "ticket":
            route["mute_time_intervals"] = [NIGHTS_AND_WEEKENDS]
        if severity == "heartbeat":
            route["repeat_interval"] = HEARTBEAT_EVERY
        routes.append(route)
    return {
        "apiVersion": 1,
        "policies": [
            {
                "orgId": 1,
                "receiver": receiver("ticket"),
                "group_by": GROUP_BY,
                **WAIT,
                **REPEAT,
                "routes": routes,
            }
        ],
    }


def mute_times(journey: Journey) -> dict[str, Any]:
    """`alerting/mute-times.yaml`: when tickets wait, in the journey's zone, which Grafana takes since 9.3.9
    (https://github.com/grafana/terraform-provider-grafana/pull/1217)."""
    intervals = nights_and_weekends(journey)
    return {
        "apiVersion": 1,
        "muteTimes": [{"orgId": 1, "name": NIGHTS_AND_WEEKENDS, "time_intervals": intervals}],
    }


def data_sources() -> dict[str, Any]:
    """`datasources/touchpoint.yaml`: where Prometheus is, for a Grafana beside it."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Touchpoint Prometheus",
                "uid": DATASOURCE_UID,
                "type": "prometheus",
                "access": "proxy",
                "url": "${TOUCHPOINT_PROMETHEUS}",
                "isDefault": True,
                "editable": False,
                "jsonData": {"timeInterval": "5s", "httpMethod": "POST"},
            }
        ],
    }


def folders() -> dict[str, Any]:
    """`dashboards/touchpoint.yaml`: the folder of the boards, and where their files lie."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "touchpoint",
                "orgId": 1,
                "folder": FOLDER,
                "folderUid": "touchpoint",
                "type": "file",
                "disableDeletion": True,
                "allowUiUpdates": False,
                "options": {"path": "/var/lib/grafana/touchpoint"},
            }
        ],
    }


def _rule(alert: Alert) -> dict[str, Any]:
    facts = alert.facts(ANY)  # one query for all alerts of the rule: Grafana finds each one's by its labels
    data = [_query("A", alert.expr), _last("B", "A"), _above_zero("C", "B")]
    asked: dict[str, str] = {}  # what several facts are read from is asked once
    for name, fact in facts.items():
        if isinstance(fact, Asked) and fact.expr not in asked:
            asked[fact.expr] = name
            data += [_query(f"ask_{name}", never_empty(fact.expr)), _last(name, f"ask_{name}")]
    templates = {name: template(fact, partial(_asked, asked)) for name, fact in facts.items()}
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "C",
        "data": data,
        "dashboardUid": alert.board,
        "panelId": 1,
        "noDataState": "OK",
        "execErrState": "Error",
        "for": f"{alert.for_s}s",
        "labels": {
            name: escaped_for_template(value).replace("$", "$$") for name, value in _labels(alert).items()
        },
        "annotations": {name: filled(text, templates) for name, text in alert.annotations.items()},
        "isPaused": False,
    }


def never_empty(expr: str) -> str:
    """The query, or one value without labels: that is what a text takes for nothing known."""
    return f"({expr}) or on () vector(0)"


def _labels(alert: Alert) -> dict[str, str]:
    """Grafana names an alert by its rule's title, so the name that routes go by is given."""
    return {"touchpoint": alert.name, **alert.labels}


def _asked(names: Mapping[str, str], fact: Asked) -> str:
    """By the name of its query. Nothing known is a value without labels here; of one that is absent a plain
    `$values.name` would be an error."""
    found = f'(index $values "{names[fact.expr]}")'
    value = {
        "count": f'{{{{ printf "%.0f" {found}.Value }}}}',
        "share": f"{{{{ humanizePercentage {found}.Value }}}}",
        "age": f"{{{{ humanizeDuration {found}.Value }}}}",
    }[fact.value]
    told = fact.text.format(value=value, label=f'{{{{ index {found}.Labels "{fact.label}" }}}}')
    return f"{{{{ if {found}.Labels }}}}{told}"


def _query(ref: str, expr: str) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasourceUid": DATASOURCE_UID,
        "relativeTimeRange": OneLine({"from": RANGE_S, "to": 0}),
        "model": OneLine({"refId": ref, "instant": True, "expr": expr}),
    }


def _last(ref: str, of: str) -> dict[str, Any]:
    return _expression(ref, {"type": "reduce", "expression": of, "reducer": "last"})


def _above_zero(ref: str, of: str) -> dict[str, Any]:
    above = {"evaluator": {"type": "gt", "params": [0]}}
    return _expression(ref, {"type": "threshold", "expression": of, "conditions": [above]})


def _expression(ref: str, model: dict[str, Any]) -> dict[str, Any]:
    return OneLine({"refId": ref, "datasourceUid": "__expr__", "model": {"refId": ref, **model}})
