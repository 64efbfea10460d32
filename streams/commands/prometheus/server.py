"""Prometheus as commands ask it: bounded answers, and one clear line for whatever is wrong with it."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec
import typer

from monitor.counting.display import printable
from monitor.errors import UserError
from monitor.journey_file.links import is_address
from streams import settings as settings_reader
from streams.commands.shared import failed
from streams.secret import first_line
from streams.terminal import progress
from streams.web.bounded import PLAIN, TooLongError, body

if TYPE_CHECKING:
    import aiohttp

    from monitor.report.questions import Answers, Question, Sample

ASKED_AT_ONCE = 4
"""Prometheus answers 20 at a time unless set; boards and rules want to be answered too."""

ANSWER_S = 120
"""Prometheus gives up on a query after as long, unless set."""


MAX_BYTES = 64 * 1024 * 1024
"""Of an answer; one that needs most of it holds some 300,000 series."""

Address = Annotated[str, typer.Option(help="Address of Prometheus.")]
ADDRESS = "http://localhost:9090"
TokenFile = Annotated[
    Path | None, typer.Option("--prometheus-token-file", help="File with a bearer token for Prometheus.")
]


class Server(NamedTuple):
    """Where Prometheus is, and what it is shown."""

    url: str
    token: str | None


def server(prometheus: str, token_file: Path | None) -> Server:
    """The server of two options; what is wrong with them is told and ends the command."""
    if not is_address(prometheus) or urlsplit(prometheus).query:
        raise failed("--prometheus: must be an http or https address")
    if urlsplit(prometheus).username is not None:
        raise failed("--prometheus: must hold no password, others see it; give --prometheus-token-file")
    return Server(prometheus, _token(token_file) if token_file is not None else None)


def _token(file: Path) -> str:
    try:
        return settings_reader.token(first_line(file)).reveal()
    except ValueError as error:
        raise failed(f"{file}: {error}") from None


async def asked(server: Server, questions: "list[Question]") -> "Answers":
    """The answers of all questions; UserError for the first that has none."""
    import aiohttp

    prometheus, token = server
    headers = PLAIN | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_read=ANSWER_S + 5, sock_connect=10)
    connector = aiohttp.TCPConnector(limit=ASKED_AT_ONCE)
    with progress("ask Prometheus", len(questions)) as advance:
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector, auto_decompress=False
        ) as session:

            async def ask(question: "Question") -> "list[Sample]":
                samples = await _answer(session, prometheus, question, has_token=token is not None)
                advance(1)
                return samples

            try:
                async with asyncio.TaskGroup() as group:
                    asking = [group.create_task(ask(question)) for question in questions]
            except ExceptionGroup as errors:  # what is wrong with one is wrong with all
                raise errors.exceptions[0] from None
            return {question: one.result() for question, one in zip(questions, asking, strict=True)}


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    """https://prometheus.io/docs/prometheus/latest/querying/api/"""

    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] = []


async def _answer(
    session: "aiohttp.ClientSession", prometheus: str, question: "Question", *, has_token: bool
) -> "list[Sample]":
    import aiohttp

    from monitor.report.questions import Sample

    url = f"{prometheus.rstrip('/')}/api/v1/query"
    form = {"query": question.expr, "time": str(question.at_s), "timeout": f"{ANSWER_S}s"}
    try:
        async with session.post(url, data=form, allow_redirects=False) as response:
            status, location = response.status, response.headers.get("Location", "")
            said = await body(response, MAX_BYTES)
    except TooLongError:
        raise UserError(f"{prometheus}: answers with more than {MAX_BYTES:,} bytes") from None
    except TimeoutError:
        raise UserError(f"{prometheus}: gave no answer in time") from None
    except aiohttp.ClientError as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        number = getattr(cause, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(cause) or type(cause).__name__
        raise UserError(f"{prometheus}: cannot be reached: {_line(reason)}") from None
    if status in (401, 403):
        mend = "the token is refused" if has_token else "--prometheus-token-file gives a token"
        raise UserError(f"{prometheus}: refuses access (HTTP {status}): {mend}")
    if 300 <= status < 400:
        raise UserError(f"{prometheus}: redirects to {_line(location)}; give the address it stands for")
    try:
        answer = msgspec.json.decode(said, type=_Answer)
        if answer.status == "error" and answer.error:
            raise UserError(f"{prometheus}: {_line(answer.error)}")
        if answer.status != "success" or answer.data is None:
            raise ValueError
        samples = [Sample(one.metric, float(one.value[1])) for one in answer.data.result]
    except (ValueError, msgspec.DecodeError):
        raise UserError(f"{prometheus}: is not a Prometheus server (HTTP {status} from {url})") from None
    if answer.warnings:  # Thanos and others so say that a part of the answer is missing
        raise UserError(f"{prometheus}: answers only in part: {_line(answer.warnings[0])}")
    return samples


def _line(text: str) -> str:
    """At most a line of what somebody else wrote."""
    return printable(text)[:200]
