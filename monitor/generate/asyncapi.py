"""AsyncAPI 3 of every topic a service may write to or read: events, changes, findings, journeys, letters."""

from typing import Any

from monitor.generate.schemas import (
    TIME,
    TIME_TOLD,
    change_schema,
    closed_schemas,
    components,
    finding_schema,
)
from monitor.journey_file.model import Journey

CONTRACT = "1.2.0"
"""Of the messages, whatever the journey. A new field raises the second number; one that goes, or means
something else, the first."""

CHANGES, FINDINGS, CLOSED = "journey-changes", "journey-findings", "closed-journeys"
"""Channels of all stages: no stage's name has a hyphen."""

DEAD_LETTER_HEADERS = ("reason", "error", "topic", "partition", "offset", "timestamp", "attempt")

EVENT_FORMS = ("event", "cloudevent", "cloudevent_binary")
"""The three forms of an event, each of them on every stage's topic."""

SCHEMAS = "#/components/schemas/"


def asyncapi(journey: Journey) -> dict[str, Any]:
    """The document; a message's key is free, and told where it matters."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}

    def add(
        channel: str, topic: str, title: str, messages: tuple[str, ...], operation: tuple[str, str]
    ) -> None:
        known = {one: {"$ref": f"#/components/messages/{one}"} for one in messages}
        channels[channel] = {"address": topic, "title": title, "messages": known}
        name, action = operation
        operations[name] = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}

    for stage in journey.stages:
        name, title = stage.name, f"Dead letters: {stage.title}"
        add(name, stage.topic, stage.title, EVENT_FORMS, (f"count_{name}", "receive"))
        letters = f"{name}_dead_letters"
        add(letters, stage.dead_letter_topic, title, ("dead_letter",), (f"refuse_{name}", "send"))
    title = "Deploys, incidents and other changes"
    add(CHANGES, journey.changes_topic, title, ("change",), ("read_changes", "receive"))
    title = "Fired and resolved alerts"
    add(FINDINGS, journey.findings_topic, title, ("finding",), ("tell_findings", "send"))
    if journey.journeys is not None:
        title = "Journeys that are over, by id; after a crash one may come again, byte for byte"
        add(CLOSED, journey.journeys_topic, title, ("closed_journey",), ("publish_closed_journeys", "send"))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Touchpoint events: {journey.title}",
            "version": CONTRACT,
            "description": "What services publish, what the monitor tells them, and what it refuses.",
        },
        "servers": {
            "kafka": {
                "host": "localhost:9092",
                "protocol": "kafka",
                "description": "Your Kafka, as in the workers' TOUCHPOINT_KAFKA.",
            }
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": _events(journey) | _others(journey),
            "schemas": components(journey, SCHEMAS) | closed_schemas(SCHEMAS),
        },
    }


def _events(journey: Journey) -> dict[str, Any]:
    stage = journey.stages[0]
    context = {"id": "order-1001-paid", "time": "2026-11-21T21:00:00+02:00"}
    about = {"specversion": "1.0", "source": "/webshop", "type": "touchpoint"}
    data: dict[str, Any] = {"stage": stage.name, "outcome": stage.outcomes[0], "journey_id": "order-1001"}
    data["duration_s"] = 12.5
    event = {"$ref": f"{SCHEMAS}Event"}
    time = {"type": "string", "pattern": TIME, "description": TIME_TOLD}
    text = {"type": "string"}
    envelope = {"specversion": text, "id": text, "source": text, "type": text, "time": time}
    needed = ["specversion", "id", "source", "type"]
    return {
        "event": {
            "title": "Touchpoint event",
            "bindings": KEY,
            "payload": {"allOf": [event, {"required": ["id", "time"]}]},
            "examples": [{"payload": context | data}],
        },
        "cloudevent": {
            "title": "Touchpoint event as a structured CloudEvent; `id` and `time` are those around it",
            "contentType": "application/cloudevents+json",
            "bindings": KEY,
            "payload": {
                "type": "object",
                "required": [*needed, "data"],
                "properties": envelope | {"data": event},
            },
            "examples": [{"payload": about | context | {"data": data}}],
        },
        "cloudevent_binary": {
            "title": "Touchpoint event as a binary CloudEvent; `id` and `time` are those of the headers",
            "bindings": KEY,
            "headers": {
                "type": "object",
                "required": [f"ce_{name}" for name in needed],
                "properties": {f"ce_{name}": one for name, one in envelope.items()},
            },
            "payload": event,
            "examples": [
                {"headers": {f"ce_{key}": one for key, one in (about | context).items()}, "payload": data}
            ],
        },
    }


def _others(journey: Journey) -> dict[str, Any]:
    headers = {f"dlq.{name}": {"type": "string"} for name in DEAD_LETTER_HEADERS}
    return {
        "change": {"title": "Something changed", "payload": change_schema(journey)},
        "finding": {"title": "An alert fired or was resolved", "payload": finding_schema()},
        "closed_journey": {"title": "A journey is over", "payload": {"$ref": f"{SCHEMAS}ClosedJourney"}},
        "dead_letter": {
            "title": "Refused record, byte for byte",
            "contentType": "application/octet-stream",
            "headers": {"type": "object", "properties": headers},
            "payload": {"type": "string", "format": "binary"},
        },
    }


KEY = {
    "kafka": {
        "key": {
            "type": "string",
            "description": "Any, or none: counts do not depend on the order of events. A service that may "
            "publish an event twice gives both the same key, for instance the `id`: `dedupe_s` looks within "
            "a partition.",
        },
        "bindingVersion": "0.5.0",
    }
}
