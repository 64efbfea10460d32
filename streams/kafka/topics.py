"""Which Kafka topics the product needs; what happens when one is missing or has another partition count."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidPartitionsError, KafkaError, TopicAlreadyExistsError, for_code

from monitor.errors import UserError
from monitor.journey_file.model import CLOSED_KEPT_MS, STEPS_TOPIC, Journey
from streams.kafka import internals
from streams.kafka.errors import in_words
from streams.kafka.security import kafka_options, kafka_refusal
from streams.kafka.topic_ids import TopicState, topic_states
from streams.settings import Settings

log = logging.getLogger(__name__)

CLUSTER_ID = "touchpoint-embedded"
"""In every Metadata answer, so a worker can tell this broker from Apache Kafka."""


MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Limit of dead letters and of our producer: what a source topic took, with the reason added, must fit.
Kafka's own default is 1 MiB; a record beyond this limit stops the worker."""


MAX_BYTES = "max.message.bytes"
LARGE = {MAX_BYTES: str(MAX_RECORD_BYTES)}
"""Configuration of a topic that takes them."""

MIN_ATTEMPT_S = 1.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be; `partitions` is None where any count will do.

    A changelog `follows` the topic that it is about, partition by partition. That of journeys `is_keyed`:
    their ids say where they are kept, so it cannot. Where it `may_have_more`, the others stay empty.
    """

    name: str
    partitions: int | None
    config: dict[str, str] = field(default_factory=dict)
    follows: str | None = None
    is_keyed: bool = False
    is_source: bool = False
    may_have_more: bool = False

    def wrong(self, found: int) -> str | None:
        """One line about a partition count that will not do, and what to do; None about one that does.

        A stage's topic may have more than the journey file says: partitions are added, and never taken away.
        """
        expected = self.partitions
        if expected is None or found == expected or (self.may_have_more and found > expected):
            return None
        if self.is_source and found > expected:
            log.warning("topic %s has %d partitions, the journey file says %d", self.name, found, expected)
            return None
        if self.is_keyed:
            return (
                f"topic {self.follows} has {expected} partitions, but journeys are kept in the {found} of"
                f" {self.name}: delete both, and journeys begin anew"
            )
        line = f"topic {self.name} has {found} partitions, expected {expected}"
        if found < expected:
            return f"{line}: `touchpoint topics --grow` adds the others"
        return f"{line}: give topic {self.follows} as many" if self.follows else line


JOURNEYS = "journeys-kept"
"""The table of journeys; with a hyphen, as no stage is named."""


def changelog_topic(group: str, table: str) -> str:
    """The changelog of a table, as Faust names it; a stage's table has the stage's name."""
    return f"{group}-{table}-changelog"


def steps_topic(group: str) -> str:
    """Where steps go to the partition of their journey."""
    return f"{group}-{STEPS_TOPIC}"


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for a with block; retries for `kafka_timeout_s`, then UserError.

    What asking again cannot mend is a UserError at once.
    """
    admin = await _connect(settings)
    try:
        yield admin
    except KafkaError as error:
        raise UserError(in_words(error, settings)) from None
    finally:
        await admin.close()


@dataclass(frozen=True)
class Abilities:
    """What a broker can."""

    producer_ids: bool = True
    """Idempotent and transactional producers."""

    end_offsets: bool = True
    """ListOffsets answers the true end of a partition."""

    session_s: float = math.inf
    """The longest session timeout to ask it for."""


APACHE_KAFKA = Abilities()
"""All of it."""

EMBEDDED = Abilities(producer_ids=False, end_offsets=False, session_s=4.0)
"""It answers who joins a group after half of the session timeout, in full seconds: here after two. A worker
that is short of a processor for longer than all of it is thrown out."""


async def abilities(admin: AIOKafkaAdminClient) -> Abilities:
    """What this broker can, the embedded one less than Apache Kafka."""
    cluster = await admin.describe_cluster()
    return EMBEDDED if cluster.get("cluster_id") == CLUSTER_ID else APACHE_KAFKA


async def _connect(settings: Settings) -> AIOKafkaAdminClient:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.kafka_timeout_s
    options = kafka_options(settings)
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.split(","), **options)
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + MIN_ATTEMPT_S)):
                await admin.start()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            await admin.close()
            if refusal := await kafka_refusal(settings, options):
                raise UserError(refusal) from None
            if loop.time() >= deadline:
                raise UserError(
                    f"Kafka at {settings.kafka} does not answer ({type(error).__name__});"
                    f" tried for {settings.kafka_timeout_s:g} s"
                ) from None
            await asyncio.sleep(0.5)
        else:
            return admin


async def partition_counts(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partition counts of those of the topics that exist."""
    wanted = set(names) & set(await admin.list_topics())
    described = await admin.describe_topics(sorted(wanted)) if wanted else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def states(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, TopicState]:
    """Which topics the names stand for."""
    return await topic_states(internals.admin_client(admin), names)


async def largest_records(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """The largest record, in bytes, that each topic takes; nothing of one whose configuration is not ours to
    read."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, int] = {}
    for answer in await admin.describe_configs(resources) if resources else ():
        for _, _, _, topic, entries in answer.resources:
            found |= [(topic, int(entry[1])) for entry in entries if entry[0] == MAX_BYTES]
    return found


async def create(admin: AIOKafkaAdminClient, topics: list[Topic], settings: Settings) -> None:
    """Create topics that are missing; one created by somebody else meanwhile is no error."""
    if not topics:
        return
    answer = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions or settings.topic_partitions,
                settings.replication_factor,
                topic_configs=topic.config,
            )
            for topic in topics
        ]
    )
    for name, code, *text in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise UserError(f"topic {name} cannot be created: {error.__name__} {' '.join(map(str, text))}")


