"""`touchpoint learn` from a history to a file that the other commands take, and what it says of its days."""

import gzip
import re
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import NewTopic

from monitor.journey_file.grammar import parse
from streams.settings import SHIPPED_JOURNEY
from tests.kit import history
from tests.kit.brokers import Node, as_admin
from tests.kit.programs import TOUCHPOINT, environment, touchpoint, touchpoint_reading
from tests.system.test_worker import Record, send

FAULT = "checkout-payment-failure=0.8@216000+10800"
"""On the third day, for three hours."""

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def calls(hours: int, fault: range = range(0)) -> bytes:
    """A call a minute, of which nine of ten are answered; in the hours of the fault none is."""
    lines = []
    for n in range(hours * 60):
        is_bad = n % 10 == 0 or n // 60 in fault
        at = MONDAY + timedelta(minutes=n)
        outcome = "failed" if is_bad else "ok"
        lines.append(
            orjson.dumps({"id": str(n), "time": at.isoformat(), "stage": "calls", "outcome": outcome})
        )
    return b"\n".join(lines)


def test_a_history_becomes_a_file_that_check_accepts(tmp_path: Path) -> None:
    """Named after its file; what it would have told stands on standard error, with the days."""
    events, file = tmp_path / "Own calls.jsonl.gz", tmp_path / "own.yaml"
    events.write_bytes(gzip.compress(calls(8 * 24, range(100, 103))))
    done = touchpoint("learn", str(events), "--out", str(file), "--timezone", "Europe/Helsinki")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "learned from 11,520 events of 1 stage, 2026-11-02 02:00:00+02:00 to 2026-11-10 01:59:00+02:00",
        "over this history it gives 1 page: 2026-11-06",
        "over this history it gives 1 ticket: 2026-11-06",
    ]
    journey = parse(file.read_text())
    assert (journey.name, journey.timezone) == ("own_calls", "Europe/Helsinki")
    assert touchpoint("check", str(file)).returncode == 0
    again = touchpoint("backtest", str(events), "--json", JOURNEY=str(file))
    told = {(one["severity"], one["noticed"][:10]) for one in orjson.loads(again.stdout)["alerts"]}
    assert told == {("page", "2026-11-06"), ("ticket", "2026-11-06")}


def test_standard_input_is_a_history_too(tmp_path: Path) -> None:
    """From a pipe, which cannot be read twice; also packed. Nothing but the file is printed."""
    events = calls(30)
    piped = touchpoint_reading(events, "learn", "-")
    assert piped.returncode == 0
    assert parse(piped.stdout).name == "learned"
    assert touchpoint_reading(gzip.compress(events), "learn", "-").stdout == piped.stdout
    file = tmp_path / "learned.jsonl"
    file.write_bytes(events)
    assert touchpoint("learn", str(file)).stdout == piped.stdout


def test_what_is_there_stays(tmp_path: Path) -> None:
    """Nothing is read."""
    file = tmp_path / "own.yaml"
    file.write_text("mine")
    done = touchpoint("learn", "none.jsonl", "--out", str(file))
    assert done.stderr == f"touchpoint: {file} is there already; name another, or move it away\n"
    assert (done.returncode, file.read_text()) == (1, "mine")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (b"", "it has no event"),
        (
            b"{}\nno\nno",
            "it has no event: 3 lines refused, 2 of them as not_json (line 2: ",
        ),
        (
            calls(1).replace(b'"calls"', b'"Call Centre"'),
            "it has no event: `Call Centre` is no name of a stage or an outcome",
        ),
        (calls(1)[:80].partition(b"\n")[0], "1 event within 0 min tell too little: it takes a day"),
        (calls(1), "60 events within 59 min tell too little: it takes a day"),
        (calls(1).replace(b"2026", b"2066", 1), "its events span more than ten years: is a time wrong?"),
        (b"\x1f\x8bspoilt", "is cut short, or is not a gzip file"),
        (calls(1).decode().encode("utf-16"), "is UTF-16: save it as UTF-8"),
    ],
)
def test_what_teaches_nothing_is_named_in_one_line(events: bytes, told: str, tmp_path: Path) -> None:
    """And nothing is written."""
    done = touchpoint_reading(events, "learn", "-", "--out", str(tmp_path / "own.yaml"))
    assert done.stderr.startswith(f"touchpoint: standard input: {told}")
    assert len(done.stderr.splitlines()) == 1
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])


