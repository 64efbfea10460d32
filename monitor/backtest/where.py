"""What the bad encounters behind an alert on a degraded stage have in common, told from the same history."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from monitor.backtest.history import Ids
from monitor.backtest.run import Fired
from monitor.backtest.timeline import WINDOW
from monitor.causes.asked import BEFORE_MIN, LAST_MIN
from monitor.causes.encounters import Encounters
from monitor.causes.search import Found
from monitor.counting.event import Codecs, Refused
from monitor.counting.times import rfc3339
from monitor.journey_file.hours import MINUTE_MS
from monitor.rules.plan import Plan


class Around(NamedTuple):
    """The encounters from so long before the trouble of an alert until it was noticed."""

    fired: Fired
    earliest_ms: int
    encounters: Encounters


class Whereabouts:
    """Counts the encounters around alerts while the history is read once more.

    The trouble is the window that the alert names, or the minutes that `touchpoint where` takes if these are
    more; before it lie the minutes that say what is usual. Of staff nothing is said.
    """

    def __init__(self, plan: Plan, fired: Iterable[Fired], *, refuse_personal_data: bool = True) -> None:
        journey = plan.journey
        self._codecs = Codecs(journey, refuse_personal_data=refuse_personal_data)
        self._ids = {stage.name: Ids(stage.dedupe_ms) for stage in journey.stages}
        self._asked: list[Around] = []
        self._by_minute: defaultdict[tuple[str, int], list[Around]] = defaultdict(list)
        told = {stage.name: stage for stage in journey.stages if stage.kind != "staff"}
        for one in fired:
            if one.key.name == "StageDegraded" and one.key.stage in told:
                of = {experience.name: experience for experience in told[one.key.stage].experiences}
                begin_ms = one.noticed_ms - max(WINDOW[one.window].ms, round(LAST_MIN * MINUTE_MS))
                earliest_ms = begin_ms - round(BEFORE_MIN * MINUTE_MS)
                around = Around(one, earliest_ms, Encounters(of[one.key.experience], begin_ms))
                self._asked.append(around)
                for minute in range(earliest_ms // MINUTE_MS, one.noticed_ms // MINUTE_MS + 1):
                    self._by_minute[one.key.stage, minute].append(around)

    def add_line(self, line: bytes) -> None:
        """Count the event of a line, if it is one and lies around an alert of its stage."""
        event = self._codecs.of(line).decode(line)
        if isinstance(event, Refused):
            return
        around = self._by_minute.get((event.stage, event.at_ms // MINUTE_MS))
        if around and event.id and not self._ids[event.stage].is_repeated(event.id, event.at_ms):
            for one in around:
                if one.earliest_ms <= event.at_ms < one.fired.noticed_ms:
                    one.encounters.add(event)

    def told(self) -> Iterator[str]:
        """Line by line, for a person."""
        for fired, encounters, found in self._found():
            first, *more = encounters.told(found)
            yield f"{rfc3339(fired.noticed_ms)[:19]}Z {fired.key.stage}: {first}"
            yield from more

    def as_json(self) -> list[dict[str, Any]]:
        """Plain data, as `touchpoint where --json` prints it, with stage and time of the alert."""
        return [
            {"noticed": rfc3339(fired.noticed_ms), "stage": fired.key.stage, **encounters.as_json(found)}
            for fired, encounters, found in self._found()
        ]

    def _found(self) -> Iterator[tuple[Fired, Encounters, Found]]:
        for one in self._asked:
            try:
                found = one.encounters.found()
            except ValueError:  # nothing was judged before the trouble
                continue
            yield one.fired, one.encounters, found
