"""Grafana's alert files keep to the format of 9.4 to 13, and ask what the Prometheus rules ask."""

import re
from typing import Any, get_args

import pytest

from monitor.boards.all import boards
from monitor.generate import grafana
from monitor.generate.alertmanager import ROUTES, alertmanager, receiver
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.rules.alerts import alerts
from monitor.rules.facts import Asked
from monitor.rules.journeys import WholeName
from monitor.rules.plan import plan
from streams.settings import SHIPPED_JOURNEY

SHIPPED = SHIPPED_JOURNEY.read_text()
JOURNEY = parse(SHIPPED)

UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
NAMED = re.compile(r'index \$values "(\w+)"')


def rules(journey: Journey = JOURNEY) -> list[dict[str, Any]]:
    """Every rule of every group."""
    return [rule for group in grafana.rule_groups(plan(journey))["groups"] for rule in group["rules"]]


def test_every_alert_is_a_rule() -> None:
    """One rule for each alert, of the same expression."""
    asked = {rule["uid"]: rule["data"][0]["model"]["expr"] for rule in rules()}
    assert asked == {alert.uid: alert.expr for alert in alerts(plan(JOURNEY))}


def test_groups() -> None:
    """Intervals are multiples of 10 s, or Grafana exits; names and folder are given."""
    for group in grafana.rule_groups(plan(JOURNEY))["groups"]:
        number, unit = int(group["interval"][:-1]), group["interval"][-1]
        assert number * {"s": 1, "m": 60}[unit] % 10 == 0
        assert group["name"]
        assert group["folder"]
        assert group["orgId"] == 1


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["title"].replace(" ", "-"))
def test_rule(rule: dict[str, Any]) -> None:
    """A query, its last value, whether that is above 0; facts beside it; every name a text uses exists."""
    assert UID.fullmatch(rule["uid"])
    assert re.fullmatch(r"\d+s", rule["for"])
    assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Error")
    refs = [one["refId"] for one in rule["data"]]
    assert refs[:3] == ["A", "B", "C"]
    assert rule["condition"] == "C"
    assert len(set(refs)) == len(refs)
    for one in rule["data"]:
        assert one["refId"] == one["model"]["refId"]
        if one["datasourceUid"] == "__expr__":
            assert one["model"]["type"] in ("reduce", "threshold")
            assert one["model"]["expression"] in refs
        else:
            assert one["model"]["instant"] is True
            assert one["relativeTimeRange"]["from"] > one["relativeTimeRange"]["to"] == 0
    for text in rule["annotations"].values():
        assert set(NAMED.findall(text)) <= set(refs)
        assert text.count("{{") == text.count("}}")
        assert not re.search(r"(?<!\{)\{\w+\}(?!\})", text), "a fact that was not put in"


def test_rules_lead_to_panels_that_exist() -> None:
    """A rule names a board and one of its panels, both or Grafana refuses it."""
    panels = {
        board["uid"]: {panel["id"] for panel in board["panels"]} for board in boards(plan(JOURNEY)).values()
    }
    for rule in rules():
        assert rule["panelId"] in panels[rule["dashboardUid"]], rule["title"]


def test_dollars_of_the_journey_file_are_not_taken_for_the_environment() -> None:
    """Grafana expands `$` in labels; a doubled one stays a dollar."""
    journey = parse(SHIPPED.replace("owner: web-team", "owner: $HOME {{ .x }}"))
    rule = next(one for one in rules(journey) if one["labels"].get("stage") == "web_checkout")
    assert rule["labels"]["owner"] == '$$HOME {{ "{{" }} .x }}'


def test_tickets_wait_in_the_zone_of_the_journey() -> None:
    """Summer and winter alike: the same hours as Alertmanager's, by the zone's name."""
    (mute,) = grafana.mute_times(JOURNEY)["muteTimes"]
    (there,) = alertmanager(plan(JOURNEY))["time_intervals"]
    assert mute["time_intervals"] == there["time_intervals"]
    assert {one["location"] for one in mute["time_intervals"]} == {"Europe/Helsinki"}


def test_texts_tell_of_when_it_was_bad() -> None:
    """No query of a text asks the present windows: they are full of good events while an alert is held. What
    is told of now is whom it hits, what the stage weighs, and what is overdue."""
    now = {"ask_journeys", "ask_critical", "ask_overdue"}
    for rule in rules():
        if rule["labels"]["touchpoint"] in ("StageDegraded", *get_args(WholeName)):
            asked = {one["refId"]: one["model"].get("expr", "") for one in rule["data"]}
            then = {ref: expr for ref, expr in asked.items() if expr and ref not in now}
            assert len(then) > 4
            assert all("touchpoint_degraded:" in expr for expr in then.values()), rule["title"]


def test_every_severity_has_a_route_and_a_contact_point() -> None:
    """What a policy names exists; every severity that a rule has goes somewhere."""
    points = {one["name"] for one in grafana.contact_points(JOURNEY)["contactPoints"]}
    mutes = {one["name"] for one in grafana.mute_times(JOURNEY)["muteTimes"]}
    (policy,) = grafana.policies()["policies"]
    assert {policy["receiver"], *(route["receiver"] for route in policy["routes"])} <= points
    assert {route["object_matchers"][0][2] for route in policy["routes"]} == set(ROUTES)
    assert {alert.labels["severity"] for alert in alerts(plan(JOURNEY))} <= set(ROUTES)
    assert {name for route in policy["routes"] for name in route.get("mute_time_intervals", ())} <= mutes
    assert points == {receiver(severity) for severity in ROUTES}


LOSES_LABELS = re.compile(r"^\(*(sum|max|min|avg|count)\b(?! by)")


def test_what_texts_ask_for_has_labels() -> None:
    """A value without one stands for nothing known: it was told as "unknown" (JourneysFull, StepsSkipped)."""
    asked = {
        fact.expr
        for alert in alerts(plan(JOURNEY))
        for fact in alert.facts("web_checkout").values()
        if isinstance(fact, Asked)
    }
    assert len(asked) > 100
    assert not [expr for expr in asked if LOSES_LABELS.match(expr)]
