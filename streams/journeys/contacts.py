"""Contacts of the cases of one partition of the steps topic, as they are kept and written.

A contact is written once, under the place where it was read: `k:<offset>:<number in the record>`. Whoever
reads the same records writes the same under the same key, so no record needs an owner. Up to the offset and
the moment of a clock record (`streams.journeys.partition`) it is known what has been kept and judged.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from monitor.journeys.contacts import REPEAT_MS, Cases
from monitor.journeys.counters import Effect
from monitor.journeys.step import Contact
from streams.state.partition import PaneRecord

HOUR_MS = 3_600_000

EACH_BYTES = 600
"""What Python keeps of a contact, with ids of 36 characters."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Contact).decode


class Counted(NamedTuple):
    """What became of a record's contacts."""

    duplicate: int
    refused: int


class Contacts:
    """Contacts, kept while an event that is still accepted may be a repeat of them, or be them again."""

    def __init__(self, horizon_ms: int) -> None:
        self._keep_ms = REPEAT_MS + horizon_ms
        self._cases = Cases()
        self._read: dict[bytes, Contact] = {}
        """While the changelog is read: what it holds."""
        self._new: list[PaneRecord] = []
        self._stale: list[PaneRecord] = []
        self._by_hour: defaultdict[int, list[tuple[bytes, Contact]]] = defaultdict(list)
        """Keys and contacts by the hour they happened in, to be forgotten together."""
        self._swept_hour = 0
        self._kept = 0

    def restore(self, record: PaneRecord) -> None:
        """Apply one changelog record; raises if it is none of ours."""
        _offset_of(record.key)
        if record.value is None:
            self._read.pop(record.key, None)
        else:
            self._read[record.key] = _decode(record.value)

    def own(self, position: int, clock_ms: int) -> None:
        """Take over, as of a clock record; what was written after it is read again."""
        for key, contact in self._read.items():
            if _offset_of(key) <= position:
                self._keep(key, contact, is_judged=contact.at_ms <= clock_ms)
        self._read.clear()

    def _keep(self, key: bytes, contact: Contact, *, is_judged: bool) -> None:
        self._cases.add(contact, is_judged=is_judged)
        self._by_hour[contact.at_ms // HOUR_MS].append((key, contact))
        self._kept += 1

    def take(self, offset: int, contacts: Sequence[Contact], room: str) -> Counted:
        """Keep the contacts of one record: of all cases, of known ones, or of none."""
        duplicate = refused = 0
        for number, contact in enumerate(contacts):
            if self._cases.holds(contact):
                duplicate += 1
            elif not self._takes(contact.case, room):
                refused += 1
            else:
                key = b"k:%d:%d" % (offset, number)
                self._keep(key, contact, is_judged=False)
                self._new.append(PaneRecord(key, _encode(contact)))
        return Counted(duplicate, refused)

    def _takes(self, case: str, room: str) -> bool:
        if self._cases.is_full(case):
            return False
        return room == "all" or (room == "known" and self._cases.knows(case))

    def pass_time(self, clock_ms: int) -> list[Effect]:
        """What has happened up to then adds to; what is too old to matter is forgotten."""
        effects = self._cases.pass_time(clock_ms)
        hour = (clock_ms - self._keep_ms) // HOUR_MS
        if hour > self._swept_hour:
            self._swept_hour = hour
            self._forget_before(hour)
        return effects

    def _forget_before(self, hour: int) -> None:
        for past in [one for one in self._by_hour if one < hour]:
            for key, contact in self._by_hour.pop(past):
                self._cases.forget(contact)
                self._stale.append(PaneRecord(key, None))
                self._kept -= 1

    @property
    def kept_bytes(self) -> int:
        """The memory that contacts take."""
        return EACH_BYTES * self._kept

    def take_changes(self) -> tuple[list[PaneRecord], list[PaneRecord]]:
        """Records of contacts kept since the last call; deletions, to be written once a clock record is."""
        new, self._new = self._new, []
        stale, self._stale = self._stale, []
        return new, stale


def _offset_of(key: bytes) -> int:
    _, offset, number = key.split(b":")
    int(number)
    return int(offset)
