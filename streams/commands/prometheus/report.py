"""The command `touchpoint report`: asks Prometheus over HTTP, writes the digest."""

from pathlib import Path
from typing import Annotated

import typer

from streams.clock import now_ms
from streams.commands.prometheus.server import ADDRESS, Address, TokenFile, asked, server
from streams.commands.shared import configured, run_at_once, write_files


def report(
    prometheus: Address = ADDRESS,
    days: Annotated[
        int, typer.Option(min=1, max=90, help="Number of days, of 24 hours each, up to now.")
    ] = 7,
    html: Annotated[
        Path | None, typer.Option(help="Write the digest to this HTML file, to read, print or mail.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write the digest to this Markdown file; to standard output if no file is given."),
    ] = None,
    token_file: TokenFile = None,
    journey: Annotated[
        Path | None, typer.Option("--journey", help="Journey file; TOUCHPOINT_JOURNEY unless given.")
    ] = None,
) -> None:
    """Write a digest of the last days, from Prometheus; two minutes to read.

    Example: touchpoint report --prometheus http://prometheus:9090 --html digest.html
    """
    from monitor.report.aggregate import digest
    from monitor.report.digest import Period
    from monitor.report.html import html as page
    from monitor.report.markdown import markdown as text
    from monitor.report.questions import questions
    from monitor.report.words import document
    from monitor.rules.plan import plan

    _, read = configured(journey)
    place = server(prometheus, token_file)
    now_s = now_ms() // 1000
    period = Period(now_s - now_s % 60, days)
    answers = run_at_once(lambda: asked(place, list(questions(period))))
    found = document(digest(plan(read), period, answers))
    wanted = ((html, page), (markdown, text))
    write_files({file: as_text(found) for file, as_text in wanted if file is not None})
    if html is None and markdown is None:
        typer.echo(text(found).encode(), nl=False)
