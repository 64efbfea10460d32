"""Events as services post them: one, many, or CloudEvents in their three modes.

`application/json` is one event or an array of events, `application/x-ndjson` an event on each line.
`application/cloudevents+json` is an envelope, `application/cloudevents-batch+json` an array of them. What has
the header `ce-specversion` is a CloudEvent in binary mode: its attributes are headers, its body is the data.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from monitor.counting.formats import BOM
from monitor.errors import UserError

PLAIN, LINES = "application/json", "application/x-ndjson"
ENVELOPE, ENVELOPES = "application/cloudevents+json", "application/cloudevents-batch+json"

ATTRIBUTE = "ce-"
"""How headers of CloudEvents begin over HTTP; in Kafka they begin with `ce_`."""

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Posted(NamedTuple):
    """An event as the value and the headers of a record."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def posted(body: bytes, headers: Mapping[str, str]) -> list[Posted]:
    """The events of a post, of which each may still be refused; UserError when they cannot be told apart."""
    named = {name.lower(): text for name, text in headers.items()}
    body = body.removeprefix(BOM)
    if named.get("content-encoding", "identity") != "identity":
        raise UserError("Content-Encoding: post it as it is, packed bodies are not read")
    kind = named.get("content-type", "").partition(";")[0].strip().lower()
    if "ce-specversion" in named:
        return [Posted(body, _attributes(named))]
    envelope = (("content-type", ENVELOPE.encode()),)
    if kind == PLAIN:
        return [Posted(one) for one in _each(body)] if body.lstrip()[:1] == b"[" else [Posted(body)]
    if kind == LINES:
        return [Posted(line) for line in map(bytes.strip, body.split(b"\n")) if line]
    if kind == ENVELOPE:
        return [Posted(body, envelope)]
    if kind == ENVELOPES:
        return [Posted(one, envelope) for one in _each(body)]
    raise UserError(f"Content-Type must be one of {PLAIN}, {LINES}, {ENVELOPE}, {ENVELOPES}")


def _each(body: bytes) -> list[bytes]:
    try:
        return [bytes(one) for one in _split(body)]
    except (ValueError, RecursionError):
        raise UserError("the body is no JSON array") from None


def _attributes(named: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """Attributes as Kafka's binding of CloudEvents has them; over HTTP they are percent-encoded."""
    attributes = [
        (f"ce_{name.removeprefix(ATTRIBUTE)}", _bytes_of(name, unquote(text)))
        for name, text in named.items()
        if name.startswith(ATTRIBUTE)
    ]
    return (*attributes, ("content-type", _bytes_of("content-type", named.get("content-type", PLAIN))))


def _bytes_of(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UserError(f"header `{name}` is not UTF-8") from None
