"""The board of the monitor itself: whether the other boards can be trusted, and what it costs."""

from collections.abc import Iterator

from monitor.boards.panels import (
    COUNT,
    DOTTED,
    LINES,
    RANKED,
    WIDTH,
    Json,
    bars,
    chart,
    fixed,
    heading,
    high_is_bad,
    lines,
    matching,
    now,
    override,
    query,
    rows,
    stat,
    thresholds,
    timeline,
    titled,
    words,
)
from monitor.boards.parts import UNKNOWN, alerts_table, blind, trusted
from monitor.boards.tables import table, tall_for_bars, wide_enough
from monitor.boards.titles import stage_titles
from monitor.counting import metrics
from monitor.counting.display import BLUE, ORANGE, VERMILLION
from monitor.counting.event import Reason
from monitor.journey_file.model import ALL, STEPS_TOPIC
from monitor.journeys.open import MAX_STEPS
from monitor.rules.monitor import CAUSES, LETTERS_SHARE, READ
from monitor.rules.plan import JOURNEYS_LAG_S, LAG_S, Plan
from monitor.rules.series import COUNTED, JOB, select

RATE = "$__rate_interval"
RECORDS = f"{metrics.RECORDS.name}_total"

RESULTS = {
    "counted": "counted",
    "late": "counted, more than a minute late",
    "duplicate": "duplicates",
    "refused": "refused",
}

STEPS = RESULTS | {"late": "counted, after the end of their journey", "skipped": "skipped"}

STEPS_LINE = matching(
    f"/.+-{STEPS_TOPIC}$/", displayName="Steps of journeys", color=fixed(LINES[-1]), custom_lineStyle=DOTTED
)
"""Their topic is named after the group of workers, which the journey file does not know."""

SHORT_CAUSES = {
    "no_worker": "no worker",
    "scrape_failed": "not scraped",
    "not_ready": "not ready",
    "not_counted": "not counted",
    "clock": "clock wrong",
    "lag": "behind",
    "open_transaction": "transaction open",
    "held_up": "journeys behind",
}
"""`CAUSES` as long as a telephone has room for before a strip."""

SLOW_SCRAPE_S, SCRAPE_TIMEOUT_S = 1.0, 5.0
"""Prometheus gives up after the interval of the shipped configuration."""

MANY_SAMPLES = 100_000
"""A worker writes as many in `SLOW_SCRAPE_S`, 10 µs each. The shipped journey has 11,000; fifty stages like
its web checkout, the most that a journey file may have, come to 83,000."""


def panels(plan: Plan) -> Iterator[Json]:
    """Trust first, then lag, flow and cost."""
    yield from _trust()
    yield heading("How far behind")
    yield from _lag(plan)
    yield heading("What comes in")
    yield from _flow(plan)
    if plan.journey.journeys is not None:
        yield _steps()
    yield heading("The monitor itself")
    yield from _cost(plan)


def _trust() -> Iterator[Json]:
    yield trusted((6, 5))
    yield stat(
        "Workers ready",
        "Workers that count, and workers that Prometheus looks for. Good is as many ready as wanted; one "
        "that is not is starting, recovering, or stuck.",
        query(f"sum({metrics.READY.name}) or on () vector(0)", "ready"),
        query(f'count(up{{job="{JOB}"}})', "wanted"),
        unit=COUNT,
        size=(6, 5),
        steps=thresholds((None, VERMILLION), (1, BLUE)),
        textMode="value_and_name",
        nothing=UNKNOWN,
    )
    yield stat(
        "Partitions counted",
        "Share of all partitions that a ready worker counts. 100 % is good; less means that some events are "
        "not counted now, which passes within a minute when workers come or go.",
        query(f"({COUNTED} or 0 * sum({metrics.OWNED.name})) / max({metrics.PARTITIONS.name})", "counted"),
        unit="percentunit",
        size=(6, 5),
        steps=thresholds((None, VERMILLION), (1, BLUE)),
        field={"decimals": 0},
        nothing=UNKNOWN,
    )
    yield stat(
        "Behind by",
        f"Age of the oldest event being read while more wait, over all topics. 0 is best; beyond {LAG_S} s "
        "stages are not judged any more.",
        query(f"max({metrics.EVENT_LAG.name})", "behind"),
        unit="s",
        size=(6, 5),
        steps=high_is_bad(LAG_S / 2, LAG_S),
        graphMode="area",
        field={"decimals": 1},
        nothing=UNKNOWN,
    )
    meant = " ".join(f"{short.capitalize()}: {CAUSES[cause]}." for cause, short in SHORT_CAUSES.items())
    yield timeline(
        "What makes the monitor blind",
        f"Each cause over time. {meant} Good is fine everywhere; while one is blind, alerts of stages stay "
        "silent and this is alerted on instead.",
        *(query(blind(cause=cause), cause) for cause in CAUSES),
        unit=COUNT,
        size=(WIDTH, 8),
        steps=high_is_bad(1, 1),
        nothing=UNKNOWN,
        mappings=words({"0": ("fine", BLUE), "1": ("blind", VERMILLION)}),
        overrides=titled(SHORT_CAUSES),
    )


