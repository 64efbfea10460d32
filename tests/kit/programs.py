"""The product's own command as processes: what a user starts, tests start."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.kit.polling import until

ROOT = Path(__file__).parents[2]
"""The repository."""

TOUCHPOINT = str(Path(sys.executable).parent / "touchpoint")

Labels = Mapping[str, str]


def environment(**settings: str) -> dict[str, str]:
    """This environment without any TOUCHPOINT_* but the given ones, e.g. KAFKA="127.0.0.1:9092"."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHPOINT_")}
    return kept | {f"TOUCHPOINT_{name}": value for name, value in settings.items()}


def touchpoint(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return touchpoint_reading(b"", *arguments, **settings)


def touchpoint_reading(stdin: bytes, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with this standard input."""
    done = subprocess.run(
        [TOUCHPOINT, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**settings),
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Samples:
    """One scrape. Parsed is only what is asked for: all of it takes a quarter of a second of a core."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def _of(self, name: str) -> Iterator[Sample]:
        text = "\n".join([line for line in self._lines if line.startswith(name)])
        for family in text_string_to_metric_families(text):
            yield from (sample for sample in family.samples if sample.name == name)

    def sum(self, name: str, **labels: str) -> float:
        """Sum of all samples of that name with these labels."""
        return sum(one.value for one in self._of(name) if labels.items() <= one.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        """Label sets of all samples of that name."""
        return [one.labels for one in self._of(name)]


class WorkerProcess:
    """A `touchpoint worker` on a free port, stopped at the end of the with block."""

    def __init__(self, arguments: Sequence[str] = ("worker",), **settings: str) -> None:
        self._arguments = arguments
        self._settings = {"HTTP": "127.0.0.1:0", "SESSION_TIMEOUT_S": "6", **settings}
        self.url = ""

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()  # a pipe that nobody reads would stop who says much
        self.process = subprocess.Popen(
            [TOUCHPOINT, *self._arguments],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(**self._settings),
        )
        try:
            until(lambda: self._listens() or self.process.poll() is not None, "it listens")
            assert self.url, "it did not start"
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _listens(self) -> bool:
        found = re.search(r"https?://[^/\s]+", self.said())
        self.url = found[0] if found else ""
        return bool(found)

    def said(self) -> str:
        """What it has written to standard error so far."""
        descriptor = self._errors.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # pytest shows it where a test has failed
        print(f"touchpoint {' '.join(self._arguments)} at {self.url} said:\n{self.said()}", file=sys.stderr)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def end(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 60) -> tuple[int, str]:
        """Send a signal, wait; exit code and what was said on standard error since the start."""
        self.process.send_signal(how)
        return self.ended(timeout_s)

    def ended(self, timeout_s: float = 60) -> tuple[int, str]:
        """Wait until it ends by itself; exit code and what was said on standard error since the start."""
        return self.process.wait(timeout_s), self.said()

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:  # noqa: S310 - our own loopback
            body: bytes = answer.read()
            return body

    def json(self, path: str) -> Any:
        """The JSON of a GET."""
        return orjson.loads(self.get(path))

    def scrape(self) -> Samples:
        """What Prometheus would see."""
        return Samples(self.get("/metrics").decode())

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return self.get("/readyz") == b"ready\n"
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def ready(self, deadline_s: float = 60) -> Self:
        """Wait until it is ready."""
        until(self.is_ready, "worker ready", deadline_s)
        return self


def counted(*workers: WorkerProcess) -> float:
    """Events counted, over workers."""
    return sum(worker.scrape().sum("touchpoint_records_total", result="counted") for worker in workers)
