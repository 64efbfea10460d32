"""What is given up in the middle of its first questions leaves no connection open, and nothing to say."""

import asyncio
import gc
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from monitor.errors import UserError
from streams.engine import cluster
from streams.engine.cluster import Cluster
from streams.kafka import topics
from streams.kafka.topics import connected
from streams.settings import Settings
from tests.kit.brokers import TansuNode, running


@pytest.fixture(scope="module")
def broker() -> Iterator[TansuNode]:
    """A broker behind the one below."""
    with running(TansuNode()) as node:
        yield node


class Mute:
    """In front of a broker: hands on the first question of each connection, and is silent from then on."""

    def __init__(self, bootstrap: str) -> None:
        self._host, _, self._port = bootstrap.rpartition(":")
        self.address = ""
        self.asked = asyncio.Event()
        self.ended: list[asyncio.Event] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.ended.append(ended := asyncio.Event())
        answers, questions = await asyncio.open_connection(self._host, int(self._port))
        try:
            questions.write(await _framed(reader))
            writer.write(await _framed(answers))
            await _framed(reader)
            self.asked.set()
            await reader.read()
        finally:
            ended.set()
            questions.close()
            writer.close()


async def _framed(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size))


@pytest.fixture
async def mute(broker: TansuNode) -> AsyncIterator[Mute]:
    """Listening."""
    front = Mute(broker.bootstrap)
    async with await asyncio.start_server(front.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        front.address = f"{host}:{port}"
        yield front


async def knocked(address: str) -> None:
    """The watch over Kafka, when the old connection says nothing."""
    assert not await Cluster(Settings(kafka=address), lambda: None)._knocked()


async def commanded(address: str) -> None:
    """What every command and worker begins with."""
    with pytest.raises(UserError, match="does not answer"):
        async with connected(Settings(kafka=address, kafka_timeout_s=0.5)):
            pass


def given_up(
    make: type[AIOKafkaClient | AIOKafkaProducer | AIOKafkaConsumer],
) -> Callable[[str], Awaitable[None]]:
    """Of Kafka's own: begun, and cancelled once the question is out."""

    async def work(address: str) -> None:
        one = make(bootstrap_servers=address)
        await (one.bootstrap() if isinstance(one, AIOKafkaClient) else one.start())

    return work


@pytest.mark.parametrize(
    "work",
    [knocked, commanded, given_up(AIOKafkaClient), given_up(AIOKafkaProducer), given_up(AIOKafkaConsumer)],
)
async def test_a_question_given_up_closes_its_connection(
    mute: Mute,
    work: Callable[[str], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By itself, or because whoever asks is cancelled."""
    monkeypatch.setattr(cluster, "ASK_S", 0.5)
    monkeypatch.setattr(topics, "MIN_ATTEMPT_S", 0.1)
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.ERROR):
        warnings.simplefilter("always")
        working = asyncio.ensure_future(work(mute.address))
        await mute.asked.wait()
        if work not in (knocked, commanded):
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        del working
        gc.collect()
        async with asyncio.timeout(60):
            for ended in mute.ended:
                await ended.wait()
    assert [str(one.message) for one in warned if "AIOKafkaConnection" in str(one.message)] == []
    assert [
        record.message for record in caplog.records if "Unclosed AIOKafkaConnection" in record.message
    ] == []
