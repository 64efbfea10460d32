"""Prometheus and Alertmanager beside workers on this machine: loopback only, the shipped configuration.

`make pages` runs both and prints every alert; tests use `Alerting`. Needs Debian's prometheus and
prometheus-alertmanager, or programs of these names on the PATH.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import yaml

from deploy.kafka.kafka import HOST, free_port

HERE = Path(__file__).resolve().parent
TOUCHPOINT = Path(sys.executable).with_name("touchpoint")

START_S = 30
"""Measured: .1 s each. The rest is for a loaded machine."""


class AlertingError(RuntimeError):
    """A program is missing or did not start; one line that names its log."""


class Alerting:
    """Both programs, for a with block; `directory` holds their configuration, data and logs."""

    def __init__(self, directory: Path, journey: Path, workers: Sequence[str], webhook: str) -> None:
        self.directory = directory
        self.prometheus = f"http://{HOST}:{free_port()}"
        self.alertmanager = f"http://{HOST}:{free_port()}"
        self._journey = journey
        self._workers = list(workers)
        self._webhook = webhook
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Alerting":
        self._render()
        try:
            for program, url, options in (
                ("prometheus-alertmanager", self.alertmanager, self._alertmanager_options()),
                ("prometheus", self.prometheus, self._prometheus_options()),
            ):
                self._start(program, url, options)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End what was started here."""
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _render(self) -> None:
        """The shipped files, with the addresses of this machine."""
        made = subprocess.run(  # noqa: S603 - our own command
            [
                str(TOUCHPOINT),
                "render",
                str(self._journey),
                "--out",
                str(self.directory),
                "--webhook",
                self._webhook,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise AlertingError(made.stderr.strip())
        config = yaml.safe_load((HERE / "prometheus" / "prometheus.yaml").read_text())
        config["rule_files"] = [str(self.directory / "deploy/prometheus/touchpoint.rules.yaml")]
        address = self.alertmanager.removeprefix("http://")
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [address]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = self._workers
        (self.directory / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def _prometheus_options(self) -> list[str]:
        return [
            f"--config.file={self.directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}",
            f"--web.listen-address={self.prometheus.removeprefix('http://')}",
            "--web.enable-lifecycle",
            "--rules.alert.resend-delay=5s",  # an alert that Alertmanager did not take is sent again soon
            "--log.level=warn",
        ]

    def _alertmanager_options(self) -> list[str]:
        return [
            f"--config.file={self.directory / 'deploy/alertmanager/alertmanager.yaml'}",
            f"--storage.path={self.directory / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager.removeprefix('http://')}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def _start(self, program: str, url: str, options: list[str]) -> None:
        path = shutil.which(program) or shutil.which(program.removeprefix("prometheus-"))
        if path is None:
            raise AlertingError(f"{program} is not installed; on Debian: apt-get install {program}")
        log = self.directory / f"{program}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([path, *options], stdout=out, stderr=out)  # noqa: S603 - found above
        self._running.append(process)
        ends = time.monotonic() + START_S
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > ends:
                raise AlertingError(f"{program} did not start, see {log}")
            time.sleep(0.05)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """`make pages`: until interrupted."""
    parser = argparse.ArgumentParser(prog="deploy.alerting", description=__doc__)
    parser.add_argument("--journey", type=Path, default=HERE.parent / "monitor" / "journey.yaml")
    parser.add_argument("--worker", action="append", help="HOST:PORT of a worker, repeatable; 127.0.0.1:8080")
    arguments = parser.parse_args()
    address = f"{HOST}:{free_port()}"
    workers = arguments.worker or [f"{HOST}:8080"]
    with tempfile.TemporaryDirectory(prefix="touchpoint-alerting-") as directory:
        try:
            with Alerting(Path(directory), arguments.journey, workers, f"http://{address}") as alerting:
                print(f"Prometheus {alerting.prometheus}  Alertmanager {alerting.alertmanager}", flush=True)
                return subprocess.run([str(TOUCHPOINT), "pages", "--http", address], check=False).returncode  # noqa: S603
        except AlertingError as error:
            print(f"pages: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
