"""What machines can do to a worker or a broker: a disk without room, a clock that jumps, a cut cable.

Debian; disk and network as root.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.kafka.kafka import Place
from tests.soak.fleet import SoakError


class Disk:
    """A file system of its own, so small that it can be filled: neither data nor files fit any more."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self) -> None:
        """Until there is room for no byte and no name."""
        with (self.directory / "filling").open("wb", buffering=0) as filling:
            _until_full(lambda _: filling.write(bytes(4096)))
        _until_full(lambda number: (self.directory / f"filling-{number}").touch())


@contextmanager
def disk(directory: Path) -> Iterator[Disk]:
    """A disk, empty at first."""
    directory.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20", "touchpoint-soak", str(directory))
    try:
        yield Disk(directory)
    finally:
        _run("umount", "--lazy", str(directory))  # a worker may still have it


class Network:
    """So many places with a network namespace each, and a bridge between them and us."""

    def __init__(self, count: int) -> None:
        self._name = f"tp{os.getpid()}"
        subnet = f"198.18.{os.getpid() % 256}"  # for tests of networks: RFC 2544
        self._ours = f"{subnet}.1/24"
        self.places = [
            Place(number, f"{subnet}.{10 + number}", ("ip", "netns", "exec", f"{self._name}-{number}"))
            for number in range(1, count + 1)
        ]

    def _cable(self, place: Place) -> str:
        return f"{self._name}v{place.node_id}"

    def __enter__(self) -> Self:
        bridge = self._name
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", self._ours, "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for place in self.places:
            space, cable = place.enter[-1], self._cable(place)
            _run("ip", "netns", "add", space)
            _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "link", "set", cable, "master", bridge, "up")
            _run("ip", "-n", space, "addr", "add", f"{place.host}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _run("ip", "-n", space, "link", "set", device, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self.places:
            _run("ip", "link", "del", self._cable(place))
            _run("ip", "netns", "del", place.enter[-1])
        _run("ip", "link", "del", self._name)

    @contextmanager
    def cut(self, index: int) -> Iterator[None]:
        """Nothing comes to that place or from there, and nobody is told."""
        cable = self._cable(self.places[index])
        _run("ip", "link", "set", cable, "down")
        try:
            yield
        finally:
            _run("ip", "link", "set", cable, "up")


class FakedClock:
    """The clock of whatever is started with this environment; the clock that only goes forward is real."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of libfaketime, which takes the place of the C library's clock."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            raise SoakError("libfaketime is missing: run deploy/install-test-programs")
        return {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until a jump is seen
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """Off by so much from now on, e.g. "-1h"."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._file)  # never seen half written


def _until_full(write: Callable[[int], object]) -> None:
    try:
        for number in count():
            write(number)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SoakError(f"{' '.join(command)}: {done.stderr.strip()}")
