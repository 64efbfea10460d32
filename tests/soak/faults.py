"""The faults, one after another at random moments under load, and what it means to survive one."""

import contextlib
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.kafka.topics import changelog_topic
from tests.kit.brokers import Node
from tests.kit.polling import until
from tests.soak import account, events, kafka_configs, machine
from tests.soak.fleet import Fleet, InexactError, LoadProcess, Offsets, Say, SoakError, WorkerInstance

SURVIVE_S = 150.0
"""Recovery takes some 10 s: 6 s of them the session of the dead. The watchdog of a
stuck worker takes 60 s."""

ASLEEP_S = 10.0
"""Beyond the session of 6 s, so that another worker has taken over."""

WORKERS = 2

KILL = "kill -9 of a worker"
STOP = "graceful stop, restart"
SCALE = "scale 1 -> 3 -> 1"
SLEEP = "SIGSTOP beyond session, SIGCONT"
BROKER_STOP = "broker stopped, started"
BROKER_KILL = "broker kill -9, restart"
CHANGELOG = "changelog sends refused"
SLOW = "slow producer"
DISK = "full disk of the state directory"
CLOCK = "clock back an hour"
JOURNEY = "changed journey file"

SLOW_BYTES_PER_S, SHORT_SLOW_BYTES_PER_S = (600_000, 300_000, 100_000, 50_000), (100_000, 50_000)
"""Slower and slower until it shows: what workers write for journeys is little once these take no more steps.
At 15 KB/s the short form waited for minutes, and a worker gave up, as it should, for what it had to write was
never taken."""

SLOW_WITHIN_S = 20.0
"""How long each is tried."""

SLOW_S = 4.0
"""What was published is committed within 2 s; beyond this Kafka answers late."""

BROKER_AWAY_S = 30.0
"""How long the broker is stopped the first time, and at most."""

KILLS_PER_MINUTE = 1.85
"""55 in half an hour; at least 50 are promised."""


@dataclass(slots=True)
class Tally:
    """How often a fault was injected and survived."""

    injected: int = 0
    rounds: int = 0
    survived: int = 0
    worst_s: float = 0.0


