"""What services need to know: JSON Schema of events, AsyncAPI of the topics, list of the topics."""

from typing import Any

import msgspec

from monitor.event import Event
from monitor.journey import Journey, Stage

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
REQUIRED = ["id", "time", "stage", "outcome"]


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


def asyncapi(journey: Journey) -> dict[str, Any]:
    """AsyncAPI 3 of every topic a service may write to, and of the dead letters it may read."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for stage in journey.stages:
        name = stage.name
        channels[name] = {
            "address": stage.topic,
            "title": stage.title,
            "messages": {"event": {"$ref": "#/components/messages/event"}},
        }
        channels[f"{name}_dead_letters"] = {
            "address": stage.dead_letter_topic,
            "title": f"Dead letters: {stage.title}",
            "messages": {"dead_letter": {"$ref": "#/components/messages/dead_letter"}},
        }
        operations[f"count_{name}"] = {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}}
        operations[f"refuse_{name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}_dead_letters"},
        }
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
                "dead_letter": {
                    "title": "Refused record, byte for byte",
                    "headers": {"type": "object", "properties": headers},
                    "payload": {"type": "string", "format": "binary"},
                },
            }
        },
    }


SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"

DEAD_LETTER_HEADERS = ("reason", "error", "topic", "partition", "offset", "timestamp", "attempt")


def topic_list(journey: Journey) -> dict[str, Any]:
    """The topics of services: events in, dead letters out. `touchpoint topics` creates them and our own."""
    return {"topics": [one for stage in journey.stages for one in _topics(stage)]}


def _topics(stage: Stage) -> list[dict[str, Any]]:
    partitions = {} if stage.partitions is None else {"partitions": stage.partitions}
    return [
        {"name": stage.topic, "stage": stage.name, "holds": "events", **partitions},
        {"name": stage.dead_letter_topic, "stage": stage.name, "holds": "dead letters"},
    ]
