"""Whichever worker of a group is asked: page and API speak of all of them, and say who did not answer."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.kafka.kafka import KafkaNode
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess
from tests.system.test_topics import publish

BROKERS = [pytest.param("embedded"), pytest.param("apache", marks=pytest.mark.full)]
WAIT_S = 120
EVENTS = 400


def said(worker: WorkerProcess, path: str) -> Any:
    """What it answers."""
    return orjson.loads(worker.get(path))


def checkouts(worker: WorkerProcess) -> int:
    """How many it says were judged."""
    return next(
        int(one["n"]) for one in said(worker, "/api/stages")["stages"] if one["stage"] == "web_checkout"
    )


def whole(worker: WorkerProcess) -> Any:
    """What it says of the stages, once nobody's part is missing: each has 1.5 s to answer."""
    answer = said(worker, "/api/stages")
    return answer if answer["only_part"] is None else None


@pytest.mark.timeout(500)
@pytest.mark.parametrize("broker", BROKERS)
def test_two_workers_answer_as_one(broker: str, tmp_path: Path) -> None:
    """Both speak of all partitions; when one dies the other says whose part is missing, then has it."""
    node: Node = KafkaNode(tmp_path / "kafka") if broker == "apache" else TansuNode()
    with running(node), ExitStack() as stack:
        both = [
            stack.enter_context(WorkerProcess(KAFKA=node.bootstrap, STATE_DIR=str(tmp_path / f"{n}")))
            for n in range(2)
        ]
        until(lambda: all(one.is_ready() for one in both), "both ready", WAIT_S)
        publish(node.bootstrap, range(EVENTS), 4)
        until(lambda: all(checkouts(one) == EVENTS for one in both), "both speak of all events", WAIT_S)
        for one in both:
            answer = until(lambda: whole(one), f"{one.url} has asked the other", WAIT_S)  # noqa: B023
            assert len(answer["workers"]) == 2
            assert answer["partitions"]["owned"] == answer["partitions"]["of"]
        owned = [one.scrape().sum("touchpoint_partitions_owned") for one in both]
        assert sum(owned) == answer["partitions"]["of"] > max(owned)
        victim, survivor = both
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait()
        part = said(survivor, "/api/stages")
        if part["ready"]:  # it may have been told already
            assert victim.url in (part["only_part"] or victim.url)
        until(lambda: checkouts(survivor) == EVENTS, "the survivor has all of it", WAIT_S)
