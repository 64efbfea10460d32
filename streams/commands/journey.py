"""`touchpoint journey`: one journey as the worker that keeps it knows it, for a person's eyes; `touchpoint
journeys`: those that an alert means; `touchpoint rescue`: customers who can still be helped."""

import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import orjson
import typer

from monitor.counting.display import printable
from monitor.journey_file.model import NONE
from streams import settings as settings_reader
from streams.commands.shared import failed, read_settings, run_at_once
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.terminal import Row
    from streams.web.client import Answer

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


OfWorker = Annotated[
    str | None,
    typer.Option(
        "--worker",
        help="URL of any worker, e.g. http://10.0.0.7:8080; TOUCHPOINT_ADVERTISED_URL or TOUCHPOINT_HTTP"
        " unless given.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the worker's JSON answer as it is.")]


def journeys_command(
    experience: Annotated[
        str,
        typer.Argument(
            help="Label `experience` of the alert, e.g. goal, promise_KIND, handoff_FROM_TO, moves,"
            " understood; critical for CriticalTouchpoint."
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LABEL=VALUE]...", help="Further labels of the alert, e.g. partner=postnord."
        ),
    ] = None,
    worker: OfWorker = None,
    as_json: AsJson = False,
) -> None:
    """List the latest journeys that an alert on whole journeys means, newest first.

    Example: touchpoint journeys promise_delivery_window partner=postnord
    """
    pairs = [label.partition("=") for label in labels or ()]
    if wrong := next((label for label, sign, _ in pairs if not sign), None):
        raise failed(f"{wrong}: labels are given as LABEL=VALUE")
    query = urlencode([("experience", experience), *((label, value) for label, _, value in pairs)])
    _ask(worker, f"/api/journeys?{query}", "journeys", None if as_json else _show_list)


def rescue_command(worker: OfWorker = None, as_json: AsJson = False) -> None:
    """List customers who were hurt or are about to be, and what can still be done: those in time first.

    What happened to them, what was promised, and how long is left. `touchpoint journey ID` shows more of one.

    Example: touchpoint rescue --worker http://127.0.0.1:8080
    """
    _ask(worker, "/api/rescue", "journeys", None if as_json else _show_rescue)


def journey_command(
    journey_id: Annotated[
        str, typer.Argument(metavar="ID", help="Journey id: the `journey_id` of its events.")
    ],
    worker: OfWorker = None,
    as_json: AsJson = False,
) -> None:
    """Show one journey: steps, promises, hand-overs, what is due next, and how old this information is.

    Any worker can answer for any journey. User and password, or the token, come from the settings.

    Example: touchpoint journey j-81 --worker http://127.0.0.1:8080
    """
    from streams.web.client import path_of
    from streams.web.lookup import ID_RULE, is_id

    if not is_id(journey_id):
        raise failed(ID_RULE)
    _ask(worker, path_of(journey_id), "journey_id", None if as_json else _show)


def _worker_url(settings: Settings, given: str | None) -> str:
    if given is not None:
        try:
            return settings_reader.worker_url(given)
        except ValueError as error:
            raise failed(f"--worker: {error}") from None
    if settings.advertised_url is None and settings.http.endswith(":0"):
        raise failed("TOUCHPOINT_HTTP names no port; give --worker")
    from streams.web.client import advertised_url

    return advertised_url(settings, settings.http)


def _ask(worker: str | None, path: str, field: str, show: Callable[[dict[str, Any]], None] | None) -> None:
    """Ask a worker for a path, and show its answer, which has this field; as it is unless in words."""
    from streams.web import client

    settings = read_settings()
    url = _worker_url(settings, worker)
    answer = run_at_once(lambda: client.ask(url, path, _credentials(settings), client.client_ssl(settings)))
    said = _read(url, answer, field)
    if show is None:
        typer.echo(answer.body)
        return
    try:
        show(said)
    except (AttributeError, KeyError, TypeError, ValueError):  # another version's, or none of ours
        raise failed(
            f"{url} does not answer as a worker of this version does; --json shows its answer"
        ) from None


def _credentials(settings: Settings) -> dict[str, str]:
    if settings.http_token is not None:
        return {"Authorization": f"Bearer {settings.http_token.reveal()}"}
    if settings.http_password is not None:
        shown = f"{settings.http_user}:{settings.http_password.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(shown).decode()}"}
    return {}


def _read(url: str, answer: "Answer", field: str) -> dict[str, Any]:
    """What was asked for, which has this field; any other answer ends the command."""
    if answer.status == 401:
        given = "TOUCHPOINT_HTTP_TOKEN_FILE, or TOUCHPOINT_HTTP_USER and TOUCHPOINT_HTTP_PASSWORD_FILE"
        raise failed(f"{url} refuses to answer (401): set {given} as the worker has them")
    try:
        said = orjson.loads(answer.body)
        if answer.status == 200 and field in said:
            return said  # type: ignore[no-any-return] # as the worker writes it
        problem = str(said["error"])
    except (ValueError, TypeError, KeyError):
        raise failed(f"{url} does not answer as a worker does ({answer.status})") from None
    raise failed(f"{url}: {printable(problem)}")


# -- in words --------------------------------------------------------------------------------------------

STEP = ("stage", "outcome", "touchpoint", "channel", "partner", "reason")
PROMISED = ("made", "due", "fulfilled")
HANDED = ("sent", "due", "received")
LOUD = ("overdue", "late", "broken", "missed", "lost")


