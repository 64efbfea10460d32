"""`/api/stages/<stage>/where`: what bad encounters have in common, or in one line why nobody can say."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError

from monitor.errors import UserError
from streams.settings import Settings
from streams.web import where
from streams.web.where import Causes
from tests.kit.shipped import SHIPPED as JOURNEY


@dataclass
class Record:
    """What is read of one."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Kafka:
    """Two hours of checkouts, of which those with one partner fail since three minutes; counts who reads."""

    fails: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def read(self, topic: str, _: int) -> AsyncGenerator[Any, None]:
        """All of it, in turns, with something that nobody counts."""
        self.asked.append(topic)
        yield Record(b"nonsense")
        for record in _checkouts():
            await asyncio.sleep(0)
            yield record
        if self.fails is not None:
            raise self.fails


def _checkouts() -> Iterator[Record]:
    now = datetime.now(UTC)
    for number in range(1200):
        time = now - timedelta(seconds=6 * number + 3)
        partner = ("klarna", "paytrail")[number % 2]
        event = {
            "id": f"{number}",
            "time": time.isoformat(),
            "stage": "web_checkout",
            "outcome": "failed" if partner == "klarna" and number < 30 else "ok",
            "partner": partner,
        }
        yield Record(orjson.dumps(event))


@pytest.fixture
def kafka() -> Kafka:
    """One that answers; a test may change that."""
    return Kafka()


@pytest.fixture
def causes(kafka: Kafka) -> Causes:
    """Of a worker on it."""
    return Causes(JOURNEY, Settings(), kafka.read)


async def test_the_cause_is_named(causes: Causes, kafka: Kafka) -> None:
    """For programs and in words; every experience of the stage has its answer, or why there is none."""
    answer = await causes.look_up("web_checkout", {})
    told = orjson.loads(answer.body)
    assert (answer.status, told["stage"]) == (200, "web_checkout")
    assert datetime.fromisoformat(told["at"]) - datetime.fromisoformat(told["begin"]) == timedelta(minutes=5)
    found = {one["experience"]: one for one in told["experiences"]}
    assert found.keys() == {one.name for one in JOURNEY.stage("web_checkout").experiences}
    assert found["checkout_completed"]["causes"][0]["where"] == {"partner": "klarna"}
    assert "1. partner klarna: 15 of 25 bad" in found["checkout_completed"]["words"][1]
    assert kafka.asked == [JOURNEY.stage("web_checkout").topic]


async def test_whoever_asks_the_same_meanwhile_is_given_the_same(causes: Causes, kafka: Kafka) -> None:
    """An alert is opened by several people; another span is another question."""
    first, second = await asyncio.gather(*(causes.look_up("web_checkout", {}) for _ in range(2)))
    assert first == second
    assert len(kafka.asked) == 1
    await causes.look_up("web_checkout", {"before": "60"})
    assert len(kafka.asked) == 2


@pytest.mark.parametrize(
    ("stage", "query", "status", "error"),
    [
        ("nowhere", {}, 404, "no such stage"),
        ("staff_pulse", {}, 404, "of what staff answer only sums are shown"),
        ("web_checkout", {"last": "x"}, 400, "numbers of minutes"),
        ("web_checkout", {"last": "nan"}, 400, "above 0"),
        ("web_checkout", {"last": "0"}, 400, "above 0"),
        ("web_checkout", {"before": "inf"}, 400, "at most 1440 minutes"),
        ("web_checkout", {"last": "1", "before": "1440"}, 400, "at most 1440 minutes"),
    ],
)
async def test_what_cannot_be_asked(
    causes: Causes, kafka: Kafka, stage: str, query: dict[str, str], status: int, error: str
) -> None:
    """One line, and Kafka is left alone."""
    answer = await causes.look_up(stage, query)
    assert answer.status == status
    assert error in orjson.loads(answer.body)["error"]
    assert kafka.asked == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("Kafka at k:9092 no longer answers"), "Kafka at k:9092 no longer answers"),
        (KafkaConnectionError("k:9092"), "Kafka cannot be read: KafkaConnectionError"),
    ],
)
async def test_kafka_that_goes_away_is_said_so(
    causes: Causes, kafka: Kafka, error: Exception, said: str
) -> None:
    """And asked anew when somebody asks again."""
    kafka.fails = error
    answer = await causes.look_up("web_checkout", {})
    assert (answer.status, orjson.loads(answer.body)) == (503, {"error": said})
    kafka.fails = None
    assert (await causes.look_up("web_checkout", {})).status == 200


async def test_no_more_is_read_than_a_worker_may(causes: Causes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has events to count; what to do instead is said."""
    monkeypatch.setattr(where, "MOST_EVENTS", 1000)
    answer = await causes.look_up("web_checkout", {})
    assert answer.status == 413
    assert orjson.loads(answer.body)["error"] == (
        "there are more than 1,000 events in this time: ask for less with `before`, or "
        "`touchpoint where web_checkout`"
    )
    assert (await causes.look_up("web_checkout", {"before": "30"})).status == 200
