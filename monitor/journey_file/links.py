"""Where alerts and boards send people: boards by uid, runbooks, failing encounters; where alerts are sent."""

import re

from monitor.journey_file.model import Journey

CHARACTER = r"""(?:[^\s"'`{}<>%]|%[0-9A-Fa-f]{2})"""
"""What stands for something else in YAML, a template or a page is left out, and a lone %, which Alertmanager
refuses."""

ADDRESS = re.compile(
    rf"(?P<before>https?://(?:(?:(?![/?#@]){CHARACTER})+@)?(?:(?:(?![/?#@:\[\]]){CHARACTER})+|\[[0-9A-Fa-f:.]+\])"
    rf"(?::(?P<port>[0-9]{{1,5}}))?(?:/(?:(?![?#]){CHARACTER})*)?)(?P<query>[?#]{CHARACTER}*)?"
)


def is_address(text: str) -> bool:
    """Whether text is an http or https address that Prometheus, Alertmanager, Grafana and browsers take."""
    match = ADDRESS.fullmatch(text)
    return match is not None and 0 < int(match["port"] or 80) < 65536


JOURNEY_BOARD, STAGE_BOARD, MONITOR_BOARD = "touchpoint-journey", "touchpoint-stage", "touchpoint-monitor"
CUSTOMERS_BOARD, VOICE_BOARD = "touchpoint-customers", "touchpoint-voice"
"""Uids, which links are made of: never to be changed."""


def board(uid: str) -> str:
    """The path of a board within Grafana."""
    return f"/d/{uid}"


def stage_board(stage: str) -> str:
    """The path of the stage board with this stage chosen, within Grafana."""
    return f"{board(STAGE_BOARD)}?var-stage={stage}"


def failures(journey: Journey, stage: str) -> str:
    """Where the latest failing encounters of a stage are listed one by one."""
    return f"{journey.links.monitor}/api/stages/{stage}/failures"


def where(journey: Journey, stage: str) -> str:
    """Where the live page tells what the bad encounters of a stage have in common."""
    return f"{journey.links.monitor}/?where#{stage}"


def meant(journey: Journey, experience: str) -> str:
    """Where the latest journeys that an alert on whole journeys means are listed one by one."""
    return f"{journey.links.monitor}/api/journeys?experience={experience}"


def runbook(journey: Journey, alert: str) -> str:
    """Where people read what to do about an alert."""
    return f"{journey.links.monitor}/runbooks/{alert}"


def webhook(journey: Journey, severity: str) -> str:
    """Where alerts of a severity are posted: its name ends the path; a query stays behind it."""
    match = ADDRESS.fullmatch(journey.links.webhook)
    before, query = (match["before"], match["query"]) if match else (journey.links.webhook, None)
    return f"{before.rstrip('/')}/{severity}{query or ''}"


DATASOURCE_UID = "touchpoint-prometheus"


DATASOURCE = {"type": "prometheus", "uid": DATASOURCE_UID}
