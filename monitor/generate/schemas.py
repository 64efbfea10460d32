"""What services and Kafka's operators must know: JSON Schemas of what is published, and all topics."""

from typing import Any

import msgspec

from monitor.counting.event import Event
from monitor.counting.formats import PERSONAL
from monitor.journey_file.model import CLOSED_KEPT_MS, SCALES, STEPS_TOPIC, Journey, Stage
from monitor.live import change
from monitor.live.closed import ClosedJourney
from monitor.rules import finding

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
REQUIRED = ["id", "time", "stage", "outcome"]

TIME = (
    r"^(?:197[1-9]|19[89][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-"
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))"
    r"[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.][0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])$(?!\n)"
)
TIME_TOLD = "RFC 3339, with `Z` or an offset: 2026-11-21T21:00:00+02:00. The years 1971 to 9998."

GROUP = "touchpoint-monitor"
"""Prefix of changelogs: the group of workers unless their settings name another."""

DEAD_LETTER_BYTES = 16 * 1024 * 1024
"""A dead letter holds what its source topic took, and why it was refused; Kafka's own limit is 1 MiB."""


def event_schema(journey: Journey) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event of any stage, as plain JSON without CloudEvents around it.

    It takes what a worker takes, but for what only a clock or a calendar knows: an event's age, and a
    29 February that is none.
    """
    definitions = components(journey, "#/$defs/")
    event = definitions.pop("Event")
    return {
        "$schema": JSON_SCHEMA,
        "$id": f"urn:touchpoint:{journey.name}:event",
        "title": f"Touchpoint event: {journey.title}",
        **event,
        "required": REQUIRED,
        "$defs": definitions,
    }


def components(journey: Journey, at: str) -> dict[str, Any]:
    """Schemas of an event that may have `id` and `time` around it, and of its parts, which stand at `at`."""
    _, found = msgspec.json.schema_components([Event], ref_template=f"{at}{{name}}")
    for schema in found.values():
        for name, one in schema["properties"].items():
            if "anyOf" in one and name not in REQUIRED:
                one["anyOf"] = [_time(kind) for kind in one["anyOf"]]
    event, score = found["Event"], found["Score"]
    properties = event["properties"]
    for name in REQUIRED:
        properties[name].pop("default", None)
        properties[name] = _time(_without_null(properties[name]))
    properties["stage"] = {"enum": [stage.name for stage in journey.stages]}
    properties["segment"] |= {"examples": list(journey.segments)}
    looks_like = [{"pattern": pattern.pattern} for patterns in PERSONAL.values() for pattern in patterns]
    properties["customer_ref"] |= {
        "description": f"A pseudonym. Unless the workers' settings allow it, not {' or '.join(PERSONAL)}.",
        "not": {"type": "string", "anyOf": looks_like},
    }
    properties["attributes"] = {"description": "Free; not interpreted."}
    event["required"] = ["stage", "outcome"]
    event["allOf"] = [
        _if({"stage": stage.name}, {"outcome": {"enum": [*stage.outcomes, *stage.openings]}})
        for stage in journey.stages
    ]
    event["allOf"] += [
        _if({"stage": stage.name, "outcome": opening}, {"encounter_id": {"type": "string"}}, "encounter_id")
        for stage in journey.stages
        for opening in stage.openings
    ]
    score["allOf"] = [
        _if({"kind": kind}, {"value": {"minimum": least, "maximum": greatest}})
        for kind, (least, greatest) in SCALES.items()
    ]
    return dict(found)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return next(one for one in kinds if one.get("type") != "null")


def _if(given: dict[str, str], properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Where these properties have these values, the others look so, and some must be there."""
    constant = {name: {"const": value} for name, value in given.items()}
    then = {"properties": properties} | ({"required": list(required)} if required else {})
    return {"if": {"properties": constant}, "then": then}


def _time(schema: dict[str, Any]) -> dict[str, Any]:
    """A time as workers read it; `format` would refuse the blank and the `+0000` of many a library."""
    if schema.get("format") != "date-time":
        return schema
    return {"type": "string", "pattern": TIME, "description": TIME_TOLD}


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


def closed_schemas(at: str) -> dict[str, Any]:
    """JSON Schemas of a journey that is over and of its parts, which stand at `at`."""
    _, found = msgspec.json.schema_components([ClosedJourney], ref_template=f"{at}{{name}}")
    return dict(found)


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
