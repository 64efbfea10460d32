"""`touchpoint drift` from events and a journey file to an exit code and the lines to change."""

from pathlib import Path

import orjson
import yaml
from aiokafka.admin import NewTopic

from tests.kit.brokers import Node, as_admin
from tests.kit.programs import touchpoint, touchpoint_reading
from tests.streams.commands.test_learn import calls, framed
from tests.system.test_worker import send

DIFFERS = 3


def learned(directory: Path) -> str:
    """The journey file of 30 hours of calls, and these calls beside it."""
    (directory / "calls.jsonl").write_bytes(calls(30))
    file = directory / "own.yaml"
    assert touchpoint("learn", str(directory / "calls.jsonl"), "--out", str(file)).returncode == 0
    return str(file)


def rerouted(lines: list[bytes]) -> list[bytes]:
    """The same calls, of which each fifth ends as no call did before."""
    return [
        orjson.dumps(orjson.loads(line) | ({"outcome": "rerouted"} if n % 5 == 1 else {}))
        for n, line in enumerate(lines)
    ]


def test_what_was_learned_does_not_differ_and_what_is_new_does(tmp_path: Path) -> None:
    """The lines to change are all that is printed, as YAML; the exit code says whether there are any."""
    file = learned(tmp_path)
    told = "1,800 events of 1 stage, 2026-11-02 00:00:00+00:00 to 2026-11-03 05:59:00+00:00"
    same = touchpoint("drift", file, str(tmp_path / "calls.jsonl"))
    assert same.stderr == f"nothing differs between {file} and {told}\n"
    assert (same.returncode, same.stdout) == (0, "")
    other = touchpoint_reading(b"\n".join(rerouted(calls(30).splitlines())), "drift", file, "-")
    assert other.stderr == f"something differs between {file} and {told}\n"
    assert other.returncode == DIFFERS
    assert other.stdout.splitlines() == [
        "# refused are 360 of 1,800 events: unknown_outcome 360",
        "stages:",
        "  calls:",
        "    outcomes: [rerouted]   # refused: rerouted 360, of 1,800",
    ]


def test_topics_are_compared_too(broker: Node, tmp_path: Path) -> None:
    """With what of them is no event."""
    file, kafka = learned(tmp_path), broker.bootstrap
    as_admin(kafka, lambda admin: admin.create_topics([NewTopic(name, 2, 1) for name in ("calls", "new")]))
    send(kafka, "calls", framed(calls(30).splitlines(), "binary"))
    send(kafka, "new", [*framed(rerouted(calls(30).splitlines()), "structured"), (None, b"no", [])])
    same = touchpoint("drift", file, "--from-kafka", "calls", KAFKA=kafka)
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    other = touchpoint("drift", file, "--from-kafka", "new", KAFKA=kafka)
    assert other.returncode == DIFFERS
    assert other.stdout.startswith("# refused are 361 of 1,801 events: unknown_outcome 360, not_json 1\n")
    assert yaml.safe_load(other.stdout) == {"stages": {"calls": {"outcomes": ["rerouted"]}}}
    assert other.stderr.startswith("touchpoint: record new:")


def test_an_error_is_no_difference(tmp_path: Path) -> None:
    """No events, no file, no journey file: each in one line, with exit code 1."""
    file = learned(tmp_path)
    for asked, told in (
        ([file], "give a history: FILE, or --from-kafka TOPIC"),
        ([file, "none.jsonl"], "none.jsonl: No such file or directory"),
        ([file, "-"], "standard input: it has no event"),
        (["none.yaml", "-"], "none.yaml: No such file or directory"),
    ):
        done = touchpoint("drift", *asked)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"touchpoint: {told}\n")
