"""Where alerts go, when, and which silence which: Alertmanager's configuration, and the names Grafana shares.

`depends_on` in the journey file becomes inhibition: who is paged for a stage is not paged for what it drags
along. The same suppression stands in the expressions (`promql`), because Grafana's alerts cannot inhibit;
there it keeps new alerts from beginning, here it also keeps quiet about those that are held.
"""

from typing import Any, get_args

from monitor.journey_file.links import webhook
from monitor.journey_file.model import ALL, Journey, Stage
from monitor.rules.alerts import INHIBITOR, NOBODY
from monitor.rules.journeys import WholeName
from monitor.rules.plan import Plan

ROUTES = ("page", "ticket", "finding", "heartbeat")
"""Severities, each with a route and a receiver of its own."""

GROUP_BY = ["alertname", "stage"]
WAIT = {"group_wait": "1s", "group_interval": "30s"}
"""A page may not wait for company; what joins its group later is told within half a minute."""

REPEAT = {"repeat_interval": "4h"}
HEARTBEAT_EVERY = "50s"
"""Alertmanager looks once in a group interval, a minute, and would skip one that is not quite due."""

NIGHTS_AND_WEEKENDS = "touchpoint-nights-and-weekends"


def receiver(severity: str) -> str:
    """The name of a severity's receiver or contact point."""
    return f"touchpoint-{severity}"


def alertmanager(plan: Plan) -> dict[str, Any]:
    """The configuration as plain data."""
    return {
        "route": {
            "receiver": receiver("ticket"),
            "group_by": GROUP_BY,
            **WAIT,
            **REPEAT,
            "routes": [
                {"matchers": [f'severity="{NOBODY}"'], "receiver": receiver(NOBODY)},
                *(_route(severity) for severity in ROUTES),
            ],
        },
        "time_intervals": [
            {"name": NIGHTS_AND_WEEKENDS, "time_intervals": nights_and_weekends(plan.journey)}
        ],
        "inhibit_rules": _inhibitions(plan),
        "receivers": [
            {"name": receiver(NOBODY)},
            *(
                {
                    "name": receiver(severity),
                    "webhook_configs": [_webhook(plan.journey, severity)],
                }
                for severity in ROUTES
            ),
        ],
    }


def _webhook(journey: Journey, severity: str) -> dict[str, Any]:
    config: dict[str, Any] = {"url": webhook(journey, severity), "send_resolved": True}
    if (file := journey.links.webhook_token_file) is not None:
        config["http_config"] = {"authorization": {"credentials_file": file}}
    return config


def _route(severity: str) -> dict[str, Any]:
    route: dict[str, Any] = {"matchers": [f'severity="{severity}"'], "receiver": receiver(severity)}
    if severity == "ticket":
        route["mute_time_intervals"] = [NIGHTS_AND_WEEKENDS]
    if severity == "heartbeat":
        route |= {"group_interval": "1m", "repeat_interval": HEARTBEAT_EVERY}
    return route


def nights_and_weekends(journey: Journey) -> list[dict[str, Any]]:
    """When tickets wait, as Alertmanager and Grafana read it."""
    place = {"location": journey.timezone}
    night = [{"start_time": "00:00", "end_time": "08:00"}, {"start_time": "20:00", "end_time": "24:00"}]
    return [{"times": night, **place}, {"weekdays": ["saturday", "sunday"], **place}]


def _inhibitions(plan: Plan) -> list[dict[str, Any]]:
    """From the widest to the narrowest: the monitor, the stage before, the stage itself, its page."""
    names = (
        "StageDegraded",
        "StageSilent",
        *(get_args(WholeName) if plan.journey.journeys is not None else ()),
    )
    stages = f'alertname=~"{"|".join(names)}"'

    def inhibitor(because: str, stage: str) -> str:
        return f'alertname="{INHIBITOR}", because="{because}", {stage}'

    def explained(stage: Stage) -> str:
        loud = "" if plan.explaining(stage, "ticket") else 'severity="page", '
        return f'{loud}stage="{stage.name}"'

    before = [
        _inhibit(inhibitor("trouble", f'stage=~"{"|".join(earlier)}"'), f"{stages}, {explained(stage)}")
        for stage in plan.stages
        if (earlier := plan.upstream[stage.name])
    ]
    return [
        _inhibit(inhibitor("blind", f'stage="{ALL}"'), stages),
        _inhibit(inhibitor("blind", f'stage!="{ALL}"'), stages, "stage"),
        *before,
        _inhibit(inhibitor("silent", 'stage!=""'), 'alertname="StageDegraded"', "stage"),
        _inhibit('severity="page"', 'severity="ticket"', "alertname", "stage"),
    ]


def _inhibit(source: str, target: str, *equal: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "source_matchers": source.split(", "),
        "target_matchers": target.split(", "),
    }
    return rule | {"equal": list(equal)} if equal else rule
