"""Dead letters as a user handles them: listed, shown, sent back once."""

import asyncio
import functools
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner

from deploy.kafka.kafka import KafkaNode
from monitor.counting.display import printable
from streams.commands.main import app
from streams.dead_letters.box import CHUNK, Letter, Sent
from streams.dead_letters.shown import Listing, described, row, table
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import TOUCHPOINT, WorkerProcess, counted, environment, touchpoint
from tests.system.test_worker import Record, checkout, read_topic, send

TOPIC = "touchpoint.web-checkout.v1"
DLQ = f"{TOPIC}.dlq"


def dead_letters(broker: Node, *arguments: str, code: int = 0) -> str:
    """What `touchpoint dead-letters …` writes to standard output."""
    done = touchpoint("dead-letters", *arguments, KAFKA=broker.bootstrap)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stdout


def listed(broker: Node, *arguments: str) -> list[dict[str, Any]]:
    """`list --json`."""
    return [orjson.loads(line) for line in dead_letters(broker, "list", "--json", *arguments).splitlines()]


def replayed(broker: Node, *arguments: str, code: int = 0) -> dict[str, int]:
    """The last line of `replay`, of all letters unless some are chosen."""
    chosen = arguments or ("--all",)
    answer: dict[str, int] = orjson.loads(dead_letters(broker, "replay", *chosen, code=code).splitlines()[-1])
    return answer


def said(sent: int = 0, sent_before: int = 0, left: int = 0, refused: int = 0) -> dict[str, int]:
    """A summary of `replay`."""
    return {"sent": sent, "sent_before": sent_before, "left": left, "refused": refused}


def place(letter: dict[str, Any]) -> str:
    """TOPIC:PARTITION:OFFSET."""
    return f"{letter['topic']}:{letter['partition']}:{letter['offset']}"


def dead(number: int, topic: str = TOPIC, attempt: int = 1, reason: str = "bad_value", **more: str) -> Record:
    """A dead letter that nobody refused."""
    headers = {
        "trace": "t-1",
        "dlq.reason": reason,
        "dlq.topic": topic,
        "dlq.partition": "0",
        "dlq.offset": str(number),
        "dlq.attempt": str(attempt),
        **{f"dlq.{name}": text for name, text in more.items()},
    }
    return b"k", checkout(number), [(name, text.encode()) for name, text in headers.items()]