def test_a_wrong_zone_and_a_missing_file_are_named() -> None:
    """With the nearest zone; and a closed standard input."""
    zone = touchpoint("learn", "-", "--timezone", "Europe/Helsinky")
    assert zone.stderr.startswith("touchpoint: unknown time zone `Europe/Helsinky`; did you mean `Europe/Hel")
    missing = touchpoint("learn", "none.jsonl")
    assert missing.stderr == "touchpoint: none.jsonl: No such file or directory\n"
    closed = subprocess.run(
        ["sh", "-c", f"{TOUCHPOINT} learn - <&-"],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert closed.returncode == 1
    assert closed.stderr.startswith("touchpoint: standard input: ")


def test_what_a_worker_would_refuse_is_told() -> None:
    """The first lines, and names that no journey file can have; the rest is learned."""
    events = calls(30) + b"\n" + calls(1).replace(b'"ok"', b'"OK!"') + b"\nno"
    done = touchpoint_reading(events, "learn", "-")
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert told[0].startswith("touchpoint: line 1861: not_json: ")
    assert "left out: 54 events of `OK!`, which no journey file can name" in told


def framed(lines: list[bytes], framing: str) -> list[Record]:
    """The events as records: plain JSON, or CloudEvents in structured or binary mode."""
    if framing == "plain":
        return [(None, line, []) for line in lines]
    found: list[Record] = []
    for line in lines:
        event = orjson.loads(line)
        named = {"specversion": "1.0", "source": "/calls", "type": "call"}
        named |= {name: event.pop(name) for name in ("id", "time")}
        if framing == "structured":
            found.append((None, orjson.dumps(named | {"data": event}), []))
        else:
            found.append((None, orjson.dumps(event), [(f"ce_{k}", v.encode()) for k, v in named.items()]))
    return found


def test_topics_are_a_history_too(broker: Node, tmp_path: Path) -> None:
    """In every framing, up to what is there now; the file is that of the same lines, and no group is left."""
    lines, file = calls(30).splitlines(), tmp_path / "learned.jsonl"
    file.write_bytes(b"\n".join(lines))
    topics = ["plain", "structured", "binary"]
    as_admin(broker.bootstrap, lambda admin: admin.create_topics([NewTopic(name, 3, 1) for name in topics]))
    for at, name in enumerate(topics):
        send(broker.bootstrap, name, framed(lines[at::3], name))
    send(broker.bootstrap, "plain", [(b"key", b"no", [])])
    asked = [word for name in (*topics, "plain") for word in ("--from-kafka", name)]
    done = touchpoint("learn", *asked, KAFKA=broker.bootstrap)
    assert done.returncode == 0, done.stderr
    assert done.stdout == touchpoint("learn", str(file)).stdout
    refused, learned, *_ = done.stderr.splitlines()
    assert re.fullmatch(r"touchpoint: record plain:\d:\d+: not_json: .*", refused)
    assert learned.startswith("learned from 1,800 events of 1 stage, ")
    groups: list[object] = []

    async def look(admin: Any) -> None:
        groups.extend(await admin.list_consumer_groups())

    as_admin(broker.bootstrap, look)
    assert groups == []
    alone = touchpoint("learn", "--from-kafka", "binary", KAFKA=broker.bootstrap)
    assert parse(alone.stdout).stages[0].topic == "binary"


def test_topics_that_teach_nothing_are_named_in_one_line(broker: Node) -> None:
    """Without a topic, without a record, without an event; and where nobody says what to read."""
    kafka = broker.bootstrap
    as_admin(kafka, lambda admin: admin.create_topics([NewTopic(name, 1, 1) for name in ("none", "odd")]))
    send(kafka, "odd", [(b"key", b"no", []), (b"key", None, [])])
    for topics, told in {
        ("odd", "missing"): f"{kafka} has no topic missing",
        ("odd", "none"): "none: nothing was written in the last 2 d; --days looks further back",
        ("odd",): "odd: it has no event: 2 records refused, 1 of them as not_json (record odd:",
    }.items():
        asked = [word for name in topics for word in ("--from-kafka", name)]
        done = touchpoint("learn", "--days", "2", *asked, KAFKA=kafka)
        assert done.stderr.startswith(f"touchpoint: {told}")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    for asked in ([], ["none.jsonl", "--from-kafka", "odd"]):
        done = touchpoint("learn", *asked)
        assert done.stderr == "touchpoint: give a history: FILE, or --from-kafka TOPIC\n"
        assert done.returncode == 1


@pytest.mark.full
def test_a_simulated_shop_is_learned_whole(tmp_path: Path) -> None:
    """All stages in order, and what they name. Healthy days give no page, a fault gives one."""
    found = {}
    for name, fault in (
        ("healthy", ()),
        ("broken", ("--fault", FAULT)),
    ):
        file, out = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.yaml"
        made = touchpoint(
            "simulate", "--events", "24000", "--rate", "0.002", "--compress", "20",
            "--start", "2026-01-05T00:00:00Z", *fault,
        )  # fmt: skip
        file.write_text(made.stdout)
        found[name] = touchpoint("learn", str(file), "--out", str(out))
        assert found[name].returncode == 0
    assert "over this history it gives 0 pages" in found["healthy"].stderr
    assert "over this history it gives 1 page: 2026-01-07" in found["broken"].stderr
    learned, shipped = parse((tmp_path / "healthy.yaml").read_text()), parse(SHIPPED_JOURNEY.read_text())
    assert [stage.name for stage in learned.stages] == [
        "store", "web_checkout", "warehouse", "call_queue", "delivery", "feedback", "staff_pulse",
    ]  # fmt: skip
    for field in ("segments", "channels", "partners"):
        assert set(getattr(learned, field)) <= set(getattr(shipped, field))
    assert len(learned.segments) == 3
    for stage in learned.stages:
        known = shipped.stage(stage.name)
        assert (stage.kind, stage.outcomes, set(stage.partners), set(stage.locations)) == (
            (known.kind, known.outcomes, set(known.partners), set(known.locations))
        )
        assert set(stage.reasons) <= set(known.reasons)
    assert learned.journeys is not None
    assert [(one.sender, one.receiver) for one in learned.journeys.edges] == [("warehouse", "delivery")]
    assert {one.name: one.stage for one in learned.journeys.promises} == {
        "delivery_window": "delivery", "courier_call_ahead": "delivery",
    }  # fmt: skip


@pytest.mark.full
def test_january_gives_less_than_a_page_a_day_and_the_jammed_days(tmp_path: Path) -> None:
    """At a real call centre: the days on which by far the fewest calls were answered in 20 s are paged."""
    answered: defaultdict[str, list[bool]] = defaultdict(list)
    file = tmp_path / "january.jsonl"
    with file.open("wb") as lines:
        for event in history.calls():
            lines.write(orjson.dumps(event) + b"\n")
            answered[event["time"][:10]].append(event["outcome"] == "ok" and event["wait_s"] <= 20)
    jammed = {day for day, calls in answered.items() if sum(calls) / len(calls) < 0.40}
    assert jammed == {"1999-01-07", "1999-01-10", "1999-01-13", "1999-01-14"}
    out = tmp_path / "journey.yaml"
    assert touchpoint("learn", str(file), "--out", str(out), "--timezone", "Asia/Jerusalem").returncode == 0
    assert touchpoint("check", str(out)).returncode == 0
    again = touchpoint("backtest", str(file), "--json", JOURNEY=str(out))
    pages = [one for one in orjson.loads(again.stdout)["alerts"] if one["severity"] == "page"]
    assert jammed <= {one["noticed"][:10] for one in pages if one["alert"] == "StageDegraded"}
    assert len(pages) <= 15
    assert len({one["noticed"][:10] for one in pages}) <= 12
