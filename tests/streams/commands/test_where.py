"""`touchpoint where` as on-call runs it: what bad encounters have in common, from what Kafka holds."""

import asyncio
import csv
import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from deploy.kafka.kafka import KafkaNode
from streams.demo.child import HOST, free_port
from tests.bench.where import LAST_MINUTE
from tests.kit.brokers import TansuNode, running
from tests.kit.history import DATA
from tests.kit.programs import touchpoint
from tests.kit.shipped import SHIPPED

TOPIC = SHIPPED.stage("web_checkout").topic


Encounter = dict[str, object]


def encounters(now: datetime, bad_partner: str | None) -> Iterator[Encounter]:
    """Two hours, some of it published twice; in the last five minutes 40 % of one partner's fail."""
    random = Random(1)
    for number in range(6000):
        time = now - timedelta(seconds=random.uniform(0, 7200))
        partner = random.choice(["klarna", "paytrail"])
        is_hit = partner == bad_partner and time > now - timedelta(minutes=5)
        event: Encounter = {
            "id": f"{number}",
            "time": time.isoformat(),
            "stage": "web_checkout",
            "outcome": "failed" if random.random() < (0.4 if is_hit else 0.02) else "ok",
            "segment": random.choice(["new", "returning"]),
            "partner": partner,
        }
        yield from [event] * random.choice([1, 1, 1, 2])


async def publish(kafka: str, events: Iterator[Encounter]) -> None:
    """As a service does; and something that no worker would count."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for event in events:
            await producer.send(TOPIC, orjson.dumps(event), str(event["id"]).encode())
        await producer.send_and_wait(TOPIC, b"nonsense")


@pytest.mark.parametrize("partner", ["klarna", None])
def test_the_cause_is_named_or_none_is(partner: str | None) -> None:
    """With its numbers, since when, and where it is not; an experience of which nothing is known says so."""
    with running(TansuNode()) as node:
        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        now = datetime.now(UTC)
        asyncio.run(publish(node.bootstrap, encounters(now, partner)))
        asked = ("where", "web_checkout", "--experience", "checkout_completed")
        done, as_json = (touchpoint(*asked, *more, KAFKA=node.bootstrap) for more in ((), ("--json",)))
    assert (done.returncode, done.stderr) == (0, "")
    found = orjson.loads(as_json.stdout)
    lines = done.stdout.splitlines()
    if partner is None:
        assert found["causes"] == []
        assert lines[1:] == ["  Beyond chance they have nothing in common."]
        return
    cause = found["causes"][0]
    assert cause["where"] == {"partner": "klarna"}
    assert cause["bad"] > 5 * cause["expected"]
    assert abs(datetime.fromisoformat(cause["since"]) - (now - timedelta(minutes=5))) < timedelta(minutes=2)
    (rest,) = cause["not_here"]
    assert rest["without"] == {"partner": "klarna"}
    assert rest["bad"] < 2 * rest["expected"] + 5
    assert found["whole"]["n"] == cause["n"] + rest["n"]
    assert re.fullmatch(
        r"  1\. partner klarna: \d+ of \d+ bad, \S+ were to be expected, since \S+Z", lines[1]
    )
    assert re.fullmatch(r"     Not here: other than partner klarna: \d+ of .* were to be expected", lines[2])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["web_checkou"], "unknown stage `web_checkou`; did you mean `web_checkout`?"),
        (["web_checkout", "--experience", "checkout_complete"], "no experience `checkout_complete`"),
        (["web_checkout", "--last", "0"], "must be a number above 0"),
        (["staff_pulse"], "of what staff answer only sums are shown"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(asked: list[str], said: str) -> None:
    """Before anything is read."""
    done = touchpoint("where", *asked, KAFKA=f"{HOST}:{free_port()}")
    assert done.returncode != 0
    assert said in done.stderr.replace("\n", " ")


def test_no_events_and_no_topic_are_said_in_a_line() -> None:
    """Neither is a cause."""
    with running(TansuNode()) as node:
        done = touchpoint("where", "web_checkout", KAFKA=node.bootstrap)
        assert done.returncode == 1
        assert done.stderr == f"touchpoint: {node.bootstrap} has no topic {TOPIC}\n"
        touchpoint("topics", KAFKA=node.bootstrap)
        done = touchpoint("where", "web_checkout", KAFKA=node.bootstrap)
        assert done.returncode == 0
        assert "checkout_completed: nothing happened before the trouble, or nothing during it" in done.stderr


CALLED = {"cdn": "partner", "bitrate": "channel", "p2p": "segment", "isp": "location"}
"""What a video service tells of a session, and where events have a place for it."""


async def publish_incident(kafka: str, case: str, now: datetime) -> None:
    """A real incident, each session an event: ten minutes before it was noticed and two after."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20) as producer:
        for number, session in enumerate(sessions(case, now)):
            event = {"id": f"{number}", "stage": "web_checkout", **session}
            await producer.send(TOPIC, orjson.dumps(event), b"%d" % number)


def sessions(case: str, now: datetime) -> Iterator[Encounter]:
    """Every session of the case, in the minute in which it was."""
    with gzip.open(DATA / "incident-causes.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["case"] != case or int(row["minute"]) > LAST_MINUTE:
                continue
            time = now + timedelta(minutes=int(row["minute"]) - LAST_MINUTE, seconds=-30)
            told: Encounter = {"time": time.isoformat()}
            told |= {CALLED[name]: row[name] for name in CALLED if row[name]}
            for number in range(int(row["total"])):
                yield {**told, "outcome": "failed" if number < int(row["bad"]) else "ok"}


@pytest.mark.full
@pytest.mark.parametrize("case", ["c036", "c068", "c072"])
def test_the_cause_of_a_real_incident_is_among_those_named(case: str, tmp_path: Path) -> None:
    """From what Apache Kafka holds of it."""
    cases = orjson.loads((DATA / "incident-causes.json").read_bytes())
    (true,) = (one["causes"] for one in cases if one["case"] == case)
    with running(KafkaNode(tmp_path)) as node:
        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        now = datetime.now(UTC)
        asyncio.run(publish_incident(node.bootstrap, case, now))
        last = 2 + (datetime.now(UTC) - now) / timedelta(minutes=1)
        asked = ("where", "web_checkout", "--experience", "checkout_completed", "--json")
        done = touchpoint(*asked, "--last", f"{last}", "--before", "10", KAFKA=node.bootstrap)
    named = [cause["where"] for cause in orjson.loads(done.stdout)["causes"]]
    assert any({CALLED[name]: value for name, value in one.items()} in named for one in true)
