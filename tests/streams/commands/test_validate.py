"""`touchpoint validate` as a service's developer runs it, without Kafka."""

import subprocess
from pathlib import Path

import orjson

from tests.kit.programs import ROOT, TOUCHPOINT, environment, touchpoint_reading

AT = "2026-11-21T21:00:00Z"
CALL = {"id": "c", "time": AT, "stage": "call_queue", "outcome": "ok", "segment": "new", "wait_s": 45}


def lines(*events: object) -> bytes:
    """As a service writes them."""
    return b"\n".join(orjson.dumps(event) for event in events)


def test_each_line_is_told_what_becomes_of_it() -> None:
    """Counted with every experience, or refused with its reason; the sum and the exit code say the rest."""
    done = touchpoint_reading(lines(CALL, {**CALL, "stage": "nowhere"}), "validate", "--at", AT)
    assert done.stdout.splitlines()[:2] == [
        "line 1: counted at call_queue",
        "line 1: bad, service_level: `wait_s` is 45.0, asked is at most 20",
    ]
    assert done.stdout.splitlines()[3].startswith(
        "line 2: refused, unknown_stage: stage must be one of call_queue"
    )
    assert done.stderr == "2 events: 1 would be counted, 1 refused; 0 warnings\n"
    assert done.returncode == 1


def test_as_json_for_a_test_of_a_service() -> None:
    """One object a line, a blank line none; a warning fails only where asked for."""
    said = lines({**CALL, "waitS": 1}) + b"\n\n"
    for strict in ((), ("--strict",)):
        done = touchpoint_reading(said, "validate", "--at", AT, "--json", *strict)
        (found,) = map(orjson.loads, done.stdout.splitlines())
        assert (found["line"], found["stage"]) == (1, "call_queue")
        assert found["warnings"] == ["nobody reads the field `waitS`: is `wait_s` meant?"]
        assert found["judged"][0]["said"] == "bad"
        assert done.returncode == bool(strict)


def test_a_stage_s_topic_takes_its_own_events_only() -> None:
    """As a worker would say, when a service publishes to it whatever it has."""
    done = touchpoint_reading(lines(CALL), "validate", "--at", AT, "--stage", "store")
    assert done.stdout == "line 1: refused, wrong_topic: this topic is for stage `store`\n"


def test_what_was_asked_wrongly_is_one_line() -> None:
    """A stage that is not in the file; a time that is none."""
    for arguments, told in (
        (("--stage", "nowhere"), "touchpoint: no stage `nowhere`; known are web_checkout"),
        (("--at", "yesterday"), "touchpoint: `yesterday` is not an RFC 3339 time"),
    ):
        done = touchpoint_reading(b"", "validate", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(told)
        assert done.stderr.count("\n") == 1


def test_the_readme_shows_what_is_said() -> None:
    """Its two events, and every line it prints of them."""
    call = {"id": "1", "time": AT, "stage": "call_queue", "outcome": "ok", "wait_s": 45, "segment": "new"}
    without_id = {name: value for name, value in call.items() if name != "id"}
    done = touchpoint_reading(lines({**call, "journeyId": "j"}, without_id), "validate", "--at", AT)
    shown = f"$ touchpoint validate < events.jsonl\n{done.stdout}{done.stderr}"
    assert shown in (ROOT / "streams/README.md").read_text()


def test_a_closed_standard_input_is_one_line(tmp_path: Path) -> None:
    """What was never read has no sum."""
    done = subprocess.run(
        ["sh", "-c", f"{TOUCHPOINT} validate <&-"],
        capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == "touchpoint: standard input: Bad file descriptor\n"
    assert (done.returncode, done.stdout) == (1, "")
