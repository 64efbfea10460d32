"""A batch, read and counted in columns, adds what its events add one by one, read and counted plainly."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle, islice, takewhile
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.counting.event import Codec, Event, Refused, refuse_personal_data
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, SHORT, Counts, PaneKey
from streams.demo.simulator import Simulator
from streams.state.stage import StageProcessor
from tests.kit import plain
from tests.kit.shipped import SHIPPED as JOURNEY

NOW = 1_800_000_000_000
SPAN_MS = 900_000

EVENTS = 1_500
"""Of each stage in one run; `full` has them a hundred times."""

MUTATIONS: tuple[tuple[bytes, bytes], ...] = (
    (rb'"outcome":"\w+"', b'"outcome":"strange"'),
    (rb'"segment":"\w+"', b'"segment":"strange"'),
    (rb'"segment":"\w+"', b'"segment":null'),
    (rb'"partner":"\w+"', b'"partner":"strange"'),
    (rb'"channel":"\w+"', b'"channel":"strange"'),
    (rb'"duration_s":[\d.]+', b'"duration_s":0.0005'),
    (rb'"duration_s":[\d.]+', b'"duration_s":1e9'),
    (rb'"duration_s":[\d.]+', b'"duration_s":90'),
    (rb'"duration_s":[\d.]+', b'"duration_s":-1'),
    (rb'"wait_s":[\d.]+', b'"wait_s":20,"system_wait_s":0.0015'),
    (rb'"duration_s":', b'"system_wait_s":3.0005,"duration_s":'),
    (rb'"time":"2027', b'"time":"2017'),
    (rb'"time":"2027', b'"time":"2037'),
    (rb'"time":"[^"]*"', b'"time":"soon"'),
    (rb'"stage":"\w+"', b'"stage":"store"'),
    (rb'"customer_ref":"[^"]*"', b'"customer_ref":"ann@example.com"'),
    (rb'"customer_ref":"[^"]*"', b'"customer_ref":"+358 40 123 4567"'),
    (rb'"value":[\d.]+', b'"value":11'),
    (rb'"value":[\d.]+', b'"value":7'),
    (rb"}$", b""),
    (rb"^{", b'{"score":{"kind":"csat","value":4.5},'),
)
"""What goes wrong with an event, or is only strange."""


class Record(NamedTuple):
    """As much of a record as a stage reads."""

    offset: int
    value: bytes
    timestamp: int = NOW
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()


@lru_cache(maxsize=1)
def simulated(seed: int) -> dict[str, list[bytes]]:
    """Events of a quarter of an hour by topic, in which days pass as minutes. None names its encounter: what
    counts when a limit passes depends on more than one event."""
    traffic = Simulator(JOURNEY, seed=seed, start_ms=NOW - SPAN_MS, compress=1_000).events()
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for one in takewhile(lambda one: one.at_ms < NOW, traffic):
        if b'"queued"' not in one.value:
            found[one.topic].append(re.sub(rb',"encounter_id":"[^"]*"', b"", one.value))
    return found


def mutated(stage: str, seed: int, count: int) -> Iterator[Record]:
    """Simulated events of a stage, every third of them mutated, in places out of order."""
    rng = Random(seed)
    held = list(islice(cycle(simulated(seed)[JOURNEY.stage(stage).topic]), count))
    for offset in range(count):
        place = min(count - 1, max(0, offset + rng.choice((0, 0, 0, -40, 40))))
        value = held[place]
        if rng.random() < 1 / 3:
            pattern, into = rng.choice(MUTATIONS)
            value = re.sub(pattern, into, value, count=1)
        yield Record(offset, value)


class Plain:
    """The same stage one event after the other."""

    def __init__(self, stage: str) -> None:
        model = JOURNEY.stage(stage)
        self._codec, self._judge = Codec(JOURNEY, model), Judge(JOURNEY, model)
        self._waiting: defaultdict[tuple[object, ...], list[Counter[str]]] = defaultdict(list)
        self.panes: dict[PaneKey, Counter[str]] = {}
        self.results: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Refuse or count one record."""
        event = self._codec.decode(record.value)
        refused = event if isinstance(event, Refused) else self._codec.refuse_time(event.at_ms, NOW)
        if refused is not None:
            self.refusals[refused.reason] += 1
            return
        assert isinstance(event, Event)
        self.results["counted"] += 1
        self.results["late"] += event.at_ms < NOW - 60_000
        counts = Counter(plain.counts(self._judge, event))
        if self._codec.stage.kind == "staff":
            counts = self._in_blocks(event, counts)
        for grain in (SHORT, LONG):
            key = PaneKey(grain.ms, grain.start_of(event.at_ms))
            self.panes.setdefault(key, Counter()).update(counts)

    def _in_blocks(self, event: Event, counts: Counter[str]) -> Counter[str]:
        """How many answered at once, and all that is shown five answers at a time."""
        told = Counter({"outcome/ok": 1})
        answer: Counter[str] = Counter()
        for name, n in counts.items():
            kind, *rest = name.split("/")
            if kind in ("good", "bad"):
                rest = [*rest[:-2], "other", "none"]
            answer["outcome/ok" if kind == "outcome" else "/".join([kind, *rest])] += n
        times = [event.duration_s is None, event.wait_s is None, event.system_wait_s is None]
        alike = self._waiting[event.score and event.score.kind, *times]
        alike.append(answer)
        if len(alike) == 5:
            told.update({f"block/{name}": n for name, n in sum(alike, Counter[str]()).items()})
            alike.clear()
        return told


