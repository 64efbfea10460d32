"""What a worker does for one stage: judge its events, refuse what is none, pass on steps of journeys."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson
from aiokafka import TopicPartition

from monitor.counting.event import AHEAD_MS, Codec, Event, Reason, Refused
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG
from monitor.counting.staff import stage_tally, stage_windows
from monitor.counting.times import rfc3339
from monitor.journeys.deadlines import Backdated, Deadlines
from monitor.journeys.encounters import UnderWay, under_way
from monitor.journeys.step import GRACE_MS, Contact, Step, contact_of, step_of
from monitor.live.journeys import PartitionLag
from monitor.live.snapshot import Seen, StageSnapshot, last_events, stage_snapshot
from streams.clock import now_ms as clock_ms
from streams.kafka.dead_letter import dead_letter
from streams.kafka.outgoing import Outgoing, Produce
from streams.state.dedupe import Sightings
from streams.state.encounters import StagePartition
from streams.state.latest import MOST, Entry, Shown, is_shown, newest
from streams.state.partition import Partition, Positioned, Run
from streams.state.processor import Processor, described
from streams.state.steps import Delay, StepSender

log = logging.getLogger(__name__)

MAX_REFUSED_BYTES = 32 * 1024 * 1024
"""Refused records not yet written before reading pauses: each is kept whole, and may have a megabyte."""

PART_BYTES = 100
"""What a key, a value or a header takes beside its bytes, about."""

FAILURES = "failures"
"""The list of failing encounters."""

DELAY = "delay"
"""The list of how late events came, by owner: for the next one, which has read none itself."""

BEGAN = "began"
"""The list, of one entry, of when the partition was first owned."""

FAILURE_FIELDS = ("id", "outcome", "reason", "segment", "partner", "channel", "location", "journey_id")


def _kept_bytes(letter: Outgoing) -> int:
    """What a refused record takes until it is written: headers without a byte in them are objects too."""
    parts = (letter.key, letter.value, *(content for _, content in letter.headers or ()))
    return sum(PART_BYTES + len(part or b"") for part in parts)


def shown_failure(event: Event, experiences: tuple[str, ...]) -> Shown:
    """A failing encounter, for whoever is on call."""
    shown = {name: getattr(event, name) for name in FAILURE_FIELDS}
    return shown | {"time": rfc3339(event.at_ms), "experiences": experiences}


class Read(NamedTuple):
    """Records decoded: a run of events with when their records were written, and the records refused."""

    accepted: Run
    written_ms: Sequence[int]
    refused: Sequence[tuple[Any, Refused]] = ()
    base: int = 0
    """Added to an offset it gives the place (`streams.state.topic_incarnation`)."""
    has_encounters: bool = False
    """Whether any event names its encounter."""

    def newest_ms(self) -> int:
        """How far events have come; none is newer than when it was written, whatever it says."""
        return min(max(self.accepted.times_ms), max(self.written_ms))

    def late_ms(self, now_ms: int) -> int:
        """How long after it happened the last event was written; a record's time may lie in the future."""
        return min(self.written_ms[-1], now_ms) - self.accepted.times_ms[-1]


