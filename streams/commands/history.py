"""History as commands read it, of a file or of topics: line by line, with progress, and with what is refused
told."""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.counting.display import counted
from monitor.counting.times import local
from monitor.errors import UserError
from streams.clock import now_ms
from streams.commands.shared import above_zero, failed, run_at_once
from streams.files import MAX_COPY, NOT_GZIP, NOT_GZIP_TOLD, STDIN, lines, reread, unpacked
from streams.settings import Settings
from streams.terminal import progress

if TYPE_CHECKING:
    from monitor.counting.event import Event, Headers, Reason, Refused
    from monitor.learn.seen import Seen

PROBLEMS_SHOWN = 20
"""Refused lines that are shown; they are counted all."""

TELL_EVERY = 5_000
"""Lines between two redraws of the progress."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """What goes wrong with a file is told in a line that names it."""
    try:
        yield
    except UserError as error:
        raise failed(f"{name}: {error}") from None
    except NOT_GZIP:
        raise failed(f"{name}: {NOT_GZIP_TOLD}") from None
    except OSError as error:
        raise failed(f"{name}: {error.strerror or error}") from None


class Refusals:
    """What is told of refused lines or records: how many, the first of all, and the first of each reason."""

    def __init__(self, noun: str = "line") -> None:
        self.shown: list[str] = []
        self.n: Counter[Reason] = Counter()
        self._noun = noun
        self._first: dict[str, str] = {}

    def add(self, place: int | str, refused: "Refused | None") -> None:
        """Remember the line or record at that place if it is refused, and to be told."""
        if refused is None:
            return
        self.n[refused.reason] += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(f"{self._noun} {place}: {refused.reason}: {refused.error}")
        self._first.setdefault(refused.reason, f"{self._noun} {place}: {refused.error}")

    def most_frequent(self) -> str:
        """How many were refused, most often why, and where that was first."""
        (reason, n), *others = self.n.most_common()
        total = self.n.total()
        which = f", {n:,} of them" if others else ", all" if total > 1 else ""
        return f"{counted(total, self._noun)} refused{which} as {reason} ({self._first[reason]})"


def read(file: str, why: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers, while progress is shown."""
    return numbered(_lines(file), why)


def numbered(found: Iterable[bytes], why: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers, while progress is shown."""
    with progress(why) as advance:
        for number, line in enumerate(found, 1):
            if number % TELL_EVERY == 0:
                advance(TELL_EVERY)
            if text := line.strip():
                yield number, text


def _lines(file: str) -> Iterator[bytes]:
    """Lines of a file or standard input, unpacked when they are packed."""
    if file == "-":
        yield from lines(unpacked(sys.stdin.buffer))
        return
    with Path(file).open("rb") as stream:
        yield from lines(unpacked(stream))


@dataclass(frozen=True, slots=True)
class Twice:
    """A history that is read more than once: what it is called, its lines, and what of it is refused."""

    name: str
    stream: IO[bytes]
    refusals: Refusals
    found_in: dict[str, set[str]] = field(default_factory=dict)
    """Topics and the stages that they hold; none of a file."""

    @property
    def topics(self) -> dict[str, str]:
        """Stages, each with its topic, where a worker could read it: one topic, one stage."""
        of = {stage: topic for topic, stages in self.found_in.items() if len(stages) == 1 for stage in stages}
        spread = Counter(stage for stages in self.found_in.values() for stage in stages)
        return {stage: topic for stage, topic in of.items() if spread[stage] == 1}


FromKafka = Annotated[
    list[str] | None,
    typer.Option(
        "--from-kafka", metavar="TOPIC", help="Read this topic instead of a file; repeat it for several."
    ),
]
Days = Annotated[
    float,
    typer.Option(callback=above_zero, help="Of a topic: read what was written within so many days."),
]
LATELY = 30.0
"""Days. Four weeks hold each hour of the week four times."""


@contextmanager
def twice(file: str | None, names: Sequence[str] | None, days: float, settings: Settings) -> Iterator[Twice]:
    """The history of a file, or of topics; what goes wrong with it is told and ends the command."""
    if (file is None) is (not names):
        raise failed("give a history: FILE, or --from-kafka TOPIC")
    if file is not None:
        name = STDIN if file == "-" else file
        try:
            with reread(Path("/dev/stdin" if file == "-" else file), name) as stream, named(name):
                yield Twice(name, stream, Refusals())
        except UserError as error:
            raise failed(str(error)) from None
        return
    known = list(dict.fromkeys(names or ()))
    name = ", ".join(known)
    with tempfile.TemporaryFile() as stream, named(name):
        found = Twice(name, stream, Refusals("record"))
        run_at_once(lambda: _copy(settings, known, days, found))
        stream.seek(0)
        yield found


async def _copy(settings: Settings, names: Sequence[str], days: float, to: Twice) -> None:
    """Write the events of topics, up to their ends of now, as lines; remember records that are none.

    Of no consumer group: Kafka keeps nothing of who has read.
    """
    import msgspec

    from monitor.counting.event import Refused
    from monitor.journey_file.grammar import MAX_STAGES
    from streams.kafka.read_back import since

    encode, n = msgspec.json.Encoder().encode, Counter[str]()
    begin_ms = max(0, now_ms() - round(days * 86_400_000))
    with progress("fetch") as advance:
        async with aclosing(since(settings, names, begin_ms)) as records:
            async for record in records:
                n[record.topic] += 1
                if n.total() % TELL_EVERY == 0:
                    advance(TELL_EVERY)
                event = event_of(record.value, record.headers)
                if isinstance(event, Refused):
                    to.refusals.add(f"{record.topic}:{record.partition}:{record.offset}", event)
                    continue
                stages = to.found_in.setdefault(record.topic, set())
                if len(stages) <= MAX_STAGES:  # with more nothing can be learned
                    stages.add(event.stage)
                to.stream.write(encode(event) + b"\n")
                if to.stream.tell() > MAX_COPY:
                    raise UserError(f"{to.name}: more than {MAX_COPY >> 30} GiB; read fewer --days")
    if empty := [name for name in names if not n[name]]:
        told = f"nothing was written in the last {days:g} d"
        raise UserError(f"{', '.join(empty)}: {told}; --days looks further back")


def event_of(value: bytes | None, headers: "Headers" = ()) -> "Event | Refused":
    """The event of a line or a record, of whatever stage and outcome, in a year of a customer's life."""
    from monitor.counting.event import Refused, decoded, refuse_year

    event = decoded(value, headers)
    return event if isinstance(event, Refused) else refuse_year(event.at_ms) or event


def seen_in(read: Twice, also: Callable[["Event"], None] | None = None) -> "Seen":
    """What a history holds, each event given to `also`; UserError when it has none."""
    from monitor.counting.event import Refused
    from monitor.learn.seen import Seen

    seen, refusals = Seen(), read.refusals
    for number, line in numbered(lines(read.stream), "read"):
        event = event_of(line)
        if isinstance(event, Refused):
            refusals.add(number, event)
            continue
        seen.add(event)
        if also is not None:
            also(event)
    if not seen.n:
        told = f": {refusals.most_frequent()}" if refusals.n else ""
        told = told or next((f": `{name}` is no name of a stage or an outcome" for name in seen.unnamed), "")
        raise UserError(f"it has no event{told}")
    read.stream.seek(0)
    return seen


def span_of(seen: "Seen", zone: ZoneInfo) -> str:
    """How many events of how many stages, from when to when."""
    return (
        f"{counted(seen.n, 'event')} of {counted(len(seen.stages), 'stage')},"
        f" {local(seen.first_ms, zone)} to {local(seen.last_ms, zone)}"
    )
