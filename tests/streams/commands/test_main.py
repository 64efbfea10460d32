"""The other commands as a user runs them."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from streams.commands.main import app
from streams.demo.broker import EmbeddedBroker
from streams.settings import SHIPPED_JOURNEY
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, counted, environment, touchpoint, touchpoint_reading

SHIPPED = SHIPPED_JOURNEY


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the module."""
    broker = EmbeddedBroker()
    broker.start()
    yield broker
    broker.stop()


def test_check_accepts_the_shipped_journey() -> None:
    """The shipped journey file is valid."""
    done = touchpoint("check", str(SHIPPED))
    assert (done.returncode, done.stderr) == (0, "")
    assert "journey `chair`, 7 stages" in done.stdout


def test_every_command_has_help_with_an_example() -> None:
    """`--help` of each command shows an example."""
    for command in (
        "demo",
        "init",
        "worker",
        "check",
        "topics",
        "publish",
        "validate",
        "replay",
        "simulate",
        "change",
    ):
        done = CliRunner().invoke(app, [command, "--help"])
        assert done.exit_code == 0
        assert "Example: " in done.stdout, command


AT_NUMPY = """
import os, sys
from streams.__main__ import main

def hear(event, arguments):
    if event == "import" and arguments[0] == "numpy":
        sys.exit(os.environ.get("OPENBLAS_NUM_THREADS", "as many threads as cores"))

sys.addaudithook(hear)
main()
"""
"""What a command has said of threads by the time that numpy, which reads it once, is imported."""


@pytest.mark.parametrize(("command", "heard"), [("worker", ("1\n", 1)), (f"check {SHIPPED}", ("", 0))])
def test_numpy_begins_with_one_thread(command: str, heard: tuple[str, int]) -> None:
    """Said later, it would change nothing: window sums would wait for a second thread that has no core.

    What sums no windows starts without numpy, in two thirds of the time.
    """
    own = environment()
    own.pop("OPENBLAS_NUM_THREADS", None)
    words = [sys.executable, "-c", AT_NUMPY, *command.split()]
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stderr, done.returncode) == heard


AT_THE_END = """
import gc
from streams.__main__ import main

def looks():
    return sum(generation["collections"] for generation in gc.get_stats())

before = looks()
try:
    main()
finally:
    print(looks() - before, gc.get_freeze_count() > 10_000)
"""
"""Whether a command has started without looking for garbage all the time, and ends without doing so again."""


def test_starts_and_ends_without_looking_for_garbage() -> None:
    """What is loaded lives as long as the command: looking at it took a tenth of a start, more of an end."""
    words = [sys.executable, "-c", AT_THE_END, "check", str(SHIPPED)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0 True"


def test_demo_counts_what_it_publishes_and_ends_by_itself() -> None:
    """The demo's last line is a summary in which everything published is counted and every stage moves."""
    done = touchpoint("demo", "--for", "1", "--http", "127.0.0.1:0")
    assert done.returncode == 0, done.stderr
    summary = orjson.loads(done.stdout.splitlines()[-1])
    assert summary["published"] == summary["counted"] > 500
    assert summary["refused"] == 0
    assert summary["alerts"] == []
    assert len(summary["stages"]) == 7
    for stage in summary["stages"].values():
        assert stage["state"] in {"good", "within_chance"}
        assert stage["events"] > 0
        assert 0.7 < stage["quality"] <= 1


def test_a_fault_degrades_its_stage_and_no_other() -> None:
    """A payment failure shows as a degraded web checkout; everything else stays good."""
    done = touchpoint("demo", "--for", "40", "--http", "127.0.0.1:0", "--fault", "checkout-payment-failure@5")
    assert done.returncode == 0, done.stderr
    summary = orjson.loads(done.stdout.splitlines()[-1])
    states = {name: stage["state"] for name, stage in summary["stages"].items()}
    assert states.pop("web_checkout") == "degraded"
    assert set(states.values()) <= {"good", "within_chance"}
    assert [alert["stage"] for alert in summary["alerts"]] == ["web_checkout"]
    journeys = summary["journeys"]
    assert set(journeys) == {
        "open", "over", "met", "missed", "hit", "weakest", "overdue", "handoffs_lost", "labyrinths",
    }  # fmt: skip
    assert 0 < journeys["met"] + journeys["missed"] <= journeys["over"]
    assert set(journeys["hit"]) < set(summary["stages"])


@pytest.mark.parametrize("command", ["demo", "pages"])
def test_a_wrong_address_names_the_option(command: str) -> None:
    """What the user gave is named, not the variable that it stands for."""
    done = touchpoint(command, "--http", "nonsense")
    assert (done.returncode, done.stderr) == (1, "touchpoint: --http: must be HOST:PORT\n")


def test_a_misspelled_fault_names_the_nearest() -> None:
    """A wrong fault is one line, not a traceback."""
    done = touchpoint("demo", "--for", "5", "--fault", "checkout-payment-failur@1")
    assert done.returncode == 1
    assert "checkout-payment-failure" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (1, "1 line refused as not_json (line 1: "),
        (2, "2 lines refused, all as not_json (line 1: "),
        (1200, "1,200 lines refused, all as not_json (line 1: "),
    ],
)
def test_one_is_not_many(tmp_path: Path, lines: int, said: str) -> None:
    """A count and its noun agree."""
    file = tmp_path / "notes.txt"
    file.write_text("note\n" * lines)
    done = touchpoint("backtest", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"touchpoint: {file}: it has no event to judge: {said}")