def _topics(plan: Plan) -> list[Json]:
    return [*lines({stage.topic: stage.title for stage in plan.journey.stages}), STEPS_LINE]


def _lag(plan: Plan) -> Iterator[Json]:
    topics = _topics(plan)
    yield chart(
        "Behind by, each stage",
        f"Age of the oldest event being read while more wait. 0 is best; above the line at {LAG_S} s a "
        "stage is not judged.",
        query(f"max by (topic) ({metrics.EVENT_LAG.name})", "{{topic}}"),
        unit="suffix:s",
        size=(12, 9),
        steps=thresholds((None, BLUE), (LAG_S, VERMILLION)),
        custom={"thresholdsStyle": {"mode": "line"}},
        overrides=topics,
        field={"min": 0},
        legend=RANKED,
    )
    yield chart(
        "Events waiting, each stage",
        "Records in Kafka that no worker has read yet. Good is near 0, or falling.",
        query(f"sum by (topic) ({metrics.CONSUMER_LAG.name})", "{{topic}}"),
        unit=COUNT,
        size=(12, 9),
        overrides=topics,
        field={"min": 0},
        legend=RANKED,
    )
    if plan.journey.journeys is not None:
        yield _judged()
    yield _whole(plan)
    yield bars(
        "Since the last event, each stage",
        "How long ago the newest event of each stage happened, longest first. What is good depends on its "
        "rhythm and opening hours: the alert of a silent stage knows them.",
        now(f"sort_desc(time() - max by (stage) ({metrics.LAST_EVENT.name}))", "{{stage}}"),
        unit="s",
        size=(WIDTH, tall_for_bars(len(plan.journey.stages), 8)),
        overrides=titled(stage_titles(plan)),
        field={"min": 0, "decimals": 0},
        nothing=UNKNOWN,
    )


def _whole(plan: Plan) -> Json:
    """No loss is known only while ready workers answer for every partition: each tells its own losses."""
    since = f"time() - max by (topic) ({metrics.WHOLE_SINCE.name})"
    all_tell = f"(sum({metrics.OWNED.name}) >= max({metrics.PARTITIONS.name}))"
    none = (
        f'label_replace(0 * {all_tell} - 1 unless on () {metrics.READY.name} == 0, "topic", "{ALL}", "", "")'
    )
    return bars(
        "Windows whole for, each stage",
        "How long windows have held every event again after a changelog was deleted, and the counts before "
        "with it. A wider window shows less than there was. No loss known is good: every partition has a "
        "worker that answers, and none of them lost counts.",
        now(f"{since} or on () {none}", "{{topic}}"),
        unit="s",
        size=(WIDTH, 6),
        mappings=words({"-1": ("no loss known", BLUE)}),
        overrides=[*_topics(plan), override(ALL, displayName="all stages")],
        field={"min": 0, "decimals": 0},
        nothing=UNKNOWN,
    )


def _judged() -> Json:
    return chart(
        "Journeys judged as of",
        "How long ago the moment is up to which all whole journeys are judged. Good is about a minute; "
        f"beyond {JOURNEYS_LAG_S // 60} min they are not held to their targets, and `/api/stages` of a "
        "worker names the partition that holds them up. Nothing is drawn while one was never heard of.",
        query(f"(time() - (min({metrics.JOURNEYS_JUDGED.name}) > 0)) / 60", "furthest behind"),
        unit="suffix:min",
        size=(WIDTH, 8),
        steps=thresholds((None, BLUE), (JOURNEYS_LAG_S / 60, VERMILLION)),
        custom={"thresholdsStyle": {"mode": "line"}},
        field={"min": 0},
        overrides=[override("furthest behind", color=fixed(LINES[0]))],
    )


