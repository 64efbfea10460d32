"""Static members on Apache Kafka: a restarted worker has its partitions back, the others never notice."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest

from deploy.kafka.kafka import KafkaNode
from streams.demo.child import free_port
from streams.kafka.groups import NameTakenError, StaticName
from tests.kit.brokers import running
from tests.kit.members import coordinator
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess
from tests.system.test_topics import add_partitions, judged, owned, publish
from tests.system.test_worker import TOPIC

pytestmark = pytest.mark.full

SESSION_S = 90
"""Much longer than a restart takes on any machine: who waits for it is seen."""


class Fleet:
    """Workers with a name and an address of their own, which can be killed and restarted."""

    def __init__(
        self, kafka: str, directory: Path, stack: ExitStack, count: int = 2, **settings: str
    ) -> None:
        self._stack = stack
        self._settings = [
            {
                "KAFKA": kafka,
                "HTTP": f"127.0.0.1:{free_port()}",
                "STATE_DIR": str(directory / str(number)),
                "SESSION_TIMEOUT_S": str(SESSION_S),
                "INSTANCE_ID": f"worker-{number}",
                **settings,
            }
            for number in range(count)
        ]
        self.workers = [self.begin(number) for number in range(count)]
        for worker in self.workers:
            worker.ready()

    def begin(self, number: int, **changed: str) -> WorkerProcess:
        """Start a worker with the settings of that number, whether or not one runs with them."""
        return self._stack.enter_context(WorkerProcess(**self._settings[number] | changed))

    def restart(self, number: int, how: signal.Signals, **changed: str) -> None:
        """End a worker and start it again at once."""
        self.workers[number].end(how)
        self.workers[number] = self.begin(number, **changed)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[str, Fleet]]:
    """Two workers that share all partitions."""
    with running(KafkaNode(tmp_path / "kafka")) as node, ExitStack() as stack:
        fleet = Fleet(node.bootstrap, tmp_path, stack)
        until(lambda: owned(*fleet.workers) == 32, "all partitions owned")
        yield node.bootstrap, fleet


def test_a_killed_worker_is_back_before_its_session_ends(fleet: tuple[str, Fleet]) -> None:
    """Also when it is killed again while it recovers; the other one is ready all the time."""
    kafka, workers = fleet
    publish(kafka, range(400), 4)
    until(lambda: judged(*workers.workers) == 400, "counted")
    before = [owned(one) for one in workers.workers]
    other = workers.workers[1]
    workers.restart(0, signal.SIGKILL)
    until(lambda: workers.workers[0].json("/api/stages")["problems"], "recovering")
    workers.restart(0, signal.SIGKILL)
    publish(kafka, range(400, 800), 4)

    def is_back() -> bool:
        assert other.is_ready()
        return workers.workers[0].is_ready()

    until(is_back, "back", SESSION_S / 2)
    assert [owned(one) for one in workers.workers] == before
    until(lambda: judged(*workers.workers) == 800, "counted")


def test_a_worker_at_another_address_joins_anew(fleet: tuple[str, Fleet]) -> None:
    """The others must learn where it answers, so the group shares out its partitions again."""
    _, workers = fleet
    workers.restart(0, signal.SIGTERM, HTTP=f"127.0.0.1:{free_port()}")
    until(lambda: owned(*workers.workers) == 32, "all partitions owned", SESSION_S / 2)


def test_partitions_added_are_counted_by_static_members(fleet: tuple[str, Fleet]) -> None:
    """Their former assignment lacks the new ones, so they join anew."""
    kafka, workers = fleet
    add_partitions(kafka, TOPIC, 8)
    publish(kafka, range(800), 8)
    until(lambda: owned(*workers.workers) == 36, "all 36 partitions owned", SESSION_S)
    until(lambda: judged(*workers.workers) == 800, "counted")


def test_a_name_taken_by_another_worker_ends_the_first(fleet: tuple[str, Fleet], tmp_path: Path) -> None:
    """It says in one line which setting to change; the other has the partitions, and nothing counts twice."""
    kafka, workers = fleet
    publish(kafka, range(400), 4)
    until(lambda: judged(*workers.workers) == 400, "counted")
    first, neighbour = workers.workers
    place = {"HTTP": f"127.0.0.1:{free_port()}", "STATE_DIR": str(tmp_path / "other")}
    second = workers.begin(0, **place)
    code, said = first.ended(SESSION_S)
    assert code == 1
    assert said.splitlines()[1:] == [
        "touchpoint: the worker cannot join its group: another worker of the group touchpoint-monitor has the"
        " same TOUCHPOINT_INSTANCE_ID, worker-0; each needs one of its own"
    ]
    publish(kafka, range(400, 800), 4)
    until(lambda: owned(second, neighbour) == 32, "all partitions owned", SESSION_S)
    until(lambda: judged(second, neighbour) == 800, "counted", SESSION_S)
    assert second.process.poll() is None


def test_a_worker_that_outslept_its_session_joins_again(fleet: tuple[str, Fleet]) -> None:
    """Kafka does not know it any more, but nobody has taken its name."""
    _, workers = fleet
    workers.restart(0, signal.SIGTERM, SESSION_TIMEOUT_S="6")
    sleeper, other = workers.workers
    sleeper.ready()
    sleeper.process.send_signal(signal.SIGSTOP)
    until(lambda: owned(other) == 32, "the other has all partitions", SESSION_S)
    sleeper.process.send_signal(signal.SIGCONT)

    def are_shared() -> bool:
        assert sleeper.process.poll() is None, "it ended"
        try:
            return 0 < owned(sleeper) == 32 - owned(other)
        except OSError:  # a connection of the time it slept
            return False

    until(are_shared, "shared again", SESSION_S)


async def _join_and_leave(kafka: str) -> None:
    """As members of a group do: one joins, another takes its name and leaves, the first tries again."""

    def join(member_id: str) -> JoinGroupRequest:
        return JoinGroupRequest("group", 60_000, 60_000, member_id, "worker-0", "consumer", [("one", b"")])

    async with coordinator(kafka, "group") as send, asyncio.timeout(60):
        first = StaticName("worker-0", "group", send)
        while (joined := await first.send(join(""), "")).error_code:
            pass  # it does not know yet that it keeps the group
        other = await send(join(""))
        with pytest.raises(NameTakenError):
            await first.send(join(joined.member_id), joined.member_id)
        await send(LeaveGroupRequest("group", other.member_id))
        with pytest.raises(NameTakenError):
            await first.send(join(""), "")


def test_a_member_whose_name_was_taken_stays_away(tmp_path: Path) -> None:
    """Also when the other has left for a moment: it does so where it answers at another address."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        asyncio.run(_join_and_leave(node.bootstrap))
