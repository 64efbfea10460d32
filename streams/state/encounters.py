"""The encounters under way of one partition, beside its panes in the changelog: none is lost or stays open.

Each stands under a key of its own, `o:<epoch>:<encounter id>`. Each event that speaks of it writes it again.
What is read again after a crash changes nothing (`monitor.journeys.encounters`). So a record needs no
watermark: it may be ahead of the panes, and is never behind the offset that was committed.

A former owner that writes late could open again what has ended since. So each owner first writes all that it
has read under its own epoch, then the key `o:<epoch>:`. It says that nothing of an earlier epoch stands.
"""

from collections.abc import Hashable, Mapping, Sequence, Set

import msgspec

from monitor.counting.panes import NewTally
from monitor.journeys.deadlines import Backdated, BackdatingTally
from monitor.journeys.encounters import Encounter, Encounters
from streams.state.partition import Folded, PaneRecord, Partition, Run, read_epoch

PREFIX = b"o:"

ALL_WRITTEN = b"\x80"
"""What stands under the key without an id: an empty map. Without a value the key would be deleted."""

MAX_ID = 200

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Encounter).decode


class StagePartition(Partition):
    """Panes of one partition of a stage, and its encounters under way."""

    def __init__(self, horizon_ms: int) -> None:
        super().__init__(horizon_ms)
        self.encounters = Encounters()
        self._epochs: dict[str, int] = {}
        self._whole_epoch = -1
        self._has_inherited = False
        self._replaced: set[bytes] = set()
        self._apart: Set[int] = frozenset()

    def fold_backdating(
        self, backdated: Mapping[int, Sequence[Backdated]], run: Run, new_tally: NewTally, now_ms: int
    ) -> Folded:
        """Fold events of which those at some offsets count something earlier."""
        self._apart = backdated.keys()
        if not backdated:
            return self.fold(run, new_tally, now_ms)
        placed = zip(run.offsets, run.events, strict=True)
        by_event = {id(event): backdated[offset] for offset, event in placed if offset in backdated}
        return self.fold(run, lambda: BackdatingTally(new_tally(), by_event), now_ms)

    def _replay_key(self, run: Run, place: int) -> Hashable:
        """A replayed event that lies in more panes is folded by itself: each tells whether it has it."""
        offset = run.offsets[place]
        return offset if offset in self._apart else super()._replay_key(run, place)

    def restore(self, record: PaneRecord) -> None:
        """Apply one changelog record, in the order of the changelog; again does no harm."""
        if not record.key.startswith(PREFIX):
            super().restore(record)
            return
        epoch, id_ = _read_key(record.key)
        held = None if record.value is None or not id_ else _read(record.value)
        self.hear_of(epoch)
        if epoch <= self.epoch:
            if epoch < self.epoch and record.value is not None:
                self._replaced.add(record.key)  # a former owner has written late
        elif held is not None:
            self._take(id_, epoch, held)
        elif id_ and self._epochs.get(id_) == epoch:
            del self._epochs[id_]
            self.encounters.drop(id_)
        elif not id_ and record.value is not None and epoch > self._whole_epoch:
            self._replace_mark()
            self._whole_epoch = epoch

    def _take(self, id_: str, epoch: int, held: Encounter) -> None:
        known = self._epochs.get(id_, epoch)
        self._replaced.discard(_key(epoch, id_))
        if known != epoch:
            self._replaced.add(_key(min(known, epoch), id_))
        if known <= epoch:
            self._epochs[id_] = epoch
            self.encounters.put(id_, held)

    def _replace_mark(self) -> None:
        if self._whole_epoch >= 0:
            self._replaced.add(_key(self._whole_epoch, ""))

    def own(self, generation: int) -> None:
        """Become the owner, once the changelog has been read."""
        before = self.epoch
        super().own(generation)
        if self.epoch == before:
            return
        for id_ in list(self.encounters.known):
            if self._epochs.get(id_, before) < self._whole_epoch:
                if id_ in self._epochs:
                    self._replaced.add(_key(self._epochs.pop(id_), id_))
                self.encounters.drop(id_)
        self.encounters.recall()
        self._has_inherited = bool(self._epochs) or self._whole_epoch >= 0

    def take_changes(self) -> list[PaneRecord]:
        """Records of all that has changed since the last call, under this owner's epoch."""
        records = super().take_changes()
        touched, self.encounters.touched = self.encounters.touched, set()
        for id_ in sorted(touched):
            known = self._epochs.get(id_, self.epoch)
            if known < self.epoch:
                self._replaced.add(_key(known, id_))
            self._epochs[id_] = self.epoch
            records.append(PaneRecord(_key(self.epoch, id_), _encode(self.encounters.known[id_])))
        if self._has_inherited:
            self._has_inherited = False
            self._replace_mark()
            self._whole_epoch = self.epoch
            records.append(PaneRecord(_key(self.epoch, ""), ALL_WRITTEN))
        return records

    def take_stale(self) -> list[PaneRecord]:
        """Deletions of what newer records have replaced, and of what is forgotten."""
        for id_ in self.encounters.forgotten:
            if id_ in self._epochs:
                self._replaced.add(_key(self._epochs.pop(id_), id_))
        self.encounters.forgotten.clear()
        deletions = [PaneRecord(key, None) for key in sorted(self._replaced)]
        self._replaced.clear()
        return super().take_stale() + deletions


def _key(epoch: int, id_: str) -> bytes:
    return b"%b%d:%b" % (PREFIX, epoch, id_.encode())


def _read_key(key: bytes) -> tuple[int, str]:
    """ValueError for what no worker writes."""
    _, epoch, id_ = key.split(b":", 2)
    if len(id_.decode()) > MAX_ID:
        raise ValueError("no id is so long")
    return read_epoch(epoch), id_.decode()


def _read(value: bytes) -> Encounter:
    """ValueError, or msgspec's own, for what no worker writes."""
    held = _decode(value)
    if held.is_open and not held.since_ms:
        raise ValueError("it has neither begun nor ended")
    return held
