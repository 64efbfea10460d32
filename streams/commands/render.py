"""`touchpoint render`: writes what is generated from a journey file, or says what differs from it."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from monitor.journey_file.links import is_address
from streams.commands.shared import failed, read_journey, write_files
from streams.files import FileProblemError, content_of


def render(
    file: Annotated[Path, typer.Argument(help="Journey file.")],
    out: Annotated[Path, typer.Option(help="Directory to write `deploy/` and `grafana/` in.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; fail if a file in --out is not up to date."),
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(help="Send alerts to this URL instead of the journey file's links.webhook.")
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            "--webhook-token-file",
            help="File with the bearer token for --webhook, as Alertmanager sees it; none unless given.",
        ),
    ] = None,
) -> None:
    """Write all generated files: Prometheus, Alertmanager, Grafana, boards, JSON Schema, AsyncAPI, topics.

    Example: touchpoint render monitor/journey.yaml --out . --check
    """
    from monitor.generate.files import rendered

    journey = read_journey(file)
    if webhook is not None:
        if not is_address(webhook):
            raise failed(f"--webhook: `{webhook}` must be an http or https address")
        links = dataclasses.replace(journey.links, webhook=webhook, webhook_token_file=token_file)
        journey = dataclasses.replace(journey, links=links)
    elif token_file is not None:
        raise failed("--webhook-token-file: needs --webhook; the journey file has links.webhook_token_file")
    texts = rendered(journey)
    if check:
        differing = [path for path, text in texts.items() if not _holds(out / path, text.encode())]
        if differing:
            raise failed("\n".join(f"{out / path}: differs from what {file} gives" for path in differing))
        typer.echo(f"{len(texts)} files in {out} are what {file} gives")
        return
    write_files({out / path: text for path, text in texts.items()})
    typer.echo(f"{len(texts)} files written to {out}")


def _holds(path: Path, expected: bytes) -> bool:
    try:
        return content_of(path, len(expected)) == expected
    except FileProblemError:
        return False
