"""The Grafana boards of a journey: journey, stage, customers, voice of the customer, monitor.

`boards` is a pure function: the same plan gives the same boards. Each board's panels stand in a file of its
own, in PromQL on the recorded series of `promql`; how Grafana draws them is the business of `panels`.
"""

from collections.abc import Iterator

from monitor.boards import customers as board_customers
from monitor.boards import journey as board_journey
from monitor.boards import monitor as board_monitor
from monitor.boards import stage as board_stage
from monitor.boards import voice as board_voice
from monitor.boards.panels import Json, arranged, plain
from monitor.boards.parts import CHOSEN
from monitor.counting import metrics
from monitor.counting.display import BLUE, VERMILLION
from monitor.journey_file.links import (
    CUSTOMERS_BOARD,
    DATASOURCE,
    JOURNEY_BOARD,
    MONITOR_BOARD,
    STAGE_BOARD,
    VOICE_BOARD,
    runbook,
)
from monitor.journey_file.model import ALL, Journey
from monitor.rules.plan import Plan

SCHEMA_VERSION = 39
"""Provisioned from a file by Grafana 9.4 (which knows 37) to 13; later versions mean another format."""


def boards(plan: Plan) -> dict[str, Json]:
    """The boards by file name."""
    return {
        "journey.json": _board(
            plan.journey,
            JOURNEY_BOARD,
            "Journey",
            "Every stage against its targets, right now: which is weakest, who is hit, what is being done.",
            board_journey.panels(plan),
        ),
        "stage.json": _board(
            plan.journey,
            STAGE_BOARD,
            "Stage",
            "One stage: how good, for whom, since when, and why.",
            board_stage.panels(plan),
            _chooser(plan.journey),
        ),
        **_customers(plan),
        "voice.json": _board(
            plan.journey,
            VOICE_BOARD,
            "Voice of the customer",
            "What customers and staff say when asked, with how sure the numbers are.",
            board_voice.panels(plan),
        ),
        "monitor.json": _board(
            plan.journey,
            MONITOR_BOARD,
            "Monitor",
            "Whether the other boards can be trusted.",
            board_monitor.panels(plan),
        ),
    }


def _customers(plan: Plan) -> dict[str, Json]:
    """The board of whole journeys, of a file that says what one is."""
    if plan.journey.journeys is None:
        return {}
    return {
        "customers.json": _board(
            plan.journey,
            CUSTOMERS_BOARD,
            "Customers' journeys",
            "What customers live through from end to end: goals, weakest encounters, promises.",
            board_customers.panels(plan),
        )
    }


def _board(
    journey: Journey, uid: str, title: str, about: str, panels: Iterator[Json], *variables: Json
) -> Json:
    return {
        "id": None,
        "uid": uid,
        "title": f"Touchpoint: {title}",
        "description": plain(f"{journey.title}. {about}"),
        "tags": ["touchpoint"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "timezone": journey.timezone,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "10s",
        "graphTooltip": 1,
        "links": [
            {
                "type": "dashboards",
                "title": "Boards",
                "tags": ["touchpoint"],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            },
            _link("Live page", journey.links.monitor, "The journey as the worker draws it, second by second"),
            _link("Runbook", runbook(journey, "StageDegraded"), "What to do when a stage is degraded"),
        ],
        "annotations": {"list": list(_annotations(uid))},
        "templating": {"list": list(variables)},
        "panels": arranged(panels),
    }


def _link(title: str, url: str, tooltip: str) -> Json:
    return {
        "type": "link",
        "title": title,
        "url": url,
        "tooltip": tooltip,
        "targetBlank": True,
        "icon": "doc",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
    }


def _annotations(uid: str) -> Iterator[Json]:
    """Deploys and incidents where they happened: the value of the series is the time of the mark."""
    about = f'stage=~"{CHOSEN}|{ALL}", ' if uid == STAGE_BOARD else ""
    for name, matcher, color in (
        ("Deploys and other changes", f'{about}kind!="incident"', BLUE),
        ("Incidents", f'{about}kind="incident"', VERMILLION),
    ):
        changes = f"max by (stage, kind, title) ({metrics.LAST_CHANGE.name}{{{matcher}}})"
        yield {
            "name": name,
            "datasource": DATASOURCE,
            "enable": True,
            "hide": False,
            "iconColor": color,
            "expr": f"{changes} * 1000",
            "step": "60s",
            "useValueForTime": True,
            "titleFormat": "{{title}}",
            "textFormat": "{{kind}}, stage {{stage}}",
            "tagKeys": "kind,stage",
        }


def _chooser(journey: Journey) -> Json:
    """The stages by title, in the order of the journey."""
    options = [
        {"text": plain(stage.title), "value": stage.name, "selected": not index}
        for index, stage in enumerate(journey.stages)
    ]
    listed = ", ".join(f"{one['text']} : {one['value']}".replace(",", "\\,") for one in options)
    return {
        "name": "stage",
        "label": "Stage",
        "type": "custom",
        "query": listed,
        "options": options,
        "current": options[0],
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }
