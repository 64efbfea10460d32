"""Whether the shipped rules, in a Prometheus of their own, name each moment when events were not counted.

What was not counted is asked of Kafka, in offsets: what a partition held, and what the group had committed of
it. A worker that catches up has counted more than it has written and committed: up to its position.
"""

import asyncio
import json
import threading
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from monitor.counting import metrics
from monitor.counting.metrics import BLIND
from monitor.journey_file.model import ALL
from monitor.rules.plan import LAG_S
from tests.soak.account import GROUP
from tests.soak.events import BASE, journey

LATE_S = LAG_S + 30.0
"""So long after it was written an event may be uncounted unnamed: from `LAG_S` on a worker is late, and
scrape, evaluation, commit and our own asking take up to 5 s each, more on a loaded machine."""

STEP_S = 5
"""Of Prometheus' evaluation, in deploy/prometheus/prometheus.yaml."""

MAY_TAKE_S = 10

Place = tuple[str, int]
"""A topic and a partition of it."""

Ends = Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Late:
    """At a moment (epoch s) the group had not committed what a partition held up to `end` a while before."""

    at_s: float
    place: Place
    end: int


@dataclass(slots=True)
class Watch:
    """Asks Kafka once a second, in a thread."""

    bootstrap: str
    late: list[Late] = field(default_factory=list)
    asked: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join(2 * MAY_TAKE_S)

    async def _watch(self) -> None:
        history: deque[tuple[float, Ends]] = deque()
        topics = [stage.topic for stage in journey(BASE).stages]
        while not self._over.is_set():
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(MAY_TAKE_S):
                    ends, committed = await _ask(self.bootstrap, topics)
                at_s = time.time()
                self.asked += 1
                history.append((at_s, ends))
                while len(history) > 1 and history[1][0] <= at_s - LATE_S:
                    history.popleft()
                if history[0][0] <= at_s - LATE_S:
                    places = behind(history[0][1], ends, committed)
                    self.late += [Late(at_s, place, end) for place, end in places.items()]
            await asyncio.sleep(1)


async def _ask(bootstrap: str, topics: list[str]) -> tuple[Ends, Ends]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await asyncio.gather(admin.start(), consumer.start())
        ends = await consumer.end_offsets(consumer.assignment())
        found: Mapping[TopicPartition, Any] = await admin.list_consumer_group_offsets(
            GROUP, partitions=list(ends)
        )
    finally:
        await asyncio.gather(admin.close(), consumer.stop(), return_exceptions=True)
    return (
        {(tp.topic, tp.partition): end for tp, end in ends.items()},
        {(tp.topic, tp.partition): said.offset for tp, said in found.items()},
    )


def behind(before: Ends, now: Ends, committed: Ends) -> Ends:
    """Places of which something that was there is not committed, and its end; one made anew begins anew."""
    return {
        place: end
        for place, end in before.items()
        if now.get(place, 0) >= end and committed.get(place, 0) < end
    }


Positions = Mapping[Place, Mapping[float, int]]
"""Up to which offset a worker says that it has counted, by moment of evaluation."""


def positions(prometheus: str, since_s: float, until_s: float) -> Positions:
    """What workers said; one that is down says nothing."""
    found: dict[Place, dict[float, int]] = {}
    for labels, values in _asked(prometheus, metrics.POSITION.name, since_s, until_s):
        said = found.setdefault((labels["topic"], int(labels["partition"])), {})
        for at_s, position in values:
            said[at_s] = max(int(position), said.get(at_s, 0))
    return found


def uncounted(late: Iterable[Late], said: Positions) -> set[tuple[float, str]]:
    """Moments and stages of which something was not counted either, by what workers last said before."""
    stages = {stage.topic: stage.name for stage in journey(BASE).stages}
    return {
        (one.at_s, stages[one.place[0]])
        for one in late
        if not any(
            position >= one.end
            for at_s, position in said.get(one.place, {}).items()
            if one.at_s - STEP_S <= at_s <= one.at_s
        )
    }


Named = Sequence[tuple[float, frozenset[str]]]
"""Moments, and the stages that are called blind at each, or `ALL`."""


def named(prometheus: str, since_s: float, until_s: float) -> Named:
    """What the rules recorded. A worker that is down hides nothing by itself: others count its share."""
    moments: dict[float, set[str]] = {}
    query = f'{BLIND}{{cause!="scrape_failed"}}'
    for labels, values in _asked(prometheus, query, since_s, until_s):
        for at_s, _ in values:
            moments.setdefault(at_s, set()).add(labels["stage"])
    return sorted((at_s, frozenset(stages)) for at_s, stages in moments.items())


def _asked(
    prometheus: str, query: str, since_s: float, until_s: float
) -> Iterator[tuple[dict[str, str], list[tuple[float, str]]]]:
    asked = {"query": query, "start": since_s, "end": until_s, "step": STEP_S}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        series = json.load(answer)["data"]["result"]
    for one in series:
        yield one["metric"], [(float(at_s), value) for at_s, value in one["values"]]


def unnamed(late: Iterable[tuple[float, str]], names: Named) -> list[tuple[float, str]]:
    """Late moments at which nothing within two evaluations names that stage."""
    return [
        (at_s, stage)
        for at_s, stage in sorted(late)
        if not any(abs(then_s - at_s) <= 2 * STEP_S and stages & {stage, ALL} for then_s, stages in names)
    ]


def intervals(late: Iterable[tuple[float, str]]) -> int:
    """How many stretches the late moments form, over all stages."""
    by_stage: dict[str, list[float]] = {}
    for at_s, stage in sorted(late):
        by_stage.setdefault(stage, []).append(at_s)
    gaps = (b - a > 2 * MAY_TAKE_S for moments in by_stage.values() for a, b in pairwise(moments))
    return len(by_stage) + sum(gaps)
