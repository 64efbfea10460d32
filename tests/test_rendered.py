"""What is rendered is the same for the same journey, says where it comes from; a changed file is told."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from monitor.event import Codec, Refused
from monitor.journey_file import parse
from monitor.rendered import HEADER, rendered
from monitor.schemas import event_schema
from monitor.simulator import Simulator
from streams.settings import SHIPPED_JOURNEY
from tests.programs import touchpoint

JOURNEY = parse(SHIPPED_JOURNEY.read_text())


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


def events(count: int) -> list[dict[str, Any]]:
    """Simulated events, as services would send them."""
    stream = Simulator(JOURNEY, seed=1, start_ms=1_800_000_000_000, compress=5000).events()
    return [json.loads(next(stream).value) for _ in range(count)]


def test_the_schema_and_the_codec_agree() -> None:
    """What the codec takes fits the schema; what the schema refuses of it is refused by the codec too."""
    validator = jsonschema.Draft202012Validator(event_schema(JOURNEY))
    for event in events(200):
        assert not list(validator.iter_errors(event)), event
        for field in ("id", "time", "stage", "outcome"):
            lacking = {key: value for key, value in event.items() if key != field}
            assert list(validator.iter_errors(lacking))
        codec = Codec(JOURNEY, JOURNEY.stage(event["stage"]))
        for wrong in ({"outcome": "lost"}, {"duration_s": -1}, {"wait_s": "1"}, {"stage": "nowhere"}):
            spoilt = event | wrong
            assert list(validator.iter_errors(spoilt))
            assert isinstance(codec.decode(msgspec.json.encode(spoilt)), Refused)