class StageProcessor(Processor[StagePartition]):
    """State and work of one stage on one worker. Without `steps`, no journeys are kept."""

    def __init__(
        self,
        codec: Codec,
        changelog: str,
        produce: Produce,
        steps: StepSender | None = None,
    ) -> None:
        journey, stage = codec.journey, codec.stage
        super().__init__(stage.name, stage.topic, changelog, partial(stage_windows, journey, stage), produce)
        self.stage = stage
        self.dedupe_ms = stage.dedupe_ms
        self._journey = journey
        self._codec = codec
        self._judge = Judge(journey, stage)
        self._deadlines = Deadlines(journey, stage, self._judge)
        self._tally = stage_tally(stage, self._judge)  # `panes.Tally`; staff are counted in blocks
        self._steps = steps
        self._takes_contacts = journey.journeys is not None and stage.name in journey.journeys.contacts
        self._sightings: dict[int, Sightings] = {}
        self._dead_letters: list[Outgoing] = []
        self._refused_bytes = 0
        self.refusals: Counter[str] = Counter()
        self.last_event_ms: dict[str, int] = {}

    def failures(self) -> list[Shown]:
        """The latest failing encounters, newest first."""
        held = (one for panes in self._partitions.values() for one in panes.latest.newest(FAILURES))
        return newest(filter(is_shown, map(_read_failure, held)))

    def _new_partition(self) -> StagePartition:
        return StagePartition(self._journey.horizon_ms)

    def _panes(self, held: Partition) -> Partition:
        return held

    def _owned(self) -> None:
        """Panes tell when the last event was that an earlier owner counted."""
        for label, at_ms in last_events(self._journey, self.stage, self.windows).items():
            self._note_event(label, at_ms)

    def _note_event(self, label: str, at_ms: int) -> None:
        self.last_event_ms[label] = max(at_ms, self.last_event_ms.get(label, 0))

    def knows_ids_before(self, partition: int, offset: int) -> bool:
        """Whether retried events can be told from that offset on."""
        return partition in self._sightings and self._sightings[partition].can_resume(offset)

    def recall(self, sightings: Sightings, records: Sequence[Any], now_ms: int) -> None:
        """Note the ids of records that an earlier owner has dealt with, or this one before it started anew.

        Whether their time was accepted is judged as of when they were written: that owner's clock is past.
        """
        decode, refuse_time = self._codec.decode, self._codec.refuse_time
        seen: list[Positioned] = []
        written_ms: list[int] = []
        for record in records:
            try:
                event = decode(record.value, record.headers)
            except Exception as error:  # it was set aside, so its id is not taken for seen
                log.debug("offset %s is not recalled: %s", record.offset, described(error))
                continue
            if isinstance(event, Refused):
                continue
            at_ms = event.at_ms
            if refuse_time(at_ms, min(record.timestamp, now_ms)) is None:
                seen.append(Positioned(record.offset, at_ms, event))
                written_ms.append(record.timestamp)
        _see(sightings, Read(Run.of(seen), written_ms), now_ms)

    def _owning(self, partitions: frozenset[int], sightings: Mapping[int, Sightings]) -> None:
        known = {**self._sightings, **sightings}
        self._sightings = {p: known.get(p) or Sightings(self.dedupe_ms) for p in partitions}
        for partition in partitions:
            _keep_began(self._partitions[partition])
        if self._steps is not None:
            for partition in partitions:
                self._steps.expect(partition, _kept_delay(self._partitions[partition]))

    def _is_full(self) -> bool:
        return super()._is_full() or self._refused_bytes >= MAX_REFUSED_BYTES

    def _take(self, partition: int, records: Sequence[Any], now_ms: int) -> None:
        """Decode (`Codec.decode`), count in panes (`Partition.fold`, by way of
        `StagePartition.fold_backdating`), add to windows (`StageWindows.add`).
        The windows are summed up for each scrape (`snapshot`)."""
        panes = self._partitions[partition]
        read = self._read(partition, records, now_ms)
        letters = [self._letter(partition, *one) for one in read.refused]
        accepted = read.accepted
        repeated: list[bool] = []
        if self.dedupe_ms:
            repeated = _see(self._sightings[partition], read, now_ms)
            accepted = accepted.which(not is_repeated for is_repeated in repeated)
        steps = self._steps_of(partition, accepted, panes) if self._steps is not None else ()
        contacts = self._contacts_of(accepted, panes) if self._steps is not None else ()
        backdated: Mapping[int, Sequence[Backdated]] = {}
        if read.has_encounters and self.stage.openings:
            backdated = self._follow(panes, accepted, now_ms)
        folded = panes.fold_backdating(backdated, accepted, lambda: self._tally(panes.withheld()), now_ms)
        for key, counts in folded.added:
            self.windows.add(key, counts)
        if self.stage.kind != "staff":  # one colleague's answer is nobody's business
            _list_failures(panes, folded.bad[-MOST:])
        self.results["counted"] += folded.counted
        self.results["duplicate"] += folded.duplicate + sum(repeated)
        self.results["late"] += folded.late
        for partner, at_ms in _newest_ms(accepted).items():
            self._note_event(self._judge.partner_label(partner), at_ms)
        if self._steps is not None:
            self._steps.add(partition, steps, contacts)
            if read.accepted.events:
                delay = self._steps.note_events(partition, read.newest_ms(), read.late_ms(now_ms))
                _keep_delay(panes, delay)
        for (_, refusal), letter in zip(read.refused, letters, strict=True):
            self._refuse(refusal, letter)
        self._read_up_to(partition, records[-1].offset)

    def _set_aside(self, partition: int, record: Any, error: str) -> None:
        refused = Refused(Reason.UNPROCESSABLE, error)
        self._refuse(refused, self._letter(partition, record, refused))
        self._read_up_to(partition, record.offset)

    def _read_up_to(self, partition: int, offset: int) -> None:
        if self.dedupe_ms:
            self._sightings[partition].continue_at(offset + 1)
        if self._steps is not None:
            self._steps.note(partition, offset)

    def _follow(self, panes: StagePartition, accepted: Run, now_ms: int) -> dict[int, list[Backdated]]:
        """Note which encounters begin and end; returns by offset what their ends count earlier."""
        encounters, backdated = panes.encounters, {}
        encounters.sweep(now_ms)
        for offset, at_ms, event in zip(*accepted, strict=True):
            if event.encounter_id is None:
                continue
            labels = self._judge.segment_label(event.segment), self._judge.partner_label(event.partner)
            if event.outcome in self.stage.openings:
                encounters.begin(event.encounter_id, event.outcome, at_ms, labels)
            elif (ended := encounters.end(event.encounter_id, offset, labels, now_ms)) is not None:
                backdated[offset] = self._deadlines.backdated(ended, event, at_ms)
        return {offset: some for offset, some in backdated.items() if some}

    def _steps_of(self, partition: int, accepted: Run, panes: Partition) -> list[Step]:
        """Steps of events that the panes do not hold: what they hold has been passed on.

        What staff answer is a step of no journey: it would stand there by itself.
        """
        if self.stage.kind == "staff":
            return []
        verdicts = self._judge.judge_all(accepted.events)
        return [
            step_of(event, at_ms, partition, offset, verdict)
            for offset, at_ms, event, verdict in zip(*accepted, verdicts, strict=True)
            if event.journey_id is not None and not panes.holds(offset, at_ms)
        ]

    def _contacts_of(self, accepted: Run, panes: Partition) -> list[Contact]:
        """Contacts likewise."""
        if not self._takes_contacts:
            return []
        return [
            contact
            for offset, at_ms, event in zip(*accepted, strict=True)
            if (contact := contact_of(event)) is not None and not panes.holds(offset, at_ms)
        ]

    def _read(self, partition: int, records: Sequence[Any], now_ms: int) -> Read:
        """Decode records; their refusals stand in the order of the records."""
        decode = self._codec.decode
        base = self._incarnations[partition].base
        panes = self._partitions[partition]
        earliest_ms, latest_ms = self._codec.accepted_ms(now_ms)
        offsets, times_ms, events, written_ms = [], [], [], []
        refused: list[tuple[Any, Refused]] = []
        has_encounters = False
        for record in records:
            event = decode(record.value, record.headers)
            if isinstance(event, Refused):
                refused.append((record, event))
                continue
            at_ms, offset = event.at_ms, base + record.offset
            if not earliest_ms <= at_ms <= latest_ms:
                refusal = self._codec.refuse_time(at_ms, now_ms)
                if refusal is not None and not panes.holds(offset, at_ms):
                    refused.append((record, refusal))
                    continue
            offsets.append(offset)
            times_ms.append(at_ms)
            events.append(event)
            written_ms.append(record.timestamp)
            if event.encounter_id is not None:
                has_encounters = True
        return Read(Run(offsets, times_ms, events), written_ms, refused, base, has_encounters)

    def _letter(self, partition: int, record: Any, refused: Refused) -> Outgoing:
        origin = TopicPartition(self.topic, partition)
        return dead_letter(self.stage.dead_letter_topic, origin, record, refused)

    def _refuse(self, refused: Refused, letter: Outgoing) -> None:
        self.results["refused"] += 1
        self.refusals[refused.reason] += 1
        self._dead_letters.append(letter)
        self._refused_bytes += _kept_bytes(letter)

    def _writes(self) -> Iterator[list[Outgoing]]:
        letters, self._dead_letters = self._dead_letters, []
        steps = [] if self._steps is None else self._steps.drain(self.owned or ())
        ours = self._ours()
        changes = {p: panes.take_changes() for p, panes in ours.items()}
        yield letters
        self._refused_bytes -= sum(map(_kept_bytes, letters))
        yield steps
        yield self._to_changelog(changes)
        yield self._to_changelog({p: panes.take_stale() for p, panes in ours.items()})

    def _under_way(self, now_ms: int, lags: Iterable[PartitionLag]) -> UnderWay:
        """What is open. An encounter is late as soon as whatever could have ended it before has been read."""
        behind = {lag.partition for lag in lags if lag.records}
        held = {p: self._partitions[p].encounters for p in self.owned or () if p in self._partitions}
        up_to_ms = {p: int(self.last_read_s.get(p, 0) * 1000) if p in behind else now_ms for p in held}
        late = self._deadlines.late((one, min(now_ms, up_to_ms[p])) for p, one in held.items())
        return under_way(held.values(), late)

    def _began_ms(self, now_ms: int) -> int:
        held = (one.latest.newest(BEGAN) for one in self._partitions.values())
        return min([now_ms, *(entry.at_ms for entries in held for entry in entries)])

    def snapshot(self, now_ms: int, lags: tuple[PartitionLag, ...]) -> StageSnapshot:
        """The stage as it is now; without windows while its partitions are not recovered. The worker asks for
        each scrape (`streams.worker`)."""
        windows = self.windows if self.owned is not None else None
        seen = Seen(
            *(self.results, self.refusals, self.last_event_ms, lags, self._under_way(now_ms, lags)),
            self._began_ms(now_ms),
        )
        return stage_snapshot(self._journey, self.stage, windows, now_ms, seen)


