"""Bytes in, a `Change` or why there is none out: what was deployed or went wrong, and when.

A stage keeps its latest change only. Which one is latest does not depend on the order they are read in, so
every worker says the same.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from monitor.counting.event import AHEAD_MS, Id, Time
from monitor.counting.formats import Unreadable, text_of
from monitor.counting.times import epoch_ms, rfc3339
from monitor.journey_file.model import ALL, Journey

KEPT_MS = 7 * 86_400_000
"""The longest window: what changed before it explains nothing in it."""

MAX_TITLE = 80
"""It becomes a label value and stands in alerts."""

MAX_BYTES = 10_000

Kind = Literal["deploy", "incident", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Record(Struct):
    """A change as it is published; what `read` asks beyond this cannot be said by types."""

    id: Id
    time: Time
    kind: Kind
    title: Annotated[str, Meta(min_length=1, max_length=MAX_TITLE)]
    stage: str | None = None


def written(id_: str, at_ms: int, kind: Kind, title: str, stage: str | None) -> bytes:
    """The record of a change; without a stage it is about every stage. Whether it is one says `read`."""
    about = {"stage": stage} if stage is not None else {}
    return msgspec.json.encode({"id": id_, "time": rfc3339(at_ms), "kind": kind, "title": title, **about})


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One change; the later is the greater. `stage` is `all` for one that is about every stage."""

    at_ms: int
    id: str
    stage: str
    kind: str
    title: str


_decode = msgspec.json.Decoder(Record).decode


def read(value: bytes | None, journey: Journey, written_ms: int) -> Change | str:
    """The change of a record, or in words what is wrong with it, without quoting it.

    `written_ms` is when the record was written: what lies further ahead of that than clocks run is refused.
    """
    if isinstance(value, Unreadable):
        return f"it cannot be read: {value.error}"
    if not value:
        return "the record has no value"
    if len(value) > MAX_BYTES:
        return f"{len(value)} bytes, at most {MAX_BYTES} are read"
    try:
        record = _decode(text_of(value))
    except msgspec.ValidationError as error:
        return _without_data(str(error))
    except (ValueError, RecursionError):
        return "the value is not JSON text"
    if record.stage is not None and record.stage not in {stage.name for stage in journey.stages}:
        return "the journey file names no such stage - at `$.stage`"
    if not record.title.strip() or not record.title.isprintable():
        return "blank, or cannot be shown in one line - at `$.title`"
    at_ms = epoch_ms(record.time)
    if at_ms > written_ms + AHEAD_MS:
        return "ahead of the clock - at `$.time`"
    return Change(at_ms, record.id, record.stage or ALL, record.kind, record.title.strip())


def _without_data(message: str) -> str:
    """msgspec quotes the data only where it is not one of the known values."""
    if message.startswith("Invalid enum value"):
        return f"not one of the known values{message[message.rindex(' - at') :]}"
    return message


class LatestChanges:
    """The latest change of each stage, and of all stages together; its size is the journey file's."""

    def __init__(self) -> None:
        self._latest: dict[str, Change] = {}

    def add(self, change: Change) -> None:
        """Keep it if it is later than what is known; reading one again changes nothing."""
        known = self._latest.get(change.stage)
        if known is None or change > known:
            self._latest[change.stage] = change

    def since(self, now_ms: int) -> tuple[Change, ...]:
        """Those of the last seven days, by stage."""
        return tuple(
            self._latest[stage]
            for stage in sorted(self._latest)
            if self._latest[stage].at_ms > now_ms - KEPT_MS
        )