def test_letters_are_listed_chosen_and_shown(broker: Node) -> None:
    """By stage, by reason and by number; a table for people, JSON for programs; whole, or the value alone."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    key, _, headers = dead(1, reason="not_json")
    hostile: Record = (key, b"\xff\x1b[2J", [*headers, ("note", b"\x1b]0;gone\x07")])
    error = ("dlq.error", b"outcome must be one of ok, wow")
    key, _, headers = dead(2, reason="unknown_outcome")
    send(broker.bootstrap, DLQ, [hostile, (key, checkout(1, outcome="meh"), [*headers, error])])
    by_reason = {letter["reason"]: letter for letter in until(lambda: listed(broker), "letters")}
    assert by_reason.keys() == {"not_json", "unknown_outcome"}
    unknown, broken = by_reason["unknown_outcome"], by_reason["not_json"]
    assert (unknown["attempt"], unknown["state"], unknown["stage"]) == (1, "open", "web_checkout")
    assert [one["reason"] for one in listed(broker, "--reason", "not_json")] == ["not_json"]
    assert listed(broker, "--stage", "store") == []
    assert len(listed(broker, "--limit", "1")) == 1
    table = dead_letters(broker, "list")
    assert "web_checkout  unknown_outcome  1" in table
    assert "outcome must be one of" in table

    shown = dead_letters(broker, "show", place(broken))
    assert "hex ff 1b 5b 32 4a" in shown
    assert r"note: \x1b]0;gone\x07" in shown
    assert f"{TOPIC}:" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    assert '"outcome":"meh"' in dead_letters(broker, "show", place(unknown), "--value")


def refusals(worker: WorkerProcess) -> float:
    """How many records of the topic it has refused."""
    return worker.scrape().sum("touchpoint_records_total", topic=TOPIC, result="refused")


@pytest.mark.timeout(600)  # a hang; on a starved machine each of its twenty commands takes many seconds
def test_letters_go_back_until_they_are_mended_or_given_up(broker: Node, tmp_path: Path) -> None:
    """Refused and sent back: unmended up to the cap, mended counted exactly once."""
    chosen = ("--reason", "unknown_outcome")
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()

        def refused(letters: int, records: int) -> list[dict[str, Any]]:
            """Asks the worker until it has refused so many records, and only then for these letters."""

            def seen() -> bool:
                return (
                    worker.scrape().sum("touchpoint_records_total", topic=TOPIC, result="refused") == records
                )

            until(seen, f"{records} refused")
            return until(
                lambda: found if len(found := listed(broker, *chosen)) == letters else [],
                f"{letters} letters",
            )

        bad: list[Record] = [
            (b"a", b"\xff", []),
            (b"b", checkout(1, outcome="meh"), [("trace", b"t-2")]),
            (b"c", checkout(2), []),
        ]
        send(broker.bootstrap, TOPIC, bad)
        until(lambda: counted(worker) == 1, "the good one counted")
        assert [(one["attempt"], one["state"]) for one in refused(1, 2)] == [(1, "open")]
        assert replayed(broker, *chosen, "--dry-run") == said(1) | {"dry_run": True}
        for attempt in (2, 3):
            assert replayed(broker, *chosen) == said(1, attempt - 2)
            letters = refused(attempt, attempt + 1)
            assert {one["attempt"] for one in letters} == set(range(1, attempt + 1))
        assert replayed(broker, *chosen) == said(0, 2, left=1)

        [last] = [one for one in letters if one["attempt"] == 3]
        file = tmp_path / "mended.json"
        file.write_bytes(checkout(1, outcome="mehh"))
        mend = (place(last), "--value", str(file), "--max-attempts", "4")
        assert replayed_fails(broker, *mend).startswith("touchpoint: the mended value would be refused again")
        file.write_bytes(checkout(1))
        assert replayed(broker, *mend) == said(1)
        until(lambda: counted(worker) == 2, "the mended one counted")
        assert replayed(broker, *mend) == said(0, 1)
        assert replayed(broker, *chosen) == said(0, 3)
        assert [one["reason"] for one in listed(broker) if one["state"] == "open"] == ["not_json"]
        # What is sent after all this is read after all this: nothing else was sent.
        send(broker.bootstrap, TOPIC, [(b"b", checkout(3), [])])
        until(lambda: counted(worker) == 3, "a last one counted")
        assert refusals(worker) == 4


def replayed_fails(broker: Node, *arguments: str) -> str:
    """The line of a replay that cannot be done."""
    done = touchpoint("dead-letters", "replay", *arguments, KAFKA=broker.bootstrap)
    lines = [line for line in done.stderr.splitlines() if line.strip()]  # progress leaves an empty one
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done
    return lines[0]


def test_a_letter_goes_back_as_it_came(broker: Node) -> None:
    """Key, value and own headers are kept, with its attempt and whence it came; one of no stage stays, and so
    does one that no worker will ever count."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    tombstone: Record = (b"", None, dead(5)[2])
    send(broker.bootstrap, DLQ, [dead(4, attempt=2), dead(1, topic="payroll"), (b"k", b"v", []), tombstone])
    assert replayed(broker, code=1) == said(1, left=1, refused=2)
    [first] = read_topic(broker.bootstrap, TOPIC)
    assert (first.key, orjson.loads(first.value)["id"], first.partition) == (b"k", "e-4", 0)
    assert list(first.headers) == [
        ("trace", b"t-1"),
        ("dlq.attempt", b"2"),
        ("dlq.topic", TOPIC.encode()),
        ("dlq.partition", b"0"),
        ("dlq.offset", b"4"),
    ]