def _show_list(said: dict[str, Any]) -> None:
    from streams.terminal import say, show_table

    if said["only_part"]:
        say(f"A part only: {said['only_part']}.")
    if not said["journeys"]:
        say(f"no journeys of {said['experience']} seen lately")
        return
    labels = [name for name in said["journeys"][0] if name not in ("journey_id", "time", "what")]
    rows = (
        _row(_when(one["time"]), one["journey_id"], one["what"], *map(one.get, labels), is_loud=False)
        for one in said["journeys"]
    )
    show_table(("time", "journey", "what", *labels), rows)


def _show_rescue(said: dict[str, Any]) -> None:
    from streams.terminal import say, show_table

    if said["only_part"]:
        say(f"A part only: {said['only_part']}.")
    if not said["journeys"]:
        say("nobody under way was hurt or is about to be")
        return
    rows = (
        _row(
            "" if one["left_s"] is None else _left(one["left_s"]),
            one["journey_id"],
            "; ".join(map(_happened, one["happened"])),
            "; ".join(map(_promised, one["promised"])),
            is_loud=one["in_time"],
        )
        for one in said["journeys"]
    )
    show_table(("left", "journey", "what happened", "what was promised"), rows)


def _left(left_s: float) -> str:
    return _span(left_s) if left_s > 0 else f"{_span(-left_s)} late"


def _happened(one: dict[str, Any]) -> str:
    reason = f" ({one['reason']})" if one["reason"] else ""
    return f"{_when(one['time'])} bad at {one['stage']}{reason}"


def _promised(one: dict[str, Any]) -> str:
    named = one["kind"] if one["what"] == "promise" else f"hand-over {one['from']} to {one['to']}"
    partner = f" of {one['partner']}" if one["partner"] else ""
    called_off = ", called off" if one["called_off"] else ""
    return f"{named}{partner}, due {_when(one['due'])}{called_off}"


def _show(said: dict[str, Any]) -> None:
    from streams.terminal import say, show_table

    for line in _lines(said):
        say(line)
    if said["steps"]:
        show_table(("time", *STEP, "bad for"), map(_step, said["steps"]))
    if said["promises"]:
        show_table(("promise", "partner", *PROMISED, "state"), map(_promise, said["promises"]))
    if said["handoffs"]:
        show_table(("from", "to", "partner", *HANDED, "state"), map(_hand_over, said["handoffs"]))


def _lines(said: dict[str, Any]) -> Iterator[str]:
    stale = said["staleness"]
    goal = f", goal {said['goal']}" if said["goal"] not in (None, "none") else ""
    closed = f" since {_when(said['closed'])}, {said['result']}" if said["closed"] else ""
    yield f"journey {said['journey_id']}: {said['state']}{closed}{goal}, kept by {said['worker']}"
    if said["weakest"]:
        yield f"weakest at {said['weakest']}: {said['score']:.0%} of its experiences were good"
    if failed_by := said.get("failed"):  # like the next two only of one that is over, and was published
        yield why_missed(**failed_by)
    if said.get("labyrinth"):
        last = f", last from {lost['from_channel']} to {lost['to_channel']}" if (lost := said["lost"]) else ""
        yield f"went astray{last}, and was not helped"
    if said.get("noticed"):
        yield f"after it went wrong spoke first: {said['noticed']}"
    if stale["last_step_age_s"] is not None:
        yield f"last step {_span(stale['last_step_age_s'])} ago"
    behind_s = stale["clock_behind_s"]
    yield (
        f"deadlines are checked up to {_span(behind_s)} ago"
        if behind_s is not None
        else "deadlines are not checked yet: not every source topic has been read"
    )
    if stale["overdue"]:
        yield "OVERDUE: see below"
    if said["next"]:
        yield f"next {_next(said['next'])}"
    if said["ends"]:
        yield f"ends by itself {_when(said['ends'])}, unless another event comes"


def why_missed(cause: str, about: str) -> str:
    """What made a journey miss its goal, as `ClosedJourney.failed` names it."""
    if cause == NONE:
        return "missed its goal, though no encounter was bad, no promise broken and no hand-over lost"
    return f"failed by {cause} {about}"


def _next(one: dict[str, Any]) -> str:
    named = one["kind"] if one["what"] == "promise" else f"{one['from']} to {one['to']}"
    partner = f" of {one['partner']}" if one["partner"] else ""
    in_s = one["in_s"]
    when = f"in {_span(in_s)}" if in_s >= 0 else f"{_span(-in_s)} ago"
    return f"{one['what']} {named}{partner}, due {_when(one['due'])} ({when})"


def _step(one: dict[str, Any]) -> "Row":
    fields = (one[name] for name in STEP)
    return _row(_when(one["time"]), *fields, ", ".join(one["bad_for"]), is_loud=one["bad_for"])


def _promise(one: dict[str, Any]) -> "Row":
    times = (_when(one[name]) for name in PROMISED)
    return _row(one["kind"], one["partner"], *times, one["state"], is_loud=one["state"] in LOUD)


def _hand_over(one: dict[str, Any]) -> "Row":
    times = (_when(one[name]) for name in HANDED)
    return _row(one["from"], one["to"], one["partner"], *times, one["state"], is_loud=one["state"] in LOUD)


def _row(*cells: str | None, is_loud: object) -> "Row":
    from streams.terminal import Row

    return Row(tuple(cell or "" for cell in cells), bool(is_loud))


def _when(time: str | None) -> str:
    """To the second: `2026-11-21 21:00:00Z`."""
    return f"{time[:19].replace('T', ' ')}Z" if time else ""


def _span(seconds: float) -> str:
    for unit_s, unit in ((DAY_S, "days"), (HOUR_S, "hours"), (MINUTE_S, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"  # an event may be a little ahead of the clock
