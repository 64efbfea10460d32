"""What an operator can do to a running Apache Kafka, by Kafka's own command; taken back at the end."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import faust

from deploy.kafka.kafka import fetch
from tests.soak.fleet import SoakError

TINY_BYTES = 10
"""Below what any record takes: every write is refused, and refused again when it is sent again."""

WORKERS_NAME = f"faust-{faust.__version__}"
"""The client id that workers' producers have from Faust; the load has another one."""


@contextmanager
def refused(bootstrap: str, topic: str) -> Iterator[None]:
    """Nothing can be written to the topic."""
    with _changed(bootstrap, "topics", topic, "max.message.bytes", TINY_BYTES):
        yield


@contextmanager
def throttled(bootstrap: str, bytes_per_s: int) -> Iterator[None]:
    """All workers together may produce so much; Kafka lets them wait for its next answer when it is more."""
    with _changed(bootstrap, "clients", WORKERS_NAME, "producer_byte_rate", bytes_per_s):
        yield


@contextmanager
def _changed(bootstrap: str, kind: str, name: str, config: str, value: int) -> Iterator[None]:
    entity = ("--entity-type", kind, "--entity-name", name)
    _alter(bootstrap, *entity, "--add-config", f"{config}={value}")
    try:
        yield
    finally:
        _alter(bootstrap, *entity, "--delete-config", config)


def _alter(bootstrap: str, *arguments: str) -> None:
    java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{fetch()}/*"]
    command = ["kafka.admin.ConfigCommand", "--bootstrap-server", bootstrap, "--alter", *arguments]
    done = subprocess.run([*java, *command], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise SoakError(f"kafka-configs {' '.join(arguments)}: {done.stdout} {done.stderr}")
