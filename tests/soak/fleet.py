"""The soak's processes: workers under a supervisor that starts again what ended, and the load."""

import contextlib
import json
import re
import select
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from streams.demo.child import HOST, free_port
from tests.kit.polling import until
from tests.kit.programs import ROOT, TOUCHPOINT, Samples, environment

STOP_S = 60
"""A graceful stop may take 20 s (`streams.worker.STOP_S`); more is a hang."""

ANSWER_S = 180
"""The load answers a hold once everything under way is acknowledged: after a broker's absence too."""

MOST_WORKERS = 5
"""At one time: three, and one more that must not start, beside one that is being stopped."""

Say = Callable[[str], None]


class SoakError(Exception):
    """The soak cannot go on, or a fault was not survived."""


def _ending_with_us(command: Sequence[str]) -> list[str]:
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *command]


class InexactError(SoakError):
    """The counts are wrong: what comes after can no longer tell anything."""


class WorkerInstance:
    """One `touchpoint worker` process; what it says goes to a file."""

    def __init__(self, log: Path, settings: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._log = log
        self.address = settings["HTTP"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                _ending_with_us([TOUCHPOINT, "worker"]),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment(**settings), **environ},
            )
        self.was_ready = False

    @property
    def code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code; killed when it takes longer than `STOP_S`."""
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise SoakError(f"a worker did not stop within {STOP_S} s, see {self._log}") from None

    def last_line(self) -> str:
        """The last thing it said."""
        return (self.said() or ["(nothing)"])[-1]

    def said(self) -> list[str]:
        """All that it said, in lines."""
        return self._log.read_text(errors="replace").splitlines()

    @property
    def peak_bytes(self) -> int:
        """The most memory it has had; 0 once it has ended."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                return int(found[1]) * 1024
        return 0

    def counted(self) -> float:
        """Events it has counted since its start."""
        scrape = self.get("/metrics")
        return 0 if scrape is None else Samples(scrape).sum("touchpoint_records_total", result="counted")

    def clock(self) -> datetime | None:
        """The time it has; None when it does not answer."""
        answer = self.get("/api/stages")
        return None if answer is None else datetime.fromisoformat(json.loads(answer)["at"])

    def get(self, path: str) -> str | None:
        """The body of a GET; None when it does not answer, or says no."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        return None


class Fleet:
    """The workers that should run. `tend` does what systemd would: starts again what ended by itself."""

    def __init__(self, directory: Path, say: Say, **settings: str) -> None:
        self._directory = directory
        self._say = say
        self._settings = {"SESSION_TIMEOUT_S": "6", **settings}
        self._started = 0
        self.addresses = [f"{HOST}:{free_port()}" for _ in range(MOST_WORKERS)]
        """Where workers answer, each at one that no other has at the time."""
        self.workers: list[WorkerInstance] = []
        self.restarts = 0
        self.peak_bytes = 0
        """The most memory that any worker has had."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.code is None:
                worker.signal(signal.SIGKILL)
                worker.wait()

    def use_journey(self, file: Path) -> None:
        """The journey file of workers started from now on."""
        self._settings["JOURNEY"] = str(file)

    def start(self, state: Path | None = None, environ: Mapping[str, str] | None = None) -> WorkerInstance:
        """One more worker, with a state directory of its own unless told otherwise."""
        self._started += 1
        state = state or self._directory / f"state-{self._started}"
        log = self._directory / f"worker-{self._started}.log"
        taken = {worker.address for worker in self.workers}
        address = next(one for one in self.addresses if one not in taken)
        settings = {**self._settings, "HTTP": address, "STATE_DIR": str(state)}
        worker = WorkerInstance(log, settings, environ or {})
        self.workers.append(worker)
        return worker

    def start_in_vain(self, state: Path) -> list[str]:
        """Start one that must end with 1 by itself; what it said."""
        worker = self.start(state)
        self.workers.remove(worker)
        if (code := worker.wait()) != 1:
            raise SoakError(f"a worker that cannot start ended with {code}: {worker.last_line()}")
        return worker.said()

    def kill(self, worker: WorkerInstance) -> None:
        """kill -9."""
        self.workers.remove(worker)
        worker.signal(signal.SIGKILL)
        worker.wait()

    def stop(self, worker: WorkerInstance) -> None:
        """Graceful; SoakError when it says that it failed."""
        self.workers.remove(worker)
        worker.signal(signal.SIGTERM)
        if code := worker.wait():
            raise SoakError(f"a worker asked to stop ended with {code}: {worker.last_line()}")

    def tend(self) -> None:
        """Start again what ended by itself, which is never a success."""
        for worker in list(self.workers):
            self.peak_bytes = max(self.peak_bytes, worker.peak_bytes)
            if worker.code == 0:
                raise SoakError(f"a worker that nobody stopped ended with 0: {worker.last_line()}")
            if worker.code is not None:
                self.restarts += 1
                self._say(f"  restarted a worker that ended with {worker.code}: {worker.last_line()}")
                self.workers.remove(worker)
                self.start()

    def are_ready(self) -> bool:
        """Whether every worker says it is ready."""
        self.tend()
        return all(worker.get("/readyz") == "ready\n" for worker in self.workers)

    def scrapes(self) -> list[str] | None:
        """What Prometheus would see of every worker; None when one does not answer."""
        scraped = [worker.get("/metrics") for worker in self.workers]
        answered = [text for text in scraped if text is not None]
        return answered if len(answered) == len(scraped) else None


Offsets = dict[tuple[str, int], int]
"""Next offset by topic and partition."""


class LoadProcess:
    """`tests.soak.load` and its commands."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                _ending_with_us([sys.executable, "-m", "tests.soak.load", *arguments]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                cwd=ROOT,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes():
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        return stdin, stdout

    def ask(self, do: str, **arguments: Any) -> Offsets:
        """Give a command and wait for its answer: what every partition holds."""
        stdin, stdout = self._pipes()
        try:
            stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise SoakError(f"the load has ended, see {self._log}") from None
        until(lambda: select.select([stdout], [], [], 0.2)[0], f"the load answers {do}", ANSWER_S)
        answer = stdout.readline()
        if not answer:
            raise SoakError(f"the load has ended: {self._log.read_text()[-1000:]}")
        return {(topic, partition): offset for topic, partition, offset in json.loads(answer)["offsets"]}
