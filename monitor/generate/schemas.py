"""What services and Kafka's operators must know: JSON Schema of events, AsyncAPI and list of the topics."""

from typing import Any

import msgspec

from monitor.counting.event import Event
from monitor.journey_file.model import STEPS_TOPIC, Journey, Stage
from monitor.live import change
from monitor.live.closed import CLOSED_KEPT_MS, ClosedJourney
from monitor.rules import finding

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
REQUIRED = ["id", "time", "stage", "outcome"]

GROUP = "touchpoint-monitor"
"""Prefix of changelogs: the group of workers unless their settings name another."""

DEAD_LETTER_BYTES = 16 * 1024 * 1024
"""A dead letter holds what its source topic took, and why it was refused; Kafka's own limit is 1 MiB."""


def event_schema(journey: Journey) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event of any stage, as plain JSON without CloudEvents around it."""
    _, components = msgspec.json.schema_components([Event], ref_template="#/$defs/{name}")
    definitions = dict(components)
    event = definitions.pop("Event")
    properties = event["properties"]
    for name in REQUIRED:
        properties[name].pop("default", None)
        properties[name] = _without_null(properties[name])
    properties["stage"] = {"enum": [stage.name for stage in journey.stages]}
    properties["segment"] |= {"examples": list(journey.segments)}
    properties["attributes"] = {"type": "object", "description": "Free; not interpreted."}
    outcomes = [
        {
            "if": {"properties": {"stage": {"const": stage.name}}},
            "then": {"properties": {"outcome": {"enum": list(stage.outcomes)}}},
        }
        for stage in journey.stages
    ]
    return {
        "$schema": JSON_SCHEMA,
        "$id": f"urn:touchpoint:{journey.name}:event",
        "title": f"Touchpoint event: {journey.title}",
        "type": "object",
        "required": REQUIRED,
        "properties": properties,
        "allOf": outcomes,
        "$defs": definitions,
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return next(one for one in kinds if one.get("type") != "null")


def change_schema(journey: Journey) -> dict[str, Any]:
    """JSON Schema of a change; without a stage it is about all of them."""
    schema = msgspec.json.schema_components([change.Record])[1]["Record"]
    schema["properties"]["stage"] = {"enum": [*(stage.name for stage in journey.stages), None]}
    return {"title": f"Touchpoint change: {journey.title}"} | {
        key: schema[key] for key in ("type", "required", "properties")
    }


def finding_schema() -> dict[str, Any]:
    """JSON Schema of a finding."""
    schema = msgspec.json.schema_components([finding.Finding])[1]["Finding"]
    return {"title": "Touchpoint finding"} | {key: schema[key] for key in ("type", "required", "properties")}


def closed_schema() -> dict[str, Any]:
    """JSON Schema of a journey that is over."""
    _, components = msgspec.json.schema_components([ClosedJourney], ref_template="#/$defs/{name}")
    schema = components.pop("ClosedJourney")
    shown = {key: schema[key] for key in ("description", "type", "required", "properties")}
    return {"title": "Touchpoint closed journey", **shown, "$defs": components}


def asyncapi(journey: Journey) -> dict[str, Any]:
    """AsyncAPI 3 of every topic a service may write to, and of the dead letters it may read."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}

    def add(channel: str, topic: str, title: str, message: str, operation: tuple[str, str]) -> None:
        messages = {message: {"$ref": f"#/components/messages/{message}"}}
        channels[channel] = {"address": topic, "title": title, "messages": messages}
        name, action = operation
        operations[name] = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}

    for stage in journey.stages:
        name, title = stage.name, f"Dead letters: {stage.title}"
        add(name, stage.topic, stage.title, "event", (f"count_{name}", "receive"))
        letters = f"{name}_dead_letters"
        add(letters, stage.dead_letter_topic, title, "dead_letter", (f"refuse_{name}", "send"))
    title = "Deploys, incidents and other changes"
    add(CHANGES, journey.changes_topic, title, "change", ("read_changes", "receive"))
    title = "Fired and resolved alerts"
    add(FINDINGS, journey.findings_topic, title, "finding", ("tell_findings", "send"))
    if journey.journeys is not None:
        title = "Journeys that are over, by id; after a crash one may come again, byte for byte"
        add(CLOSED, journey.journeys_topic, title, "closed_journey", ("publish_closed_journeys", "send"))
    event = {key: value for key, value in event_schema(journey).items() if key not in ("$schema", "$id")}
    headers = {f"dlq.{name}": {"type": "string"} for name in DEAD_LETTER_HEADERS}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"Touchpoint events: {journey.title}", "version": "1.0.0"},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                "event": {
                    "title": "Touchpoint event",
                    "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": event},
                },
                "change": {
                    "title": "Something changed",
                    "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": change_schema(journey)},
                },
                "finding": {
                    "title": "An alert fired or was resolved",
                    "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": finding_schema()},
                },
                "closed_journey": {
                    "title": "A journey is over",
                    "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": closed_schema()},
                },
                "dead_letter": {
                    "title": "Refused record, byte for byte",
                    "headers": {"type": "object", "properties": headers},
                    "payload": {"type": "string", "format": "binary"},
                },
            }
        },
    }


CHANGES, FINDINGS, CLOSED = "journey-changes", "journey-findings", "closed-journeys"
"""Channels of all stages: no stage's name has a hyphen."""

SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"

DEAD_LETTER_HEADERS = ("reason", "error", "topic", "partition", "offset", "timestamp", "attempt")


def topic_list(journey: Journey) -> dict[str, Any]:
    """Every topic, for who creates them by hand; `touchpoint topics` and workers create the same.

    Where no number of partitions is given, any will do; `partitions_as` names the topic that has the same.
    """
    found = [one for stage in journey.stages for one in _topics(stage)]
    if journey.journeys is not None:
        found += _topics_of_journeys(journey)
    found.append({"name": journey.changes_topic, "holds": "changes", "partitions": 1})
    found.append({"name": journey.findings_topic, "holds": "fired and resolved alerts", "partitions": 1})
    return {"topics": found}


def _topics_of_journeys(journey: Journey) -> list[dict[str, Any]]:
    steps = f"{GROUP}-{STEPS_TOPIC}"
    limit = {"max.message.bytes": str(DEAD_LETTER_BYTES)}
    return [
        {"name": steps, "holds": "steps of journeys, written by workers only", "config": limit},
        {
            "name": f"{GROUP}-journeys-kept-changelog",
            "holds": "journeys, written by workers only",
            "partitions_as": steps,
            "config": {"cleanup.policy": "compact", **limit},
        },
        {
            "name": journey.journeys_topic,
            "holds": "journeys that are over, for whoever asks for them",
            "partitions_as": steps,
            "config": {"retention.ms": str(CLOSED_KEPT_MS), **limit},
        },
    ]


def _topics(stage: Stage) -> list[dict[str, Any]]:
    partitions = {} if stage.partitions is None else {"partitions": stage.partitions}
    limit = {"max.message.bytes": str(DEAD_LETTER_BYTES)}
    return [
        {"name": stage.topic, "stage": stage.name, "holds": "events", **partitions},
        {"name": stage.dead_letter_topic, "stage": stage.name, "holds": "dead letters", "config": limit},
        {
            "name": f"{GROUP}-{stage.name}-changelog",
            "stage": stage.name,
            "holds": "counts, written by workers only",
            "partitions_as": stage.topic,
            "config": {"cleanup.policy": "compact"},
        },
    ]
