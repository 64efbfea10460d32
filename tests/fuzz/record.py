"""Any bytes are a Kafka record: header lines, an empty line, the value; without an empty line all is value.

A header line is `name: content`, or `name` alone for a header without content.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.monitor.counting.test_event import ACCEPTED, REFUSED

Header = tuple[str, bytes | None]

MAX_BYTES = 4096
"""Of a fuzzed record: room for nesting beyond Python's limit of 1000, short enough for speed."""


def read(record: bytes) -> tuple[bytes, list[Header]]:
    """The value and the headers."""
    head, empty_line, value = record.partition(b"\n\n")
    if not empty_line:
        return record, []
    lines = (line.partition(b": ") for line in head.split(b"\n"))
    return value, [(name.decode("latin-1"), content if colon else None) for name, colon, content in lines]


def write(value: bytes, headers: Iterable[Header]) -> bytes:
    """What `read` reads, as long as no header holds a line break."""
    lines = [
        name.encode("latin-1") + (b"" if content is None else b": " + content) for name, content in headers
    ]
    return b"\n".join(lines) + b"\n\n" + value if lines else value


def seeds() -> Iterator[bytes]:
    """The files of `corpus/`, and what the codec's own tests read where it is short enough."""
    for file in sorted((Path(__file__).parent / "corpus").iterdir()):
        yield file.read_bytes()
    for value, headers, _ in (*ACCEPTED.values(), *REFUSED.values()):
        if value is not None and len(value) < MAX_BYTES:
            yield write(value, headers)
