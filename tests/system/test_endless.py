"""Nothing that a command reads is read without bound: one line names the file and the bound, and soon."""

import re
import resource
from pathlib import Path

import pytest

from tests.kit.brokers import TansuNode, running
from tests.kit.programs import touchpoint
from tests.system.test_endings import done, settings
from tests.system.test_worker import TOPIC, checkout, read_topic

ZERO = Path("/dev/zero")

NO_END = r"line 1: has no end within 64 MiB; an event has at most 1,000,000 bytes"


def little_memory() -> None:
    """A machine with 4 GB: more than any command needs, far less than an endless file has."""
    resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("check /dev/zero", r"/dev/zero: is larger than 1,000,000 bytes"),
        ("render /dev/zero --out out", r"/dev/zero: is larger than 1,000,000 bytes"),
        ("backtest /dev/zero", rf"/dev/zero: {NO_END}"),
        ("backtest -", rf"standard input: {NO_END}"),
        ("replay /dev/zero", rf"/dev/zero: {NO_END}"),
        ("report --prometheus-token-file /dev/zero", r"/dev/zero: is larger than 65,536 bytes"),
        (
            "dead-letters replay touchpoint.store.v1.dlq:0:1 --value /dev/zero",
            r"/dev/zero: is larger than 16,777,216 bytes",
        ),
    ],
)
def test_an_endless_file_is_refused(command: str, said: str, tmp_path: Path) -> None:
    """Whatever is asked for, and nothing is written."""
    with ZERO.open("rb") as zero:
        code, out, err = done(command, tmp_path, stdin=zero, preexec_fn=little_memory)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"touchpoint: {said}\n", err), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"JOURNEY": "/dev/zero"}, r"/dev/zero: is larger than 1,000,000 bytes"),
        ({"HTTP_TOKEN_FILE": "/dev/zero"}, r"TOUCHPOINT_HTTP_TOKEN_FILE: is larger than 65,536 bytes"),
        (
            {"KAFKA_SECURITY": "ssl", "KAFKA_CA": "/dev/zero"},
            r"/dev/zero: is larger than 1,000,000 bytes",
        ),
    ],
)
def test_an_endless_file_of_a_setting_is_refused(more: dict[str, str], said: str, tmp_path: Path) -> None:
    """By each command that reads it."""
    code, out, err = done("topics", tmp_path, env=settings(**more), preexec_fn=little_memory)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"touchpoint: {said}\n", err), err


def test_an_endless_line_ends_publish_and_what_came_before_is_published(tmp_path: Path) -> None:
    """A good event, then a line without end: the event is in Kafka, and is told."""
    with running(TansuNode()) as broker, (tmp_path / "events").open("wb+") as events:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        known = settings(KAFKA=broker.bootstrap, KAFKA_TIMEOUT_S="20")
        events.write(checkout(1) + b"\n")
        events.truncate(1 << 40)  # zeros that take no room
        events.seek(0)
        code, out, err = done("publish", tmp_path, env=known, stdin=events, preexec_fn=little_memory)
        assert len(read_topic(broker.bootstrap, TOPIC)) == 1
    assert (code, out) == (1, '{"published": 1, "refused": 0}\n')
    assert re.fullmatch(rf"touchpoint: standard input: {NO_END.replace('line 1', 'line 2')}\n", err)
