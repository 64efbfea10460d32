"""What happens to workers: they die, stop, sleep, change, and so do the machines under them."""

import signal
from datetime import UTC, datetime, timedelta
from time import monotonic

from tests.kit.polling import until
from tests.soak import events, machine
from tests.soak.fleet import SoakError
from tests.soak.rounds import SURVIVE_S, WORKERS, Rounds

ASLEEP_S = 10.0
"""Beyond the session of 6 s, so that another worker has taken over."""

STOP = "graceful stop, restart"
SCALE = "scale 1 -> 3 -> 1"
SLEEP = "SIGSTOP beyond session, SIGCONT"
DISK = "full disk of the state directory"
CLOCK = "clock back an hour"
JOURNEY = "changed journey file"


class WorkerFaults(Rounds):
    """Each returns how often it struck."""

    def _kill(self) -> int:
        """Now and then a second one while the group still recovers."""
        self._fleet.kill(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        if self._short or self._rng.random() < 0.6:
            return 1
        self._run_for(self._rng.uniform(0.2, 8))
        self._since_s = monotonic()
        self._fleet.kill(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        return 2

    def _stop(self) -> int:
        self._fleet.stop(self._rng.choice(self._fleet.workers))
        self._fleet.start()
        return 1

    def _scale(self) -> int:
        for workers in (1, 3, 1, WORKERS):
            self._since_s = monotonic()
            self._set_workers(workers)
            if workers != WORKERS:
                self._recovered(f"scaling to {workers}")
        return 1

    def _sleep(self) -> int:
        victim = self._rng.choice(self._fleet.workers)
        victim.signal(signal.SIGSTOP)
        self._run_for(ASLEEP_S)
        self._since_s = monotonic()
        victim.signal(signal.SIGCONT)
        return 1

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
            self._since_s = monotonic()
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
        self._since_s = monotonic()
        self._fleet.stop(victim)
        self._fleet.start()
        return 1

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
            self._since_s = monotonic()
            self._version = version
            self._recovered(version)
            self._load.ask("resume", stages=stage, version=version)
            self._run_for(self._rng.uniform(0.5, 1 if self._short else 4))
            if not self._short:
                self._compare(version)
        return 1