async def folded(stage: str, records: list[Record], batch: int) -> StageProcessor:
    """The product's own stage, given so many records at a time."""

    async def produce(_: Any) -> Any:
        raise AssertionError("nothing is written here")

    held = StageProcessor(Codec(JOURNEY, JOURNEY.stage(stage)), "changelog", produce)
    await held.own(frozenset({0}), 1, lambda: True)
    for start in range(0, len(records), batch):
        held.fold(SimpleNamespace(value=records[start : start + batch], partition=0), NOW)
    return held


async def agree(stage: str, seed: int, count: int, *batches: int) -> None:
    """One load, both ways, in batches of these sizes."""
    records = list(mutated(stage, seed, count))
    expected = Plain(stage)
    for record in records:
        expected.take(record)
    for batch in batches:
        held = await folded(stage, records, batch)
        found: dict[PaneKey, Counts] = {key: +Counter(counts) for key, counts in held._partitions[0].panes()}
        live = {
            key: counts for key, counts in expected.panes.items() if key in found or key.grain_ms == LONG.ms
        }
        assert found == live
        assert held.refusals == expected.refusals
        assert {name: held.results[name] for name in ("counted", "late", "duplicate")} == {
            "counted": expected.results["counted"], "late": expected.results["late"], "duplicate": 0,
        }  # fmt: skip
    assert expected.refusals.total() > count / 50, "too little was refused to tell anything"


STAGES = [stage.name for stage in JOURNEY.stages]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_batch_is_its_events(stage: str) -> None:
    """Counts, refusals and what is late, however many records come at once and whatever is among them."""
    await agree(stage, 1, EVENTS, 1, 7, 4_000)


@pytest.mark.full
@pytest.mark.timeout(1_800)
async def test_a_million_events() -> None:
    """The same of 150,000 events of each of the seven stages. To simulate more than ten times as many would
    take longer than to count them."""
    for seed in range(10):
        for stage in STAGES:
            await agree(stage, seed, 10 * EVENTS, 4_000)


PIECES = st.sampled_from([*"@+()- .a\u2013\u00e9\u0663", "00", "358", "1234567"])


@given(st.one_of(st.text(min_size=1, max_size=30), st.lists(PIECES, min_size=1, max_size=9).map("".join)))
def test_what_nearly_every_pseudonym_is_spared_finds_nothing(text: str) -> None:
    """Text that begins or ends with a letter and has no @ is refused by none of the rules, written out."""
    stripped = text.strip()
    digits = "".join(filter(str.isdigit, stripped))
    begins, rest = r"(?:\(?\+|(?=\([0-9]+\)))", r"[0-9() \u00a0\u2010-\u2015-]*"
    is_abroad = "+" not in stripped or not digits.startswith("0")
    is_phone = re.fullmatch(begins + rest, stripped) and 7 <= len(digits) <= 15 and is_abroad
    is_personal = bool(re.search(r"[^\s@]@[^\s@.]+\.[^\s@.]", stripped) or is_phone)
    assert (refuse_personal_data(text) is not None) == is_personal