def _flow(plan: Plan) -> Iterator[Json]:
    topics = tuple(stage.topic for stage in plan.journey.stages)
    letters = f"{metrics.DEAD_LETTERS.name}_total"
    yield chart(
        "Events per second",
        "What was read from the topics of the stages, by what became of it; late ones are among the counted. "
        "Good is nearly all counted, next to none refused.",
        query(f"sum by (result) (rate({select(RECORDS, topic=topics)}[{RATE}]))", "{{result}}"),
        unit="suffix:/s",
        size=(12, 9),
        overrides=lines(RESULTS),
        field={"min": 0},
    )
    yield chart(
        "Refused, by reason",
        "Events per second that could not be read or counted and went to the dead letters; `touchpoint "
        "dead-letters list` shows them. None is good.",
        query(f"sum by (reason) (rate({letters}[{RATE}])) > 0", "{{reason}}"),
        unit="suffix:/s",
        size=(12, 9),
        overrides=lines({one.value: one.value.replace("_", " ") for one in Reason}),
        field={"min": 0},
    )
    counted, late, refused, read = (
        f"sum(rate({select(RECORDS, topic=topics, result=results)}[{RATE}]))"
        for results in ("counted", "late", "refused", READ)
    )
    yield chart(
        "Late and refused, share",
        "Share of counted events that came more than a minute after they happened, and of all read events "
        f"that were refused. 0 % is good; refused above the line at {float(LETTERS_SHARE):.0%} for a while "
        "opens a ticket.",
        query(f"{late} / ({counted} > 0)", "late"),
        query(f"{refused} / ({read} > 0)", "refused"),
        unit="percentunit",
        size=(WIDTH, 8),
        steps=thresholds((None, BLUE), (float(LETTERS_SHARE), ORANGE)),
        custom={"thresholdsStyle": {"mode": "line"}},
        overrides=lines({"late": "late", "refused": "refused"}),
        field={"min": 0},
    )


def _steps() -> Json:
    steps = f'{RECORDS}{{topic=~".+-{STEPS_TOPIC}"}}'
    return chart(
        "Steps of journeys per second",
        "Events with a journey_id, handed on as steps to the worker that keeps the journey, by what became "
        "of them. Good is nearly all counted. Late: it came after its journey was over, and changes nothing. "
        f"Refused: its journey has {MAX_STEPS} steps already, as when a service gives all its events one id, "
        "or the memory for journeys is full. Skipped: its record is none of ours; one opens a ticket.",
        query(f"sum by (result) (rate({steps}[{RATE}]))", "{{result}}"),
        unit="suffix:/s",
        size=(WIDTH, 8),
        overrides=lines(STEPS),
        field={"min": 0},
    )


def _cost(plan: Plan) -> Iterator[Json]:
    job = f'{{job="{JOB}"}}'
    yield chart(
        "Time to answer Prometheus",
        "The slowest worker's answer to a scrape. Good is well under a second; beyond "
        f"{SCRAPE_TIMEOUT_S:g} s Prometheus gives up and the monitor is blind.",
        query(f"max(scrape_duration_seconds{job})", "slowest worker"),
        unit="s",
        size=(8, 8),
        steps=high_is_bad(SLOW_SCRAPE_S, SCRAPE_TIMEOUT_S),
        field={"min": 0},
        overrides=[override("slowest worker", color=fixed(LINES[0]))],
    )
    yield chart(
        "Numbers per worker",
        "Samples in the largest answer to Prometheus. The journey file decides how many: some 1,500 for each "
        "stage, of each experience, segment and time span. Good is steady. Above the line at "
        f"{MANY_SAMPLES:,} writing them alone takes a worker {SLOW_SCRAPE_S:g} s.",
        query(f"max(scrape_samples_scraped{job}) > 0", "largest worker"),
        unit=COUNT,
        size=(8, 8),
        steps=thresholds((None, BLUE), (MANY_SAMPLES, ORANGE)),
        custom={"thresholdsStyle": {"mode": "line"}},
        nothing=UNKNOWN,
        field={"min": 0},
        overrides=[override("largest worker", color=fixed(LINES[0]))],
    )
    yield table(
        "Versions running",
        "Version and journey of each worker. Good is one version and one journey everywhere, except while "
        "deploying.",
        {"instance": "Worker", "version": "Version", "journey": "Journey"},
        rows(f"max by (instance, version, journey) ({metrics.BUILD.name}_info)"),
        unit=COUNT,
        size=(8, 8),
        nothing=UNKNOWN,
        overrides=[override("instance", custom_minWidth=wide_enough(["127.0.0.1:65535"]))],
    )
    yield alerts_table(plan, alertname="MonitorBlind")
