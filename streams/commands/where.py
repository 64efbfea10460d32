"""The command `touchpoint where`: what the bad encounters of a stage have in common."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.causes.asked import BEFORE_MIN, LAST_MIN, NOT_OF_STAFF
from monitor.counting.display import printable
from monitor.counting.event import Codec
from monitor.journey_file.nodes import nearest
from streams.clock import now_ms
from streams.commands.shared import above_zero, configured, failed, run_at_once

if TYPE_CHECKING:
    from monitor.causes.encounters import Encounters


def where(
    stage: Annotated[str, typer.Argument(help="Its name in the journey file.")],
    experience: Annotated[str | None, typer.Option(help="One of the stage's; all unless given.")] = None,
    last: Annotated[
        float, typer.Option(callback=above_zero, help="Minutes of trouble, up to now.")
    ] = LAST_MIN,
    before: Annotated[
        float, typer.Option(callback=above_zero, help="Minutes before these, which say what is usual.")
    ] = BEFORE_MIN,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each experience.")] = False,
) -> None:
    """Say what the bad encounters of a stage have in common: segment, partner, channel, location, touchpoint
    or reason.

    Reads the stage's events from Kafka once more, some 10 s for a million, and disturbs no worker. Names up
    to three causes, best first, each with its numbers, since when, and where it is not.

    Example: touchpoint where web_checkout --last 10
    """
    settings, journey = configured()
    stages = {one.name: one for one in journey.stages}
    if stage not in stages:
        raise failed(f"unknown stage `{stage}`{nearest(stage, stages)}")
    if stages[stage].kind == "staff":
        raise failed(NOT_OF_STAFF)
    named = {one.name: one for one in stages[stage].experiences}
    if experience is not None and experience not in named:
        raise failed(f"stage `{stage}` has no experience `{experience}`{nearest(experience, named)}")

    from monitor.causes.encounters import Encounters
    from streams.kafka.read_back import since
    from streams.web.where import MINUTE_MS, count

    begin_ms = now_ms() - round(last * MINUTE_MS)
    asked = [Encounters(one, begin_ms) for one in named.values() if experience in (None, one.name)]
    codec = Codec(journey, stages[stage], refuse_personal_data=settings.refuse_personal_data)
    earliest_ms = begin_ms - round(before * MINUTE_MS)
    run_at_once(lambda: count(since(settings, [codec.stage.topic], earliest_ms), codec, asked, earliest_ms))
    for one in asked:
        _tell(one, as_json=as_json)


def _tell(one: "Encounters", *, as_json: bool) -> None:
    try:
        found = one.found()
    except ValueError as error:
        typer.echo(f"{one.experience.name}: {error}", err=True)
        return
    told = [json.dumps(one.as_json(found))] if as_json else one.told(found)
    for line in told:
        typer.echo(printable(line))