def test_a_record_whose_letter_was_written_again_goes_back_once(broker: Node) -> None:
    """A worker that dies before it acknowledges writes the letter again; a topic made anew has others."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    first, other = dead(4, timestamp="1700000000000"), dead(4, timestamp="1800000000000")
    send(broker.bootstrap, DLQ, [first, first, other])
    assert len(listed(broker)) == 2
    assert replayed(broker, "--all", "--dry-run") == said(2) | {"dry_run": True}
    assert replayed(broker) == said(2)
    send(broker.bootstrap, DLQ, [first])
    assert replayed(broker) == said(0, sent_before=3)
    assert len(read_topic(broker.bootstrap, TOPIC)) == 2


def end_of(broker: Node, topic: str) -> int:
    """The end of partition 0, or on the embedded broker something that grows with it."""

    async def ask() -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap)
        await consumer.start()
        try:
            tp = TopicPartition(topic, 0)
            return int((await consumer.end_offsets([tp]))[tp])
        finally:
            await consumer.stop()

    return asyncio.run(ask())


def test_killed_replays_lose_nothing_and_send_nothing_twice(
    broker: Node, request: pytest.FixtureRequest
) -> None:
    """Replays killed at any moment: all letters arrive; on Apache Kafka each exactly once."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    total = 8000
    send(broker.bootstrap, DLQ, [dead(i, reason=("bad_value", "bad_time")[i % 2]) for i in range(total)])
    killed = 0

    def moved(process: subprocess.Popen[bytes], before: int) -> bool:
        return end_of(broker, TOPIC) > before or process.poll() is not None

    for _ in range(4):
        before = end_of(broker, TOPIC)
        with subprocess.Popen(
            [TOUCHPOINT, "dead-letters", "replay", "--reason", "bad_value"],
            env=environment(KAFKA=broker.bootstrap),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            until(functools.partial(moved, process, before), "sending")
            process.kill()
            killed += process.wait() != 0
    assert killed > 0
    rest = replayed(broker, "--reason", "bad_value")
    assert rest["sent"] + rest["sent_before"] == total // 2
    assert replayed(broker) == said(total // 2, total // 2)
    assert replayed(broker) == said(0, total)
    arrived = Counter(dict(one.headers)["dlq.offset"] for one in read_topic(broker.bootstrap, TOPIC))
    assert len(arrived) == total
    if "apache" in request.node.name:
        assert set(arrived.values()) == {1}


@pytest.mark.full
def test_a_replay_that_another_takes_over_says_one_line(tmp_path: Path) -> None:
    """Of two replays at once one sends all that is open; the other stops with one line and exit code 1."""
    with running(KafkaNode(tmp_path)) as node:
        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        send(node.bootstrap, DLQ, [dead(i) for i in range(600)])
        command = [
            TOUCHPOINT,
            "dead-letters",
            "replay",
            "--all",
            "--rate",
            "100",
        ]  # so that one finds the other at it
        env = environment(KAFKA=node.bootstrap)
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as first:
            until(lambda: end_of(node, TOPIC) > 0 or first.poll() is not None, "sending")
            replayed(node)
            lines = [line for line in first.communicate()[1].splitlines() if line.strip()]
        assert lines == ["touchpoint: another replay has taken over; this one has stopped"]
        assert first.returncode == 1
        assert len(read_topic(node.bootstrap, TOPIC)) == 600


def test_a_mended_value_is_judged_by_the_settings(tmp_path: Path) -> None:
    """Where workers take a telephone number for a customer, so does whoever mends an event."""
    file = tmp_path / "mended.json"
    file.write_bytes(checkout(1, customer_ref="+358401234567"))
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        send(broker.bootstrap, DLQ, [dead(7)])
        [letter] = until(lambda: listed(broker), "the letter")
        mend = ("dead-letters", "replay", place(letter), "--value", str(file))
        assert "personal_data" in touchpoint(*mend, KAFKA=broker.bootstrap).stderr
        done = touchpoint(*mend, KAFKA=broker.bootstrap, REFUSE_PERSONAL_DATA="false")
        assert (done.returncode, orjson.loads(done.stdout)) == (0, said(1)), done.stderr


def test_a_part_of_a_record_goes_back_mended_only(tmp_path: Path) -> None:
    """Replay says where the record lies, and how its event can be sent."""
    file = tmp_path / "whole.json"
    file.write_bytes(checkout(7))
    key, value, headers = dead(7, reason="unreadable")
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        send(broker.bootstrap, DLQ, [(key, value, [*headers, ("dlq.size", b"1000")])])
        [letter] = until(lambda: listed(broker), "the letter")
        done = touchpoint("dead-letters", "replay", "--all", KAFKA=broker.bootstrap)
        assert (done.returncode, orjson.loads(done.stdout)) == (0, said(left=1))
        assert f"which lies at {TOPIC}:0:7; --value sends the whole event from a file" in done.stderr
        assert replayed(broker, place(letter), "--value", str(file)) == said(1)
        [sent] = read_topic(broker.bootstrap, TOPIC)
        assert sent.value == file.read_bytes()


HOPELESS = {
    "empty": b"",
    "not_json": b"{",
    "missing_field": b"{}",
    "too_old": checkout(1, time="2020-05-04T10:00:00Z"),
    "bad_time": checkout(1, time="0001-01-01T00:00:00Z"),
}
"""Values that are refused whatever a journey file says, by why."""


def test_what_no_worker_will_count_is_left() -> None:
    """Each with its reason; what another journey file, or a later clock, makes countable goes back."""
    some = [
        *HOPELESS.values(),
        checkout(2, stage="moon_base"),
        checkout(3, outcome="meh"),
        checkout(4, time="2190-01-01T00:00:00Z"),
    ]
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        send(broker.bootstrap, DLQ, [(b"k", value, dead(number)[2]) for number, value in enumerate(some)])
        until(lambda: len(listed(broker)) == len(some), "the letters")
        done = touchpoint("dead-letters", "replay", "--all", KAFKA=broker.bootstrap)
        assert (done.returncode, orjson.loads(done.stdout)) == (0, said(3, left=len(HOPELESS)))
        for reason in HOPELESS:
            assert f"left: no worker will count it: {reason}: " in done.stderr


def test_nothing_goes_back_unless_it_is_chosen() -> None:
    """Without a word which, replay says what it would send, and how to send it; nothing is sent."""
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        send(broker.bootstrap, DLQ, [dead(1)])
        [letter] = until(lambda: listed(broker), "the letter")
        done = touchpoint("dead-letters", "replay", KAFKA=broker.bootstrap)
        told, summary = done.stdout.splitlines()
        assert (done.returncode, told) == (1, f"{place(letter)}: to {TOPIC}, attempt 1")
        assert orjson.loads(summary) == said(1) | {"dry_run": True}
        assert done.stderr == (
            "touchpoint: nothing was sent: choose a letter, --stage or --reason, or give --all\n"
        )
        assert listed(broker) == [letter]
        assert replayed(broker, "--all") == said(1)


def a_letter(error: str, reason: str = "bad_value") -> dict[str, Any]:
    """A row of the listing."""
    headers = [("dlq.reason", reason.encode()), ("dlq.error", error.encode())]
    return row(Letter("store", "t.dlq", 0, 1, 0, None, b"v", tuple(headers), 1), is_sent=False)


def test_an_error_is_cut_to_the_terminal_only() -> None:
    """A file or a pipe gets all of it."""
    found = Listing([a_letter("e" * 300)], Counter({("store", "bad_value"): 1}))
    assert list(table(found, None))[1].endswith("  " + "e" * 300)
    assert all(len(line) <= 120 for line in table(found, 120))
    assert list(table(found, 120))[1].endswith("eee…")


def test_a_letter_without_a_reason_says_so_everywhere() -> None:
    """In its row as in the sums."""
    letter = Letter("store", "t.dlq", 0, 1, 0, None, b"v", (), 1)
    assert row(letter, is_sent=False)["reason"] == letter.reason == "none"
    assert "none" in next(line for line in described(letter, is_sent=False) if line.startswith("reason"))


def test_an_empty_or_missing_dead_letter_topic_is_no_error(broker: Node) -> None:
    """Without dead letters, or topics for them, there is nothing to list or send; a wrong place is named."""
    assert listed(broker) == []
    assert replayed(broker) == said()
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    assert dead_letters(broker, "list") == "no dead letters\n"
    assert replayed(broker) == said()
    send(broker.bootstrap, DLQ, [dead(1)])
    assert len(listed(broker)) == 1
    for partition, offset in ((0, 7), (1, 7), (99, 0), (3, 0)):
        where = f"{DLQ}:{partition}:{offset}"
        assert f"there is no letter {where}" in replayed_fails(broker, where)


def test_a_rate_is_kept(broker: Node) -> None:
    """Fifty letters at 25 a second take more than one second and go in small batches."""
    assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
    send(broker.bootstrap, DLQ, [dead(i) for i in range(51)])
    began_s = time.monotonic()
    assert replayed(broker, "--all", "--rate", "25") == said(51)
    times = [record.timestamp for record in read_topic(broker.bootstrap, TOPIC)]
    assert max(times) - min(times) > 1500
    assert time.monotonic() - began_s > 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("list", "--stage", "web_chekout"), "unknown stage `web_chekout`; did you mean `web_checkout`?"),
        (("list", "--reason", "not_jsn"), "unknown reason `not_jsn`; did you mean `not_json`?"),
        (("show", "x"), "`x` is not a refused event; write TOPIC:PARTITION:OFFSET, as `list` shows them"),
        (
            ("show", f"{TOPIC}:0:1"),
            f"`{TOPIC}` is not a dead-letter topic of this journey; did you mean `{DLQ}`?",
        ),
        (("replay", "--value", "f"), "--value needs the letter it mends: TOPIC:PARTITION:OFFSET"),
        (("replay", "--value", "/none", f"{DLQ}:0:1"), "/none: No such file or directory"),
        (
            ("replay", "--stage", "store", f"{DLQ}:0:1"),
            "give a letter, or choose by stage and reason, not both",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    """Mistakes are told before Kafka is asked, with the nearest name."""
    done = touchpoint("dead-letters", *arguments, KAFKA="127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"touchpoint: {line}\n")


def test_every_command_has_help_with_an_example() -> None:
    """`--help` of each shows an example; that of replay says what the embedded broker cannot do."""
    for command in ("list", "show", "replay"):
        done = CliRunner().invoke(app, ["dead-letters", command, "--help"])
        assert done.exit_code == 0
        assert "Example: " in done.stdout
    assert "embedded broker" in done.stdout


def test_bits_say_which_letters_are_sent() -> None:
    """Marked letters, and no others, are in what is restored from their chunks, across chunk ends."""

    def letter(offset: int, partition: int = 0) -> Letter:
        return Letter("store", "t", partition, offset, 0, None, None, (), 0)

    offsets = {0, 1, 7, 8, CHUNK - 1, CHUNK, 5 * CHUNK + 3}
    sent = Sent()
    for half in (sorted(offsets)[:3], sorted(offsets)[3:]):
        for key, bits in sent.marked(map(letter, half)).items():
            sent.restore(key, bits)
    assert {offset for offset in range(6 * CHUNK) if letter(offset) in sent} == offsets
    assert letter(0, partition=1) not in sent


def test_nothing_that_moves_the_cursor_is_printed() -> None:
    """Control and direction characters are spelt out, letters of any language are not."""
    assert printable("naïve ✓ 日本") == "naïve ✓ 日本"
    assert printable("\x1b[2J\r\n\u202e\x9b\ud800") == r"\x1b[2J\r\n\u202e\x9b\ud800"
