"""What is rendered is the same for the same journey, says where it comes from; a changed file is told."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from monitor.generate.asyncapi import asyncapi
from monitor.generate.files import HEADER, rendered
from monitor.generate.schemas import change_schema, topic_list
from monitor.journey_file.grammar import parse
from monitor.live.change import Change, read
from streams.kafka.topics import own_topics, read_topics
from streams.settings import SHIPPED_JOURNEY, Settings
from tests.kit.programs import touchpoint
from tests.kit.shipped import SHIPPED as JOURNEY


def test_same_journey_same_bytes() -> None:
    """Nothing of the machine, the time or the run gets in."""
    assert rendered(JOURNEY) == rendered(parse(SHIPPED_JOURNEY.read_text()))


def test_every_file_can_be_read_back() -> None:
    """YAML says that it is generated; JSON is what Grafana and schema tools read."""
    for path, text in rendered(JOURNEY).items():
        assert text.endswith("\n")
        if path.endswith(".yaml"):
            assert text.startswith(HEADER)
            assert yaml.safe_load(text)
        else:
            assert json.loads(text)


def test_no_float_noise() -> None:
    """Numbers that people read in rules are exact decimals."""
    assert "00000000" not in rendered(JOURNEY)["deploy/prometheus/touchpoint.rules.yaml"]


def test_render_and_check(tmp_path: Path) -> None:
    """Written files pass the check; a missing and a spoilt one are named, and nothing is written."""
    journey, out = str(SHIPPED_JOURNEY), str(tmp_path)
    assert touchpoint("render", journey, "--out", out).returncode == 0
    assert touchpoint("render", journey, "--out", out, "--check").returncode == 0
    board, rules = (
        tmp_path / "grafana/boards/stage.json",
        tmp_path / "deploy/prometheus/touchpoint.rules.yaml",
    )
    board.unlink()
    rules.write_bytes(b"\xff")
    done = touchpoint("render", journey, "--out", out, "--check")
    assert done.returncode == 1
    assert {line.split(":")[1].strip() for line in done.stderr.splitlines()} == {str(board), str(rules)}
    assert not board.exists()


@pytest.mark.parametrize(
    ("out", "said"), [("/dev/null/x", "Not a directory"), ("/proc/nothing", "No such file or directory")]
)
def test_where_nothing_can_be_written(out: str, said: str) -> None:
    """One line, no traceback."""
    done = touchpoint("render", str(SHIPPED_JOURNEY), "--out", out)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_the_schema_and_the_reader_of_changes_agree() -> None:
    """A change that is read fits the schema; what the schema refuses of it is refused by the reader too."""
    validator = jsonschema.Draft202012Validator(change_schema(JOURNEY))
    change = {"id": "d-17", "time": "2026-11-21T21:00:00+02:00", "kind": "deploy", "title": "checkout 4.2.0"}
    for good in (change, change | {"stage": "store"}, change | {"stage": None}):
        assert not list(validator.iter_errors(good)), good
        assert isinstance(read(msgspec.json.encode(good), JOURNEY, 1_800_000_000_000), Change)
    lacking = [{key: value for key, value in change.items() if key != field} for field in change]
    spoilt = ({"kind": "party"}, {"stage": "nowhere"}, {"title": ""}, {"title": "x" * 81}, {"id": 1})
    for wrong in (*lacking, *(change | one for one in spoilt)):
        assert list(validator.iter_errors(wrong)), wrong
        assert isinstance(read(msgspec.json.encode(wrong), JOURNEY, 1_800_000_000_000), str)


def test_the_topic_list_is_what_workers_create() -> None:
    """Every topic with its partitions and settings, so that it can be created by hand just as well."""
    stages = tuple(
        replace(JOURNEY.stages[0], partitions=7) if i == 0 else s for i, s in enumerate(JOURNEY.stages)
    )
    journey = replace(JOURNEY, stages=stages)
    group = Settings().group
    counts = {topic.name: 10 + i for i, topic in enumerate(read_topics(journey, group))}
    listed = [
        (
            one["name"],
            counts[one["partitions_as"]] if "partitions_as" in one else one.get("partitions"),
            one.get("config", {}),
            one.get("partitions_as"),
        )
        for one in topic_list(journey)["topics"]
    ]
    created = [
        (topic.name, topic.partitions, topic.config, topic.follows)
        for topic in (*read_topics(journey, group), *own_topics(journey, group, counts))
    ]
    assert sorted(listed, key=str) == sorted(created, key=str)


def test_asyncapi_names_every_topic_of_services() -> None:
    """All but the workers' own."""
    document = asyncapi(JOURNEY)
    topics = topic_list(JOURNEY)["topics"]
    listed = [one["name"] for one in topics if not one["holds"].endswith("written by workers only")]
    assert sorted(one["address"] for one in document["channels"].values()) == sorted(listed)