def test_simulate_is_reproducible() -> None:
    """Same seed and start, same bytes; another seed, others."""
    arguments = ("simulate", "--events", "300", "--start", "2026-03-01T10:00:00+02:00", "--seed")
    first, again, other = (touchpoint(*arguments, seed).stdout for seed in ("1", "1", "2"))
    assert first == again
    assert first.count("\n") == 300
    assert first != other


def test_publish_sends_what_is_valid_and_names_the_lines_that_are_not(broker: EmbeddedBroker) -> None:
    """Valid lines are published and counted; each refused line is named; the exit code says so."""
    now = datetime.now(UTC).isoformat()
    good = [
        orjson.dumps({"id": f"p-{i}", "time": now, "stage": "store", "outcome": "ok", "wait_s": i})
        for i in range(20)
    ]
    lines = [*good[:10], b"{broken", b"", b'{"id":"x","stage":"stroe","outcome":"ok"}', *good[10:]]
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    done = touchpoint_reading(b"\n".join(lines), "publish", KAFKA=broker.bootstrap)
    assert done.returncode == 1
    assert orjson.loads(done.stdout) == {"published": 20, "refused": 2}
    assert "line 11: not_json" in done.stderr
    assert "line 13: " in done.stderr
    with WorkerProcess(KAFKA=broker.bootstrap, GROUP="publish") as worker:
        until(lambda: counted(worker) == 20, "published events counted")
        assert worker.scrape().sum("touchpoint_records_total", result="refused") == 0


def test_replay_says_before_it_begins_what_no_journey_is_opened_for(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """How many, and what to do instead; they are published all the same."""
    file = tmp_path / "history.jsonl"
    event = {"id": "e", "stage": "store", "outcome": "ok", "journey_id": "j"}
    times = [f"2026-05-04T{hour}:00:00Z" for hour in ("08", "10")]
    file.write_bytes(b"\n".join(orjson.dumps(event | {"time": time}) for time in times))
    done = touchpoint("replay", str(file), "--until-now", KAFKA=broker.bootstrap)
    assert orjson.loads(done.stdout) == {"published": 2, "refused": 0}
    assert done.stderr.startswith("touchpoint: 1 of 2 events of journeys happened more than 1 h ago.")
    assert f"touchpoint backtest {file}" in done.stderr


def test_replay_of_a_missing_file_is_one_line(broker: EmbeddedBroker) -> None:
    """A file that is not there is named."""
    done = touchpoint("replay", "/nowhere.jsonl", KAFKA=broker.bootstrap)
    assert done.returncode == 1
    assert done.stderr == "touchpoint: /nowhere.jsonl: No such file or directory\n"