def _list_failures(panes: Partition, bad: Sequence[tuple[Event, tuple[str, ...]]]) -> None:
    for event, experiences in bad:
        said = orjson.dumps(shown_failure(event, experiences)).decode()
        panes.latest.add(FAILURES, Entry(event.at_ms, event.id or "", said))


def _keep_began(panes: Partition) -> None:
    """Of what an earlier version has counted, its first pane."""
    if not panes.latest.newest(BEGAN):
        first_ms = (key.start_ms for key, _ in panes.panes() if key.grain_ms == LONG.ms)
        panes.latest.add(BEGAN, Entry(next(first_ms, clock_ms()), "", ""))


def _keep_delay(panes: Partition, delay: Delay) -> None:
    """Nothing is written while events come in time, but once when they do so again."""
    if max(delay.ms, _kept_delay(panes).ms) > GRACE_MS:
        panes.latest.add(DELAY, Entry(delay.until_ms, str(panes.epoch), str(delay.ms)))


def _kept_delay(panes: Partition) -> Delay:
    for entry in panes.latest.newest(DELAY):
        with contextlib.suppress(ValueError):  # others may write to a changelog
            return Delay(int(entry.said), entry.at_ms)
    return Delay()


def _read_failure(entry: Entry) -> Any:
    try:
        return orjson.loads(entry.said)
    except orjson.JSONDecodeError:
        return None


def _see(sightings: Sightings, read: Read, now_ms: int) -> list[bool]:
    """Which of the events repeat an id.

    When a record was written is its writer's word. One far ahead of the clock would keep every id from then
    on, so it is taken for as far ahead as an event may be.
    """
    offsets = [offset - read.base for offset in read.accepted.offsets]
    ids = [event.id or "" for event in read.accepted.events]
    return sightings.see(offsets, ids, [min(ms, now_ms + AHEAD_MS) for ms in read.written_ms])


def _newest_ms(run: Run) -> dict[str | None, int]:
    """When the latest event of each partner happened."""
    newest: dict[str | None, int] = {}
    for event, at_ms in zip(run.events, run.times_ms, strict=True):
        partner = event.partner
        if at_ms > newest.get(partner, 0):
            newest[partner] = at_ms
    return newest
