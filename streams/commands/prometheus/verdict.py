"""The command `touchpoint verdict`: what a change did, from what Prometheus holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.counting.display import counted, printable
from monitor.counting.times import rfc3339
from monitor.journey_file.model import ALL, Journey
from monitor.journey_file.nodes import nearest
from streams.clock import now_ms
from streams.commands.prometheus.server import ADDRESS, Address, Server, TokenFile, asked, server
from streams.commands.shared import configured, failed, run_at_once

if TYPE_CHECKING:
    from monitor.changes.effect import Judged, Spans
    from monitor.changes.questions import Around, Known, Published

WORSE, CANNOT_TELL = 3, 4
"""Exit codes beside 0; 1 and 2 are errors and wrong use, as of every command."""

ONLY_CHANCE = (
    "fewer than three days before are known: the interval knows chance, not how much this moves by itself"
)

NAMED = 10
"""Changes that are named when none is the one asked for."""


def verdict(
    change: Annotated[str, typer.Argument(help="Title of the change, as published.")],
    segment: Annotated[
        list[str] | None,
        typer.Option(help="Segment that the change reached, repeatable; all others are the control."),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Stage of the change, if several were published with this title.")
    ] = None,
    minutes: Annotated[
        int, typer.Option(min=1, max=1440, help="Minutes before and after; fewer if fewer are over.")
    ] = 1440,
    prometheus: Address = ADDRESS,
    token_file: TokenFile = None,
    journey: Annotated[
        Path | None, typer.Option("--journey", help="Journey file; TOUCHPOINT_JOURNEY unless given.")
    ] = None,
) -> None:
    """Say whether a published change made things better or worse, had no effect, or nobody can tell.

    Compares bad shares before and after; with --segment against the other segments, which it did not reach.
    Exit code: 0 better or no effect, 3 worse, 4 cannot tell; 1 error, 2 wrong use.

    Example: touchpoint verdict "checkout 4.2.0" --segment new --prometheus http://prometheus:9090
    """
    from monitor.changes.effect import LEAST_DAYS, Effect, judged, overall
    from monitor.changes.questions import DAYS, around, compared, known, questions

    _, read = configured(journey)
    touched = _touched(read, segment or ())
    place = server(prometheus, token_file)
    now_s = now_ms() // 1000
    published = _published(place, now_s)
    found = _chosen(published, change, stage)
    if found.stage not in {ALL, *(one.name for one in read.stages)}:
        raise failed(f"the journey file names no stage `{found.stage}`, which the change is about")
    stages = [one for one in read.stages if found.stage in (ALL, one.name)]
    spans = around(found.at_s, now_s, minutes)
    if spans is None:
        typer.echo(f"{Effect.CANNOT_TELL}: it takes three minutes after the change at {_when(found.at_s)}")
        raise typer.Exit(CANNOT_TELL)
    each = [spans.ago(days) for days in range(DAYS + 1)]
    answers = run_at_once(lambda: asked(place, [one for of in each for one in questions(of, stages)]))
    try:
        held = [(known(of.before, stages, answers), known(of.after, stages, answers)) for of in each]
    except ValueError as error:
        raise failed(f"{place.url}: {error}") from None
    (before, after), (now, *days) = held[0], [compared(read, stages, touched, *of) for of in held]
    results = judged(now, days)
    for line in _about(found, spans, before, after):
        typer.echo(printable(line))
    for line in _beside(read, touched, found, published, spans):
        typer.echo(printable(line))
    _show(results)
    if any(one.difference and one.days < LEAST_DAYS for one in results):
        typer.echo(ONLY_CHANCE)
    effect = overall(results)
    typer.echo(_said(effect, results))
    if code := {Effect.WORSE: WORSE, Effect.CANNOT_TELL: CANNOT_TELL}.get(effect):
        raise typer.Exit(code)


def _touched(journey: Journey, segments: Sequence[str]) -> Sequence[str]:
    labels = journey.segment_labels
    for name in segments:
        if name not in labels:
            raise failed(f"unknown segment `{name}`{nearest(name, labels)}")
    return segments or labels


def _published(place: Server, now_s: int) -> "list[Published]":
    from monitor.changes.questions import changes, changes_question

    return changes(run_at_once(lambda: asked(place, [changes_question(now_s)])), now_s)


def _chosen(published: "Sequence[Published]", title: str, stage: str | None) -> "Published":
    """The change of that title; what is none is told and ends the command."""
    if not published:
        raise failed("Prometheus knows no change of the last 7 days; `touchpoint change` publishes one")
    found = [one for one in published if one.title == title.strip() and stage in (None, one.stage)]
    if not found:
        titles = dict.fromkeys(one.title for one in published)
        if others := {one.stage for one in published if one.title == title.strip()}:
            raise failed(f"`{title}` was published for {', '.join(sorted(others))}, not for `{stage}`")
        raise failed(f"no change `{title}` in the last 7 days{nearest(title, list(titles)[:NAMED])}")
    if len({one.stage for one in found}) > 1:
        raise failed(f"`{title}` was published for {', '.join(one.stage for one in found)}; give --stage")
    return found[0]


def _when(at_s: float) -> str:
    return f"{rfc3339(int(at_s) * 1000)[:19].replace('T', ' ')}Z"


def _about(found: "Published", spans: "Around", before: "Known", after: "Known") -> Iterator[str]:
    about = "all stages" if found.stage == ALL else found.stage
    yield f"{found.title} ({found.kind}, {about}) at {_when(found.at_s)}"
    for name, span, held in (("before", spans.before, before), ("after", spans.after, after)):
        told = f", counts known of {held.minutes}" if held.minutes < span.minutes else ""
        yield f"{name}: {_when(span.from_s)} to {_when(span.to_s)}, {span.minutes} min{told}"
    yield "the time between is in neither"


def _beside(
    journey: Journey,
    touched: Sequence[str],
    found: "Published",
    published: "Sequence[Published]",
    spans: "Around",
) -> Iterator[str]:
    """What else has to be known to believe it."""
    untouched = [segment for segment in journey.segment_labels if segment not in touched]
    if untouched:
        yield f"touched: {', '.join(touched)}; control: {', '.join(untouched)}"
    else:
        yield "no segment was untouched: before against after alone, and whatever else happened then is in it"
    for one in published[:NAMED]:
        is_near = spans.before.from_s <= one.at_s < spans.after.to_s
        if is_near and one != found and (ALL in (found.stage, one.stage) or one.stage == found.stage):
            yield f"also changed: {one.title} ({one.kind}) at {_when(one.at_s)}"


def _show(results: "Sequence[Judged]") -> None:
    from monitor.changes.effect import Effect
    from streams.terminal import Row, show_table

    headings = ("Stage", "Experience", "Bad before", "Bad after", "Control before", "Control after",
                "Points more bad", "95 % sure", "Days before", "Effect")  # fmt: skip
    rows = [
        Row(
            (
                one.compared.stage,
                one.compared.experience,
                *_spans(one.compared.touched),
                *(_spans(one.compared.untouched) if one.compared.untouched else ("", "")),
                *_points(one),
                str(one.days),
                one.effect or "no events",
            ),
            is_loud=one.effect is Effect.WORSE,
        )
        for one in results
    ]
    show_table(headings, rows)


def _spans(spans: "Spans") -> tuple[str, ...]:
    return tuple(
        f"{one.bad:,} of {one.n:,} ({100 * one.bad / one.n:.2f} %)" if one.n else "none" for one in spans
    )


def _points(one: "Judged") -> tuple[str, str]:
    found = one.difference
    if found is None:
        return "", ""
    return f"{100 * found.at:+.2f}", f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"


def _said(effect: str, results: "Sequence[Judged]") -> str:
    """The verdict in a line, with the experiences that decide it."""
    deciding = [f"{one.compared.stage} {one.compared.experience}" for one in results if one.effect == effect]
    more = f" and {counted(len(deciding) - NAMED, 'more')}" if len(deciding) > NAMED else ""
    return f"{effect}: {', '.join(deciding[:NAMED]) or 'no events'}{more}"
