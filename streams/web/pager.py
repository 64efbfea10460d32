"""A webhook receiver that prints each change of an alert once, and says when the heartbeat stops.

For trying out, and for whoever has no pager yet: Alertmanager and Grafana post the same JSON. `/page`,
`/ticket` and `/finding` are printed, and published as findings where that is asked for; `/heartbeat` is the
alert that always fires, so its absence is what is told. Both post an alert again with every change of its
group, and as a reminder after hours: that is no change. Grafana reports a rule that it could not ask under
the labels of that rule: this says nothing of a stage, so it is told once for all rules, and is no finding.

When Prometheus dies both also post that every alert has ended, which nobody knows, and Alertmanager does so
before it says that the heartbeat has. So the end of an alert is told some time later: not while alerting is
blind, nor when the alert fires again before that.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from aiohttp import web

from monitor.counting.display import duration, printable
from monitor.errors import UserError
from monitor.generate.grafana import PAGES_USER
from monitor.rules.finding import encode, finding
from streams.clock import now_ms
from streams.settings import Settings
from streams.web.guard import Guard
from streams.web.server import serving

HEARTBEAT_S = 180.0
"""Three heartbeats, each a minute apart."""

SETTLE_S = 90.0
"""The pager tells the end of an alert so much later, and so long after alerting was blind. Alertmanager says
that the heartbeat has ended up to a minute after it says so of other alerts. Once Prometheus is back, what is
still wrong fires again within half a minute (seen with a real Grafana 9.4 and Alertmanager 0.25)."""

MAX_BYTES = 4 * 1024 * 1024

BODY_S = 30.0
"""How long the body of a post may take; those who post give up sooner."""

REMEMBERED = 10_000
"""Alerts whose state is known; a journey has some hundred. One forgotten would be printed once more."""

LINKS = {
    "board": "dashboard_url",
    "failures": "failures_url",
    "where": "where_url",
    "runbook": "runbook_url",
    "and": "alert_runbook_url",
}
"""What is printed below an alert, and the annotation that holds it."""

UNASKED = ("DatasourceError", "DatasourceNoData")
"""What Grafana calls the alert of a rule whose queries failed, or that gave nothing where they must."""

UNEXPLAINED = 'Grafana does not say; its log does, at "Failed to evaluate rule"'
"""It gives a reason for a query that Prometheus refuses, none when Prometheus does not answer at all
(`resultError` of 9.4's source, and so seen)."""

Publish = Callable[[bytes], Awaitable[None]]
"""Publishes a finding; UserError when it was not taken."""


class _Alert(msgspec.Struct):
    """What both post of an alert: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config"""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 - its name in JSON
    endsAt: str  # noqa: N815


class _Post(msgspec.Struct):
    alerts: list[_Alert]


class _End(NamedTuple):
    """The end of an alert that is not told yet."""

    text: str
    found: bytes
    waiting: asyncio.Task[None]


class Pages:
    """The receiver; `tell` gets a text of some lines for each change of an alert, `share` its finding."""

    def __init__(self, tell: Callable[[str], None], share: Publish | None = None) -> None:
        self._tell = tell
        self._share = share
        self._known: OrderedDict[tuple[object, ...], tuple[str, object]] = OrderedDict()
        self._unasked: set[tuple[object, ...]] = set()
        self._is_beating = True
        self._ends: dict[tuple[object, ...], _End] = {}
        self._beat = asyncio.Event()
        self._broken = asyncio.Event()
        self._error: UserError | None = None
        self._failure: UserError | None = None
        """Of a task of its own; None while all is well."""

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Answer on `http` to who carries `pages_token`, until `stop` is set.

        UserError when it cannot, a finding was not taken, or a task has ended that it cannot do without.
        """
        app = web.Application(
            client_max_size=MAX_BYTES, middlewares=[_guard(settings).middleware(), _from_no_page]
        )
        app.router.add_post("/{severity:page|ticket|finding|heartbeat}", self._receive)
        runner, address = await serving(app, settings.http, "listen")
        watching = self._begin("the watch over the heartbeat", self._watch())
        try:
            self._tell(f"waiting for alerts on http://{address}")
            ends = [asyncio.create_task(one.wait()) for one in (stop, self._broken)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for one in ends:
                one.cancel()
        finally:
            watching.cancel()
            await runner.cleanup()
        await self._end_all()
        if (error := self._error or self._failure) is not None:
            raise error

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task; if it fails, so does `serve`: somebody would wait for what it does not tell."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, ended: asyncio.Task[None]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._failure = UserError(f"{ended.get_name()} has ended: {type(error).__name__}: {error}")
            self._broken.set()

    async def _receive(self, request: web.Request) -> web.Response:
        severity = request.match_info["severity"]
        try:
            posted = read(await _body_of(request))
            alerts = [(alert, said(severity, alert), encode(finding(alert, now_ms()))) for alert in posted]
        except UserError as error:
            return web.Response(status=400, text=f"not an alert of Alertmanager or Grafana: {error}\n")
        self._tell_of_unasked([alert for alert, _, _ in alerts if is_unasked(alert)])
        alerts = [one for one in alerts if not is_unasked(one[0])]
        if severity == "heartbeat":
            if any(alert["status"] == "firing" for alert, _, _ in alerts):
                self._is_beating = True
                self._beat.set()
            elif alerts:
                self._is_beating = False
                self._tell("HEARTBEAT ended: rules are not evaluated; nobody knows what is over")
        else:
            for alert, text, found in alerts:
                if not self.is_news(severity, alert):
                    continue
                key = (severity, *_key(alert))
                if alert["status"] != "firing":
                    waiting = self._begin("what tells the end of an alert", self._end_later(key))
                    self._ends[key] = _End(text, found, waiting)
                elif key in self._ends:  # it goes on
                    self._ends.pop(key).waiting.cancel()
                elif not await self._is_told(text, found):  # it is posted again, to whoever is started next
                    return web.Response(status=503, text="finding not published\n")
        return web.Response()

    async def _is_told(self, text: str, found: bytes) -> bool:
        """Whether the change could be published; then it is printed."""
        try:
            if self._share is not None:
                await self._share(found)
        except UserError as error:
            self._error = error
            self._broken.set()
            return False
        self._tell(text)
        return True

    @property
    def _is_blind(self) -> bool:
        return bool(self._unasked) or not self._is_beating

    async def _end_later(self, key: tuple[object, ...]) -> None:
        """Tell the end of an alert once it has been seen for `SETTLE_S` that it does not fire again."""
        is_seen = False
        while not is_seen:
            is_seen = not self._is_blind
            await asyncio.sleep(SETTLE_S)
            is_seen = is_seen and not self._is_blind
        await self._end(key)

    async def _end(self, key: tuple[object, ...]) -> None:
        end = self._ends[key]
        if await self._is_told(end.text, end.found):
            del self._ends[key]

    async def _end_all(self) -> None:
        """Tell the ends that wait, but for those of which nobody knows, or that were not published."""
        for key, end in list(self._ends.items()):
            end.waiting.cancel()
            if not self._is_blind and self._error is None:
                await self._end(key)
        for end in self._ends.values():
            self._tell(
                f"not known to be over: {end.text}" if self._is_blind else f"not published: {end.text}"
            )

    def _tell_of_unasked(self, alerts: list[dict[str, Any]]) -> None:
        """Say that Grafana is blind when the first of its rules is, and that it sees when the last does."""
        for alert in alerts:
            was_blind, rule = bool(self._unasked), _key(alert)
            if alert["status"] != "firing":
                self._unasked.discard(rule)
                if was_blind and not self._unasked:
                    self._tell("PAGE resolved MonitorBlind: Grafana can query Prometheus again")
                continue
            self._unasked.add(rule)
            if not was_blind:
                why = alert["annotations"].get("Error") or UNEXPLAINED
                self._tell(
                    "PAGE firing MonitorBlind: Grafana cannot query Prometheus: no stage is judged, and no "
                    f"alert is told as over until it can\n    why       {printable(why)}"
                )

    def is_news(self, severity: str, alert: dict[str, Any]) -> bool:
        """Whether the alert fires anew or has just ended, as far as is known."""
        key = (severity, *_key(alert))
        state = alert["status"], alert.get("startsAt")
        known = self._known.get(key)
        self._known[key] = state
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known is None or known[0] != state[0] or (state[0] == "firing" and known != state)

    async def _watch(self) -> None:
        """Say once that the heartbeat has stopped, and once that it is back; nothing before the first."""
        await self._beat.wait()
        while True:
            self._beat.clear()
            try:
                await asyncio.wait_for(self._beat.wait(), HEARTBEAT_S)
            except TimeoutError:
                self._is_beating = False
                self._tell(f"HEARTBEAT missing for {duration(int(HEARTBEAT_S))}: alerting itself is broken")
                await self._beat.wait()
                self._tell("HEARTBEAT is back")


def _guard(settings: Settings) -> Guard:
    """Who may post: whoever shows the token, Grafana as a password. No secret of a worker's HTTP opens it.

    UserError when it is anybody on the network.
    """
    token = settings.pages_token
    user = PAGES_USER if token is not None else None
    guard = Guard(replace(settings, http_token=token, http_user=user, http_password=token))
    if not guard.challenges and not guard.is_on_loopback:
        raise UserError(
            f"on {settings.http} anybody could post alerts: set TOUCHPOINT_PAGES_TOKEN_FILE, or listen on"
            " loopback"
        )
    return guard


@web.middleware
async def _from_no_page(request: web.Request, handler: Any) -> web.StreamResponse:
    """A browser says from where it posts, and posts JSON elsewhere only after it has asked whether it may."""
    if "Origin" in request.headers:
        raise web.HTTPForbidden(text="a web page may not post here\n")
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Content-Type must be application/json\n")
    response: web.StreamResponse = await handler(request)
    return response


async def _body_of(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body took more than {BODY_S:g} s\n") from None


def read(body: bytes) -> list[dict[str, Any]]:
    """The alerts of a post; UserError says in one line why it holds none."""
    try:
        alerts: list[dict[str, Any]] = msgspec.to_builtins(msgspec.json.decode(body, type=_Post).alerts)
        for alert in alerts:
            msgspec.convert([alert["startsAt"], alert["endsAt"]], list[datetime])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(printable(str(error))) from None
    except RecursionError:
        raise UserError("nested too deeply") from None
    if not all(alert["labels"].get("touchpoint") or alert["labels"].get("alertname") for alert in alerts):
        raise UserError("no label `alertname`")
    return alerts


def is_unasked(alert: dict[str, Any]) -> bool:
    """Whether Grafana could not ask what the alert's rule asks."""
    return alert["labels"].get("alertname") in UNASKED


def _key(alert: dict[str, Any]) -> tuple[object, ...]:
    """What tells the alert from all others of its severity."""
    return tuple(sorted((name, str(value)) for name, value in alert["labels"].items()))


def said(severity: str, alert: dict[str, Any]) -> str:
    """Severity, state, name and what it says; below, while it fires, why, whose it is and where to look."""
    labels, annotations = alert["labels"], alert["annotations"]
    status, name = alert["status"], labels.get("touchpoint") or labels["alertname"]
    head = f"{severity.upper()} {status} {name}: {annotations.get('summary', '')}"
    if status != "firing":
        return printable(head)
    facts = {"why": annotations.get("description"), "owner": labels.get("owner")}
    facts |= {word: annotations.get(key) for word, key in LINKS.items()}
    if facts["and"] == facts["runbook"]:
        del facts["and"]
    below = (f"    {word:8}  {printable(text)}" for word, text in facts.items() if text)
    return "\n".join([printable(head), *below])
