"""The page for services: its tables are the code's, and each of its examples publishes what workers count."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import Codec, Event, Reason
from tests.kit.brokers import running
from tests.kit.polling import until
from tests.kit.programs import ROOT, WorkerProcess, counted, touchpoint
from tests.kit.shipped import SHIPPED
from tests.system.test_worker import TOPIC, read_topic
from tests.test_readmes import table

SERVICES = ROOT / "deploy/services"
PAGE = SERVICES / "README.md"
REQUIRED = ["id", "time", "stage", "outcome"]

COMMANDS = dict(
    re.findall(r"^\| \[\w+\]\((\w+)/.*\| `([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
)
"""The folder of each language, with the command that the page gives."""


def test_every_field_is_told() -> None:
    """Those that an event may have; which of them are required."""
    rows = [re.findall(r"^\| `(\w+)` \| (required)?", row)[0] for row in table(PAGE, "Fields")]
    fields = {one.encode_name for one in msgspec.structs.fields(Event)} | {"attributes"}
    assert {name for name, _ in rows} == fields
    assert [name for name, is_required in rows if is_required] == REQUIRED


def test_every_reason_is_told() -> None:
    """Why an event may be refused, and nothing else."""
    told = [row.split("`")[1] for row in table(PAGE, "What is refused")]
    assert sorted(told) == sorted(Reason)


def test_every_language_has_its_command() -> None:
    """No folder without a line on the page."""
    assert set(COMMANDS) == {path.name for path in SERVICES.iterdir() if path.is_dir()}
    assert len(COMMANDS) == 5


def published(folder: Path, kafka: str, directory: Path) -> str:
    """What a newcomer reads who copies an example and types what the page says."""
    shutil.copytree(folder, directory)
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    done = subprocess.run(
        ["sh", "-c", COMMANDS[folder.name]],
        cwd=directory,
        env=os.environ
        | {"PATH": f"{directory}/venv/bin:{os.environ['PATH']}", "KAFKA_BOOTSTRAP_SERVERS": kafka},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{folder.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.full
@pytest.mark.timeout(600)
def test_each_language_publishes_what_a_worker_counts(tmp_path: Path) -> None:
    """One good event each: acknowledged, read from its topic as such, counted; its id is its key."""
    codec = Codec(SHIPPED, SHIPPED.stages[0])
    with running(KafkaNode(tmp_path / "kafka")) as node:
        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        said = [published(SERVICES / name, node.bootstrap, tmp_path / name) for name in COMMANDS]
        events: dict[str, Event] = {}
        for record in read_topic(node.bootstrap, TOPIC):
            event = codec.decode(record.value, record.headers)
            assert isinstance(event, Event), (record, event)
            assert record.key.decode() == event.id
            events[record.key.decode()] = event
        assert len(events) == len(COMMANDS)
        for text in said:
            (id_,) = re.findall(r"published ([0-9a-f-]{36}) to touchpoint\.web-checkout\.v1", text)
            event = events[id_]
            assert (event.outcome, event.journey_id, event.segment) == ("ok", "order-1001", "new")
            assert event.duration_s == 34.2
        with WorkerProcess(KAFKA=node.bootstrap, STATE_DIR=str(tmp_path / "state")) as worker:
            worker.ready()
            until(lambda: counted(worker) >= len(COMMANDS), "all are counted")
            assert worker.scrape().sum("touchpoint_records_total", topic=TOPIC, result="counted") == 5
            assert worker.scrape().sum("touchpoint_records_total", topic=TOPIC, result="refused") == 0
