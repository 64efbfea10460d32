"""Prometheus and Alertmanager beside workers on this machine: loopback only, the shipped configuration.

`make pages` runs both and prints every alert; tests use `Alerting`. Needs Debian's prometheus and
prometheus-alertmanager, or programs of these names on the PATH.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import yaml

from streams.demo.child import HOST, free_port

HERE = Path(__file__).resolve().parent
TOUCHPOINT = Path(sys.executable).with_name("touchpoint")

START_S = 30
"""Measured: .1 s each. The rest is for a loaded machine."""


class AlertingError(RuntimeError):
    """A program is missing or did not start; one line that names its log."""


class Alerting:
    """Both programs, for a with block; `directory` holds their configuration, data and logs.

    `token_file` holds what Alertmanager shows to the webhook.
    """

    def __init__(
        self,
        directory: Path,
        journey: Path,
        workers: Sequence[str],
        webhook: str,
        token_file: Path | None = None,
    ) -> None:
        self.directory = directory
        self.prometheus = f"http://{HOST}:{free_port()}"
        self.alertmanager = f"http://{HOST}:{free_port()}"
        self._journey = journey
        self._workers = list(workers)
        self._webhook = ["--webhook", webhook]
        if token_file is not None:
            self._webhook += ["--webhook-token-file", str(token_file)]
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Alerting":
        self._render()
        try:
            self._start(
                "prometheus-alertmanager",
                self.alertmanager,
                "deploy/alertmanager/alertmanager.yaml",
                f"--storage.path={self.directory / 'alertmanager'}",
                "--cluster.listen-address=",
            )
            self._start(
                "prometheus",
                self.prometheus,
                "prometheus.yaml",
                f"--storage.tsdb.path={self.directory / 'prometheus'}",
                "--web.enable-lifecycle",
                "--rules.alert.resend-delay=5s",  # an alert that Alertmanager did not take is sent again soon
            )
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
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
                *self._webhook,
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

    def _start(self, program: str, url: str, config: str, *more: str) -> None:
        options = (
            f"--config.file={self.directory / config}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=warn",
        )
        path = shutil.which(program) or shutil.which(program.removeprefix("prometheus-"))
        if path is None:
            raise AlertingError(f"{program} is not installed; on Debian: apt-get install {program}")
        log = self.directory / f"{program}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([path, *options, *more], stdout=out, stderr=out)  # noqa: S603 - found above
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


def _worker(text: str) -> str:
    """HOST:PORT, also of the address that a worker prints when it starts."""
    address = text.removeprefix("http://").rstrip("/")
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"`{text}` must be HOST:PORT")
    return address


def scraped(workers: Sequence[str]) -> str:
    """What is said at the start: a worker that is not scraped counts partitions that nobody sees."""
    host, _, port = workers[-1].rpartition(":")
    named = " ".join(f"--worker {worker}" for worker in [*workers, f"{host}:{int(port) + 1}"])
    return (
        f"scraping {', '.join(workers)}\n"
        "Every worker must be in this list, or MonitorBlind holds back every other alert. If you start one "
        f'more, end this and name them all: make pages ARGS="{named}"'
    )


def main() -> int:
    """`make pages`: until interrupted."""
    parser = argparse.ArgumentParser(prog="deploy.alerting", description=__doc__)
    parser.add_argument("--journey", type=Path, default=HERE.parent / "monitor" / "journey.yaml")
    parser.add_argument(
        "--worker",
        action="append",
        type=_worker,
        help=f"HOST:PORT of a worker, once for each that runs; {HOST}:8080 unless given",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started ends with it
    address = f"{HOST}:{free_port()}"
    workers = arguments.worker or [f"{HOST}:8080"]
    with tempfile.TemporaryDirectory(prefix="touchpoint-alerting-") as directory:
        try:
            with Alerting(Path(directory), arguments.journey, workers, f"http://{address}") as alerting:
                print(f"Prometheus {alerting.prometheus}  Alertmanager {alerting.alertmanager}")
                print(scraped(workers), flush=True)
                return subprocess.run([str(TOUCHPOINT), "pages", "--http", address], check=False).returncode  # noqa: S603
        except AlertingError as error:
            print(f"pages: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