class Faults:
    """Injects faults and checks after each that the workers get back to exact windows."""

    def __init__(
        self,
        node: Node,
        fleet: Fleet,
        load: LoadProcess,
        directory: Path,
        say: Say,
        seed: int,
        *,
        short: bool,
    ) -> None:
        self._node, self._fleet, self._load, self._directory = node, fleet, load, directory
        self._say = say
        self._rng = random.Random(seed)
        self.expected = account.Expected(seed)
        self._short = short
        self._version = events.BASE
        self._since_s = 0.0
        self._times: dict[str, Callable[[], int]] = {
            KILL: self._kill,
            STOP: self._stop,
            SCALE: self._scale,
            SLEEP: self._sleep,
            BROKER_STOP: self._stop_broker,
            BROKER_KILL: self._kill_broker,
            CHANGELOG: self._refuse_changelog,
            SLOW: self._slow_producer,
            DISK: self._fill_disk,
            CLOCK: self._jump_back,
            JOURNEY: self._change_journey,
        }
        self.tallies: dict[str, Tally] = {}
        for version in events.VERSIONS:
            self._file(version).write_text(events.journey_text(version))

    def run(self, names: tuple[str, ...], seconds: float) -> None:
        """Each fault once, in random order, then more until the time is up; kills between as often as due."""
        self.tallies = {name: Tally() for name in names}
        started = time.monotonic()
        first = list(names)
        self._rng.shuffle(first)
        name = ""
        with contextlib.suppress(InexactError):
            while first or (not self._short and time.monotonic() - started < seconds):
                kills_due = 0 if self._short else KILLS_PER_MINUTE * (time.monotonic() - started) / 60
                if kills_due > self.tallies[KILL].injected and not (first and name == KILL):
                    name = KILL  # where kills take long, the others still get their turn
                else:
                    name = first.pop() if first else self._rng.choice(names)
                self._round(name)

    def _round(self, name: str) -> None:
        tally = self.tallies[name]
        tally.rounds += 1
        self._run_for(self._rng.uniform(0.5, 2 if self._short else 5))
        try:
            self._since_s = time.monotonic()
            tally.injected += self._times[name]()
            seconds = self._recovered(name)
            self._compare(name)
        except (SoakError, AssertionError) as error:
            self._say(f"{name}: NOT SURVIVED: {error}")
            if isinstance(error, InexactError):
                raise
            self._start_over()
            return
        tally.survived += 1
        tally.worst_s = max(tally.worst_s, seconds)
        self._say(f"{name}: recovered in {seconds:.1f} s")

    # -- surviving -----------------------------------------------------------------------------------

    def _published(self) -> Offsets:
        return self._load.ask("offsets")

    def _recovered(self, name: str) -> float:
        """Wait until all workers are ready and all that was published by now is committed; seconds taken."""
        until(self._fleet.are_ready, f"workers ready after {name}", SURVIVE_S)
        self._committed(self._published())
        return time.monotonic() - self._since_s

    def _committed(self, offsets: Offsets) -> None:
        def reached() -> bool:
            self._fleet.tend()
            return account.committed(self._node.bootstrap, offsets)

        until(reached, "all that was published is committed", SURVIVE_S)

    def _compare(self, name: str) -> None:
        """Hold the load for a moment: the 7d windows must show exactly what was published."""
        offsets = self._load.ask("hold")
        self._committed(offsets)
        file = self._directory / "report.json"
        self._load.ask("report", file=str(file))
        panes = self.expected.panes(account.read_report(file))
        wanted = account.windows_wanted(events.journey(self._version), panes)
        wrong: list[str] = []

        def agree() -> bool:
            scrapes = self._fleet.scrapes() if self._fleet.are_ready() else None
            if scrapes is None:
                return False
            shown = account.windows_shown(scrapes)
            wrong[:] = [
                f"{' '.join(cell)}: published {wanted[cell]}, shown {shown[cell]}"
                for cell in sorted(wanted.keys() | shown.keys())
                if wanted[cell] != shown[cell]
            ]
            return not wrong

        try:
            until(agree, f"windows exact after {name}", 60)
        except AssertionError as error:
            raise InexactError(f"{error}; {len(wrong)} cells differ: {wrong[:5]}") from None
        finally:
            self._load.ask("resume", version=self._version)

    def finish(self, file: Path) -> None:
        """End the load, count the rest, stop all workers in order."""
        self._committed(self._load.ask("hold"))
        self._load.ask("report", file=str(file))
        for worker in list(self._fleet.workers):
            self._fleet.stop(worker)

    def _start_over(self) -> None:
        for worker in list(self._fleet.workers):
            self._fleet.kill(worker)
        self._set_workers(WORKERS)
        self._load.ask("resume", version=self._version)
        until(self._fleet.are_ready, "fresh workers ready", SURVIVE_S)

    # -- faults; each returns how often it struck ----------------------------------------------------

    def _kill(self) -> int:
        """Now and then a second one while the group still recovers."""
        self._fleet.kill(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        if self._short or self._rng.random() < 0.6:
            return 1
        self._run_for(self._rng.uniform(0.2, 8))
        self._since_s = time.monotonic()
        self._fleet.kill(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        return 2

    def _stop(self) -> int:
        self._fleet.stop(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        return 1

    def _scale(self) -> int:
        for workers in (1, 3, 1, WORKERS):
            self._since_s = time.monotonic()
            self._set_workers(workers)
            if workers != WORKERS:
                self._recovered(f"scaling to {workers}")
        return 1

    def _sleep(self) -> int:
        victim = self._rng.choice(self._fleet.workers)
        victim.signal(signal.SIGSTOP)
        self._run_for(ASLEEP_S)
        self._since_s = time.monotonic()
        victim.signal(signal.SIGCONT)
        return 1

    def _stop_broker(self) -> int:
        self._node.stop()
        is_first = not self.tallies[BROKER_STOP].injected
        least_s = BROKER_AWAY_S if is_first else 5
        self._run_for(self._rng.uniform(3, 6) if self._short else self._rng.uniform(least_s, BROKER_AWAY_S))
        self._node.start()
        self._since_s = time.monotonic()
        return 1

    def _kill_broker(self) -> int:
        self._node.kill()
        self._node.start()
        self._since_s = time.monotonic()
        return 1

    def _refuse_changelog(self) -> int:
        """Until workers have ended of it; those that are started again meanwhile end once more."""
        stage = self._rng.choice(events.journey(self._version).stages)
        before = self._fleet.restarts
        with kafka_configs.refused(self._node.bootstrap, changelog_topic(account.GROUP, stage.name)):

            def have_ended() -> bool:
                self._fleet.tend()
                return self._fleet.restarts - before >= WORKERS

            until(have_ended, f"workers end when the changelog of {stage.name} is refused")
            self._run_for(0 if self._short else self._rng.uniform(0, 15))
        self._since_s = time.monotonic()
        return self._fleet.restarts - before

    def _slow_producer(self) -> int:
        """Kafka acknowledges late; workers must neither end nor commit earlier."""
        before = self._fleet.restarts
        for bytes_per_s in SHORT_SLOW_BYTES_PER_S if self._short else SLOW_BYTES_PER_S:
            with kafka_configs.throttled(self._node.bootstrap, bytes_per_s):
                is_slow = self._becomes_slow()
                if is_slow:
                    self._run_for(0 if self._short else self._rng.uniform(10, 30))
            self._since_s = time.monotonic()
            if is_slow:
                break
        else:
            raise SoakError("no throttle of Kafka's made acknowledgements late")
        if self._fleet.restarts != before:
            raise SoakError("a worker ended because Kafka acknowledged late")
        return 1

    def _becomes_slow(self) -> bool:
        ends_s = time.monotonic() + SLOW_WITHIN_S
        while (asked_s := time.monotonic()) < ends_s:
            self._committed(self._published())
            if time.monotonic() - asked_s > SLOW_S:
                return True
        return False

    def _fill_disk(self) -> int:
        """A worker there lives on and can be killed and started again; a new one says what is wrong."""
        with machine.disk(self._directory / "disk") as disk:
            self._fleet.stop(self._rng.choice(self._fleet.workers))
            victim = self._fleet.start(disk.directory / "state")
            until(self._fleet.are_ready, "workers ready, one on the small disk", SURVIVE_S)
            self._still_run(victim)
            disk.fill()
            self._run_for(self._rng.uniform(1, 2 if self._short else 10))
            self._still_run(victim)
            self._since_s = time.monotonic()
            self._fleet.kill(victim)
            victim = self._fleet.start(disk.directory / "state")
            said = self._fleet.start_in_vain(disk.directory / "new")
            if len(said) != 2 or "No space left on device" not in said[-1]:
                raise SoakError(f"a worker on a full disk said: {said}")
            self._recovered(DISK)
            self._still_run(victim)
        return 1

    def _jump_back(self) -> int:
        """One worker's clock, while its events go on; then it is set right."""
        clock = machine.FakedClock(self._directory / "clock")
        self._fleet.stop(self._rng.choice(self._fleet.workers))
        victim = self._fleet.start(environ=clock.environment)
        until(self._fleet.are_ready, "workers ready, one with a faked clock", SURVIVE_S)
        self._still_run(victim)
        until(victim.counted, "the worker with a faked clock counts")  # it goes by the times it has seen
        clock.set("-1h")

        def has_jumped() -> bool:
            at = victim.clock()
            return at is not None and at < datetime.now(UTC) - timedelta(minutes=59)

        until(has_jumped, "the worker's clock has jumped")
        self._run_for(self._rng.uniform(1, 2 if self._short else 20))
        self._recovered(CLOCK)
        self._still_run(victim)
        clock.set("+0")
        self._since_s = time.monotonic()
        self._fleet.stop(victim)
        self._fleet.start()
        return 1

    def _still_run(self, worker: WorkerInstance) -> None:
        if worker not in self._fleet.workers or worker.code is not None:
            raise SoakError(f"a worker ended by itself: {worker.last_line()}")

    def _change_journey(self) -> int:
        """Worker by worker to the next file, under load but for the changed stage; at last the first file."""
        stage = [events.CHANGED_STAGE]
        for version in (*events.VERSIONS[1:], events.BASE):
            self._committed(self._load.ask("hold", stages=stage))
            self._fleet.use_journey(self._file(version))
            if self._short:
                self._set_workers(0)
                self._set_workers(WORKERS)
            for worker in [] if self._short else list(self._fleet.workers):
                self._fleet.stop(worker)
                self._fleet.start()
            self._since_s = time.monotonic()
            self._version = version
            self._recovered(version)
            self._load.ask("resume", stages=stage, version=version)
            self._run_for(self._rng.uniform(0.5, 1 if self._short else 4))
            if not self._short:
                self._compare(version)
        return 1

    def _set_workers(self, count: int) -> None:
        while len(self._fleet.workers) < count:
            self._fleet.start()
        while len(self._fleet.workers) > count:
            self._fleet.stop(self._rng.choice(self._fleet.workers))

    def _file(self, version: str) -> Path:
        return self._directory / f"{version.replace(' ', '-')}.yaml"

    def _run_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds

        def over() -> bool:
            self._fleet.tend()
            return time.monotonic() >= ends

        until(over, "time passes", seconds + 60)
