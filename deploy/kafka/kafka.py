"""One Apache Kafka node from Maven Central's jars: loopback only, no Docker, its data in one directory.

`python deploy/kafka/kafka.py run` starts one by hand, tests use `KafkaNode`. Needs Java 17; mvn once.
"""

import argparse
import fcntl
import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import UserError
from streams.demo.child import HOST, Child, free_port, port_taken

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "kafka"

START_SECONDS = 60
"""Measured on two cores: 3 s, 4 s with formatting or after a kill. The rest is for a loaded machine."""

STOP_SECONDS = 30
"""Measured: under 1 s. A slower node is killed, which its data survives like a crash."""

JAVA_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Compiled once, and not again for speed: a start takes 3.7 s of a core, not 5.9. Of a quarter of a million
records, too, such a broker takes each in less time."""

CLASSES = CACHE / "classes.jsa"
"""Kafka's classes as Java has read and checked them once: a start takes 3.6 s of a slow core, not 5.7.
Another Java passes over it."""

QUIET = "-Xlog:cds=off", "-Xlog:cds+dynamic=off"
"""Not a word of archives, nor of their want."""

CLUSTER_ID = "dG91Y2hwb2ludC1rYWZrYQ"
"""Any 16 bytes in base64; these say touchpoint-kafka. Fixed, since no two nodes share a directory."""

STARTED = "Kafka Server started"
"""What the node logs once it answers clients, whatever its listeners' security is."""

PLAINTEXT = "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n%throwable{20}
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


class KafkaNodeError(UserError):
    """Kafka could not be fetched, started or formatted; the message is one line and names the log."""


def fetch() -> Path:
    """The directory of the jars; they are downloaded when missing or when pom.xml has changed."""
    pom, jars, stamp, log = HERE / "pom.xml", CACHE / "jars", CACHE / "jars.stamp", CACHE / "fetch.log"
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs side by side would copy into each other
        if not stamp.exists() or stamp.read_text() != wanted:
            mvn = _program("mvn", "maven")
            stamp.unlink(missing_ok=True)
            CLASSES.unlink(missing_ok=True)
            shutil.rmtree(jars, ignore_errors=True)
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
            if _run([mvn, "-q", "-B", "-f", str(pom), *goal], log):
                raise KafkaNodeError(f"mvn could not fetch Apache Kafka, see {log}")
            stamp.write_text(wanted)
        if not CLASSES.exists():
            _archive(jars)
    return jars


def _archive(jars: Path) -> None:
    """Write `CLASSES` at the end of a node's first start."""
    with tempfile.TemporaryDirectory() as directory:
        node = KafkaNode(Path(directory))
        node.launch(jars, f"-XX:ArchiveClassesAtExit={CLASSES}")
        node.await_started()
        node.stop()
    CLASSES.touch()  # a Java that writes none is not asked again


@dataclass(frozen=True)
class Place:
    """Where a node runs: its id in the cluster, its address, and what its command begins with to be there."""

    node_id: int = 1
    host: str = HOST
    enter: tuple[str, ...] = ()


