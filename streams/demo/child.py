"""A server on loopback that is a child of this process, and a port for it."""

import atexit
import contextlib
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

from monitor.errors import UserError

HOST = "127.0.0.1"


class Child:
    """It ends when the thread that began it ends, even by SIGKILL: that needs `setpriv`, of util-linux.

    `stop_s` is how long it may take to stop in order; then it is killed.
    """

    def __init__(self, stop_s: float) -> None:
        self._stop_s = stop_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is down; for tests that pause it."""
        return self._process.pid if self._process else None

    def _begin(
        self,
        command: Sequence[str],
        log: IO[bytes],
        orphaned: Literal["TERM", "KILL"],
        directory: Path | None = None,
    ) -> None:
        """Start the program; `orphaned` is the signal it gets when the thread that started it has ended."""
        setpriv = shutil.which("setpriv")
        self._process = subprocess.Popen(  # noqa: S603 - no shell, every argument is ours
            [*([setpriv, "--pdeathsig", orphaned] if setpriv else []), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            process_group=0,  # Ctrl-C is for the owner, who stops it after its clients
        )
        atexit.register(self.kill)

    @property
    def _has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def terminate(self) -> None:
        """Ask it to shut down, without waiting for it."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Shuts down in order."""
        self.terminate()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_s)
        self.kill()

    def kill(self) -> None:
        """What a crash does: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._gone()

    def _gone(self) -> None:
        self._process = None
        atexit.unregister(self.kill)


def port_taken(port: int) -> str | None:
    """Why no server can listen there; None when one can. As most do, it takes over an address just left."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror
    return None


def free_port() -> int:
    """A port nobody uses, below those that Linux gives to outgoing connections (from 32768).

    A client that keeps calling a stopped server's port could otherwise be given that very port, connect to
    itself, and hold it against the server's restart.
    """
    for _ in range(100):
        port = 20_000 + secrets.randbelow(12_000)
        if port_taken(port) is None:
            return port
    raise UserError(f"no free port on {HOST} between 20000 and 32000")
