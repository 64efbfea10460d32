"""Rounds of the soak: a fault at a random moment under load, and what it means to survive it."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.kafka.kafka import KafkaNode
from monitor.counting.staff import MIN_GROUP
from tests.kit.brokers import Node
from tests.kit.polling import until
from tests.soak import account, events
from tests.soak.fleet import Fleet, InexactError, LoadProcess, Offsets, Say, SoakError, WorkerInstance
from tests.soak.machine import Network

SURVIVE_S = 150.0
"""Recovery takes some 10 s: 6 s of them the session of the dead. The watchdog of a
stuck worker takes 60 s."""

WORKERS = 2

KILL = "kill -9 of a worker"

KILLS_PER_MINUTE = 1.85
"""55 in half an hour; at least 50 are promised."""


@dataclass(slots=True)
class Tally:
    """How often a fault was injected and survived."""

    injected: int = 0
    rounds: int = 0
    survived: int = 0
    worst_s: float = 0.0


@dataclass(frozen=True)
class Brokers:
    """All of them as one; each, and the network between them, where there are three."""

    node: Node
    nodes: Sequence[KafkaNode] = ()
    network: Network | None = None


class Rounds:
    """Injects faults and checks after each that the workers get back to exact windows."""

    harmless: frozenset[str] = frozenset()
    """Faults that may end no worker."""

    @property
    def injectors(self) -> Mapping[str, Callable[[], int]]:
        """The faults by name: each returns how often it struck."""
        raise NotImplementedError

    def __init__(
        self,
        brokers: Brokers,
        fleet: Fleet,
        load: LoadProcess,
        directory: Path,
        say: Say,
        seed: int,
        *,
        short: bool,
    ) -> None:
        self._node, self._nodes, self._network = brokers.node, brokers.nodes, brokers.network
        self._fleet, self._load, self._directory = fleet, load, directory
        self.letters_before: list[account.Ends] = []
        """Where the dead letters of a topic ended when it was deleted."""
        self._say = say
        self._rng = random.Random(seed)
        self.expected = account.Expected(seed)
        self._short = short
        self._version = events.BASE
        self._since_s = 0.0
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
        self._load.ask("poison")
        before = self._fleet.restarts
        try:
            self._since_s = time.monotonic()
            tally.injected += self.injectors[name]()
            seconds = self._recovered(name)
            self._compare(name)
            if name in self.harmless and self._fleet.restarts != before:
                raise SoakError("a worker ended of it")
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
        journey = events.journey(self._version)
        wanted, staff = account.windows_wanted(journey, panes), account.staff_stages(journey)
        places = Counter(stage for stage, _ in {place[:2] for place in panes} if stage in staff)
        wrong: list[str] = []

        def agree() -> bool:
            scrapes = self._fleet.scrapes() if self._fleet.are_ready() else None
            if scrapes is None:
                return False
            shown = account.windows_shown(scrapes)
            wrong[:] = [
                f"{' '.join(cell)}: published {wanted[cell]}, shown {shown[cell]}"
                for cell in sorted(wanted.keys() | shown.keys())
                if not 0 <= wanted[cell] - shown[cell] <= 2 * (MIN_GROUP - 1) * places[cell[1]]
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

    def _still_run(self, worker: WorkerInstance) -> None:
        if worker not in self._fleet.workers or worker.code is not None:
            raise SoakError(f"a worker ended by itself: {worker.last_line()}")

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