class KafkaNode(Child):
    """A broker and controller in one process; stop or kill it, start it again: same port, same data.

    `config` adds or replaces lines of server.properties. Clients come in through the listener CLIENT,
    the node reaches itself through INTERNAL: securing clients takes `listener.security.protocol.map`
    and `listener.name.client.…`; `scram` are users and passwords for SCRAM-SHA-512, made when formatting.
    Stopped in order its next start is quick; killed, acknowledged records are still there after it.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        config: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(STOP_SECONDS)
        self._place = place or Place()
        self.directory = directory.resolve()
        self.port = port or free_port()
        self.log = self.directory / "kafka.log"
        self._config = dict(config or {})
        self._scram = dict(scram or {})
        self._internal_port = free_port()
        self._controller_port = free_port()
        self._before = 0
        self.voter = f"{self._place.node_id}@{self._place.host}:{self._controller_port}"

    def join(self, voters: Sequence[str]) -> None:
        """Be one of these nodes, which elect a leader among them; before the first start."""
        self._config["controller.quorum.voters"] = ",".join(voters)

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""
        return f"{self._place.host}:{self.port}"

    def start(self) -> None:
        """Returns when the node serves clients."""
        self.launch()
        self.await_started()

    def launch(self, jars: Path | None = None, classes: str = f"-XX:SharedArchiveFile={CLASSES}") -> None:
        """Start it; one of several serves clients only once most of them are there."""
        if self.pid is not None:
            raise KafkaNodeError(f"Apache Kafka already runs on {self.bootstrap}, see {self.log}")
        java = _program("java", "openjdk-17-jre-headless")
        jars = jars or fetch()
        if not self._place.enter and (why := port_taken(self.port)):  # else nobody else is there
            raise KafkaNodeError(f"Apache Kafka cannot listen on {self.bootstrap}: {why}")
        properties = self._write_config()
        logging = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        command = [java, *JAVA_OPTIONS, *QUIET, classes, logging, "-cp", f"{jars}/*"]
        if not (self.directory / "data" / "meta.properties").exists():
            tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            for user, password in self._scram.items():
                tool += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
            if _run([*command, *tool], self.log):
                raise KafkaNodeError(f"Apache Kafka could not format {self.directory}, see {self.log}")
        with self.log.open("ab") as log:
            self._before = log.tell()
            started = [*self._place.enter, *command, "kafka.Kafka", str(properties)]
            self._begin(started, log, orphaned="TERM", directory=self.directory)

    def await_started(self) -> None:
        """Returns when the node serves clients; it is killed when it does not."""
        try:
            self._wait_until_started(self._before)
        except BaseException:
            self.kill()
            raise

    def check(self) -> None:
        """An error when the node has ended by itself."""
        if self._has_ended:
            self._gone()
            raise KafkaNodeError(f"Apache Kafka has ended, see {self.log}")

    def _write_config(self) -> Path:
        client, internal = (
            f"CLIENT://{self.bootstrap}",
            f"INTERNAL://{self._place.host}:{self._internal_port}",
        )
        controller = f"{self._place.host}:{self._controller_port}"
        config = {
            "process.roles": "broker,controller",
            "node.id": str(self._place.node_id),
            "controller.quorum.voters": self.voter,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{client},{internal},CONTROLLER://{controller}",
            "advertised.listeners": f"{client},{internal}",
            "listener.security.protocol.map": PLAINTEXT,
            "inter.broker.listener.name": "INTERNAL",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",  # 3000 waits for a crowd of members
            "offsets.topic.num.partitions": "4",  # 50 would be created at the first commit
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "2000",  # a killed node waits this out before it starts again
            "log.cleaner.dedupe.buffer.size": "16777216",  # 128 MB would be a third of the heap
            **self._config,
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "log4j2.properties").write_text(LOGGING)
        properties = self.directory / "server.properties"
        properties.touch(mode=0o600)  # `config` may carry passwords
        escaped = {key: value.replace("\\", "\\\\").replace("\n", "\\n") for key, value in config.items()}
        properties.write_text("".join(f"{key}={value}\n" for key, value in escaped.items()))
        return properties

    def _wait_until_started(self, before: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(before)
                if STARTED.encode() in log.read():
                    return
            if self._has_ended:
                raise KafkaNodeError(f"Apache Kafka ended while starting, see {self.log}")
            time.sleep(0.05)
        raise KafkaNodeError(f"Apache Kafka did not start within {START_SECONDS} s, see {self.log}")


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise KafkaNodeError(f"{name} is not on the PATH; Debian has it in the package {package}")
    return path


def _run(command: list[str], log: Path) -> int:
    with log.open("wb") as out:
        done = subprocess.run(  # noqa: S603 - no shell, every argument is ours
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False
        )
    return done.returncode


def _serve(directory: Path, port: int | None) -> None:
    """Runs a node until SIGINT or SIGTERM."""
    stopping = {signal.SIGINT, signal.SIGTERM}
    node = KafkaNode(directory, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a start as Ctrl-C does
    try:
        node.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
        print(node.bootstrap, flush=True)
        while signal.sigtimedwait(stopping, 0.5) is None:
            node.check()
    except KeyboardInterrupt:
        pass
    finally:
        node.stop()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="kafka.py", description="Apache Kafka without Docker.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the jars into .cache/kafka")
    run = commands.add_parser("run", help="run a node until Ctrl-C; prints host:port when ready")
    run.add_argument("--port", type=int, help="port on loopback (default: a free one)")
    run.add_argument("--dir", type=Path, help="keeps data and log (default: a temporary directory)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "fetch":
            print(fetch())
        elif options.dir:
            _serve(options.dir, options.port)
        else:
            directory = Path(tempfile.mkdtemp(prefix="kafka-"))
            _serve(directory, options.port)
            shutil.rmtree(directory)  # not after an error: it has the log
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