def source_topics(journey: Journey) -> list[Topic]:
    """What services publish to."""
    return [Topic(stage.topic, stage.partitions, is_source=True) for stage in journey.stages]


def read_topics(journey: Journey, group: str) -> list[Topic]:
    """What workers read: the stages' topics, and the steps that they themselves pass on."""
    steps = [Topic(steps_topic(group), None, LARGE)] if journey.journeys is not None else []
    return [*source_topics(journey), *steps]


def own_topics(journey: Journey, group: str, counts: dict[str, int]) -> list[Topic]:
    """What else the monitor needs: a changelog with its source's partition count, dead letters, changes."""
    topics = []
    if journey.journeys is not None:
        changelog, steps = changelog_topic(group, JOURNEYS), steps_topic(group)
        config = {"cleanup.policy": "compact", **LARGE}
        topics.append(Topic(changelog, counts[steps], config, follows=steps, is_keyed=True))
        topics.append(journeys_topic(journey, steps, counts[steps]))
    for stage in journey.stages:
        changelog, config = changelog_topic(group, stage.name), {"cleanup.policy": "compact"}
        topics.append(Topic(changelog, counts[stage.topic], config, follows=stage.topic))
        topics.append(Topic(stage.dead_letter_topic, None, LARGE))
    return [*topics, changes_topic(journey), findings_topic(journey)]


def journeys_topic(journey: Journey, steps: str, partitions: int) -> Topic:
    """Where closed journeys are published, each to the partition that has its steps in the topic of steps."""
    config = {"retention.ms": str(CLOSED_KEPT_MS), **LARGE}
    return Topic(journey.journeys_topic, partitions, config, follows=steps, may_have_more=True)


def changes_topic(journey: Journey) -> Topic:
    """Where deploys and incidents are published; every worker reads all of it."""
    return Topic(journey.changes_topic, 1)


def findings_topic(journey: Journey) -> Topic:
    """Where fired and resolved alerts are published, in their order."""
    return Topic(journey.findings_topic, 1)


async def ensure(
    admin: AIOKafkaAdminClient, journey: Journey, settings: Settings, *, grow: bool = False
) -> dict[str, int]:
    """Create what is missing, compare what is there; the partition counts of what workers read.

    A changelog gets the partitions that its source has been given meanwhile, if topics may be created. With
    `grow` it gets them anyway, and a stage's topic those that the journey file says. UserError names every
    topic that is missing (and may not be created) or has another count.
    """
    counts = await ensure_all(admin, read_topics(journey, settings.group), settings, grow=grow)
    await ensure_all(admin, own_topics(journey, settings.group, counts), settings, grow=grow)
    return counts


async def require_room(
    admin: AIOKafkaAdminClient, journey: Journey, group: str, counts: dict[str, int]
) -> None:
    """UserError names every topic that does not take the largest records that are written to it.

    Somebody else has created it: to change its configuration is not ours either. Workers do not ask, for they
    work until such a record comes.
    """
    ours = [*read_topics(journey, group), *own_topics(journey, group, counts)]
    names = [topic.name for topic in ours if MAX_BYTES in topic.config]
    short = {
        name: limit
        for name, limit in (await largest_records(admin, names)).items()
        if limit < MAX_RECORD_BYTES
    }
    if short:
        lines = (
            f"topic {name} takes records of at most {limit:,} bytes, but larger ones may be written to it:"
            f" set its {MAX_BYTES} to {MAX_RECORD_BYTES}"
            for name, limit in short.items()
        )
        raise UserError("\n".join(lines))


async def ensure_all(
    admin: AIOKafkaAdminClient, topics: list[Topic], settings: Settings, *, grow: bool = False
) -> dict[str, int]:
    """The same of these topics; their partition counts."""
    names = [topic.name for topic in topics]
    there = await partition_counts(admin, names)
    missing = [topic for topic in topics if topic.name not in there]
    if missing and not settings.create_topics:
        raise UserError("\n".join(f"topic {topic.name} does not exist" for topic in missing))
    await create(admin, missing, settings)
    found = await _known(admin, dict.fromkeys(names, 1), settings)
    short = {
        topic.name: topic.partitions
        for topic in topics
        if topic.partitions is not None
        and found[topic.name] < topic.partitions
        and not topic.is_keyed
        and (grow or (settings.create_topics and topic.follows is not None))
    }
    await _grow(admin, short)
    found |= await _known(admin, short, settings)
    wrong = [line for topic in topics if (line := topic.wrong(found[topic.name]))]
    if wrong:
        raise UserError("\n".join(wrong))
    return found


async def _known(admin: AIOKafkaAdminClient, least: Mapping[str, int], settings: Settings) -> dict[str, int]:
    """Partition counts, once each topic has at least so many; UserError after `kafka_timeout_s`.

    What has just been created or enlarged, by whomever, takes a moment to be known to every broker.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.kafka_timeout_s
    while True:
        found = await partition_counts(admin, least)
        unknown = [name for name, partitions in least.items() if found.get(name, 0) < partitions]
        if not unknown:
            return found
        if loop.time() > deadline:
            names = ", ".join(unknown)
            raise UserError(f"created, but not known to Kafka after {settings.kafka_timeout_s:g} s: {names}")
        await asyncio.sleep(0.05)


async def _grow(admin: AIOKafkaAdminClient, partitions: Mapping[str, int]) -> None:
    """Add partitions up to these counts; no harm if another worker was faster."""
    for name, total in partitions.items():
        try:
            with contextlib.suppress(InvalidPartitionsError):
                await admin.create_partitions({name: NewPartitions(total)})
        except KafkaError as error:
            raise UserError(f"topic {name} cannot be given {total} partitions: {error}") from None
        log.info("topic %s has %d partitions now", name, total)
