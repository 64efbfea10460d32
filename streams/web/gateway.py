"""A door for services without Kafka: events by HTTP, answered once every replica of Kafka has them.

What a worker would refuse is refused here, event by event, with the reason; the others of the same post are
published. Who gets no answer, or a 503, posts again: a stage that tells retried events by their id counts
each once. Each publisher shows a token of its own, and may post so many events a second.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from monitor.counting.event import Codecs, Event, Refused
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from streams.clock import now_ms
from streams.files import text_of
from streams.kafka.publisher import Publisher, opened
from streams.kafka.topics import source_topics
from streams.publish.lines import key
from streams.settings import Settings, token
from streams.stopping import entered, pause
from streams.web.guard import Guard, http_ssl
from streams.web.posted import Posted, posted
from streams.web.server import serving

MAX_BYTES = 4 * 1024 * 1024
"""Of one post."""

AT_ONCE = 16
"""Posts of one publisher that are read and published at a time, some 130 MB of them; more wait."""

MAX_EVENTS = 5_000
"""Of one post: its publisher waits until Kafka has all of them."""

BODY_S = 30.0
"""How long the body of a post may take."""

AGAIN_S = 1.0
"""Between two attempts to reach a Kafka that was lost."""

NOT_TAKEN = "not_taken"
"""Why an event is refused that Kafka does not take, however often it is posted: `REFUSALS`."""

REFUSALS = (MessageSizeTooLargeError, TopicAuthorizationFailedError)

ELSEWHERE = (
    "this is another host than was asked for: ask for 127.0.0.1, or give the gateway tokens"
    " (TOUCHPOINT_GATEWAY_TOKENS_FILE)\n"
)

ANYBODY = "anybody"
"""The publisher, where no tokens are given."""


class Allowance:
    """How many events a publisher may post: `rate` a second, so many of one second saved up.

    A post is taken whole, and what it has too much is waited off.
    """

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate, self._left, self._at_s = rate, rate, now_s
        self.turns = asyncio.Semaphore(AT_ONCE)

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next post; 0 when it may come."""
        self._left = min(self._rate, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return 0.0 if self._left > 0 else -self._left / self._rate + 1 / self._rate

    def take(self, events: int) -> None:
        """So many have come."""
        self._left -= events


def publishers(file: Path) -> dict[str, str]:
    """Token -> name of a publisher, from a file with `NAME TOKEN` on each line; UserError names the line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text_of(file).removeprefix("\ufeff").splitlines(), 1):
        name, *secret = line.split(maxsplit=1) or [""]
        if not name or name.startswith("#"):
            continue
        if not secret:
            raise UserError(f"{file}: line {number}: no token behind the name")
        try:
            shown = token(secret[0].strip()).reveal()
        except ValueError as error:
            raise UserError(f"{file}: line {number}: {error}") from None
        if shown in found or name in found.values():
            raise UserError(f"{file}: line {number}: a name and a token stand once in the file")
        found[shown] = name
    if not found:
        raise UserError(f"{file}: no line `NAME TOKEN` in it")
    return found


class Ready(NamedTuple):
    """An event that is to be published, and its place in the post, from 0."""

    place: int
    topic: str
    key: bytes
    posted: Posted


class Gateway:
    """The door; `tell` gets a line when it opens, and when Kafka is lost or back."""

    def __init__(self, journey: Journey, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings, self._tell = settings, tell
        self._codecs = Codecs(journey, refuse_personal_data=settings.refuse_personal_data)
        self._topics = source_topics(journey)
        file = settings.gateway_tokens_file
        self._names = {} if file is None else publishers(file)
        self._guard = Guard(replace(settings, http_token=None, http_user=None, http_password=None))
        if not self._names and not self._guard.is_on_loopback:
            raise UserError(
                f"on {settings.http} anybody could post events: set TOUCHPOINT_GATEWAY_TOKENS_FILE, or"
                " listen on loopback"
            )
        self._rate = float(settings.gateway_events_per_s)
        self._allowances: dict[str, Allowance] = {}
        self._publisher: Publisher | None = None
        self._lost = asyncio.Event()

    async def serve(self, stop: asyncio.Event) -> None:
        """Take events until `stop` is set; UserError when it cannot listen, or Kafka is not there at once."""
        app = web.Application(client_max_size=MAX_BYTES, middlewares=[self._middleware()])
        app.router.add_post("/events", self._events)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        runner: web.AppRunner | None = None
        was_lost = False
        try:
            while not stop.is_set():
                self._lost.clear()
                try:
                    async with entered(stop, opened(self._settings, *self._topics)) as publisher:
                        if runner is None:
                            runner = await self._listening(app)
                        elif was_lost:
                            self._tell("Kafka is back")
                            was_lost = False
                        self._publisher = publisher
                        await _first_of(stop, self._lost)
                        if not stop.is_set():
                            raise UserError(f"no answer within {self._settings.kafka_timeout_s:g} s")
                        await runner.cleanup()  # whoever has posted is answered
                except UserError as error:
                    if runner is None or stop.is_set():
                        raise
                    if not was_lost:
                        self._tell(f"Kafka is lost, events are answered with 503: {error}")
                        was_lost = True
                finally:
                    self._publisher = None
                await pause(stop, AGAIN_S)
        finally:
            if runner is not None:
                await runner.cleanup()

    async def _listening(self, app: web.Application) -> web.AppRunner:
        runner, address = await serving(app, self._settings.http, "listen", http_ssl(self._settings))
        scheme = "http" if self._settings.http_cert is None else "https"
        self._tell(f"events are taken at {scheme}://{address}/events")
        return runner

    # -- doors ---------------------------------------------------------------------------------------

    def _middleware(self) -> Any:
        @web.middleware
        async def door(request: web.Request, handler: Any) -> web.StreamResponse:
            """Nothing of a body is read before it is known whose it is, and inflated is none."""
            if "Origin" in request.headers:
                raise web.HTTPForbidden(text="a web page may not post here: have your server do it\n")
            if not self._names and not self._guard.is_named(request.headers.get("Host", "")):
                raise web.HTTPMisdirectedRequest(text=ELSEWHERE)
            response: web.StreamResponse = await handler(request)
            return response

        return door

    def _name_of(self, request: web.Request) -> str:
        """The publisher whose token the request shows. Takes as long for an almost right one."""
        if not self._names:
            return ANYBODY
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        shown = given.strip().encode(errors="surrogateescape") if scheme.lower() == "bearer" else b""
        matching = [name for known, name in self._names.items() if hmac.compare_digest(known.encode(), shown)]
        if not matching:
            raise web.HTTPUnauthorized(
                text="show the token of a publisher: Authorization: Bearer TOKEN\n",
                headers={"WWW-Authenticate": 'Bearer realm="touchpoint"'},
            )
        return matching[0]

    # -- answers -------------------------------------------------------------------------------------

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._publisher is None:
            return web.Response(status=503, text="Kafka is lost\n")
        return web.Response(text="ready\n")

    async def _events(self, request: web.Request) -> web.Response:
        """200 when all events of the post are published, 422 when only those that are not `refused`."""
        publisher = self._name_of(request)
        allowance = self._allowances.setdefault(publisher, Allowance(self._rate, monotonic()))
        if wait_s := allowance.wait_s(monotonic()):
            raise web.HTTPTooManyRequests(
                text=f"{publisher} may post {self._rate:g} events a second: post again in {wait_s:.1f} s\n",
                headers={"Retry-After": str(ceil(wait_s))},
            )
        async with allowance.turns:
            found = await _events_of(request)
            allowance.take(len(found))
            ready, refused = self._sorted(found)
            refused += await self._publish(ready)
        body = orjson.dumps({"accepted": len(found) - len(refused), "refused": refused})
        return web.Response(body=body, content_type="application/json", status=422 if refused else 200)

    def _sorted(self, found: Sequence[Posted]) -> tuple[list[Ready], list[dict[str, object]]]:
        """What is to be published, and what is refused: its place in the post, from 0, and why."""
        ready: list[Ready] = []
        refused: list[dict[str, object]] = []
        for place, one in enumerate(found):
            codec = self._codecs.of(one.value)
            read = codec.decode(one.value, one.headers)
            told = read if isinstance(read, Refused) else codec.refuse_time(read.at_ms, now_ms())
            if told is not None:
                refused.append(_refusal(place, told.reason, told.error))
            elif isinstance(read, Event):
                ready.append(Ready(place, codec.stage.topic, key(read), one))
        return ready, refused

    async def _publish(self, ready: Sequence[Ready]) -> list[dict[str, object]]:
        """Returns when Kafka has all but those that it refuses; 503 when it is not known what it has."""
        publisher = self._publisher
        if publisher is None:
            raise web.HTTPServiceUnavailable(text="Kafka is lost: post again\n")
        try:
            async with asyncio.timeout(self._settings.kafka_timeout_s):
                errors = await asyncio.gather(*(_error_of(publisher, one) for one in ready))
        except (KafkaError, TimeoutError):
            self._lost.set()
            raise web.HTTPServiceUnavailable(text="Kafka has not taken all of it: post again\n") from None
        return [
            _refusal(one.place, NOT_TAKEN, f"topic {one.topic}: {type(error).__name__}")
            for one, error in zip(ready, errors, strict=True)
            if error is not None
        ]


def _refusal(place: int, reason: str, error: str) -> dict[str, object]:
    return {"event": place, "reason": reason, "error": error}


async def _error_of(publisher: Publisher, one: Ready) -> KafkaError | None:
    """Why Kafka refuses an event; None once it has it. What is given up may still be on its way."""
    try:
        await asyncio.shield(await publisher.begin(one.topic, one.key, *one.posted))
    except REFUSALS as error:
        return error
    return None


async def _events_of(request: web.Request) -> list[Posted]:
    """The events of a post, none of which has been looked at."""
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.read()
        found = posted(body, request.headers)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body took more than {BODY_S:g} s\n") from None
    except UserError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    if len(found) > MAX_EVENTS:
        raise web.HTTPRequestEntityTooLarge(MAX_EVENTS, len(found), text=f"at most {MAX_EVENTS} events\n")
    return found


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.ensure_future(one.wait()) for one in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
