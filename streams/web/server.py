"""What a worker answers over HTTP: metrics, probes, the API, the live page and the runbooks."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from monitor.errors import UserError
from monitor.journey_file.model import ALL
from monitor.live.exposition import render
from monitor.live.rescue import in_order
from monitor.live.share import encode, share
from monitor.live.snapshot import Snapshot
from streams.settings import Settings
from streams.state.latest import Shown, newest
from streams.web.answers import failures_answer, meant_answer, rescue_answer, stages_answer
from streams.web.client import FORWARDED, Answer
from streams.web.group import Group, Member
from streams.web.guard import Guard, http_ssl
from streams.web.lookup import JourneyLookup
from streams.web.where import Causes

CONTENT_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

PAGE = {
    f"/{file.name.removeprefix('index.html')}": (file.name, CONTENT_TYPES[kind])
    for file in files("streams").joinpath("page").iterdir()
    if (kind := file.name.rpartition(".")[2]) in CONTENT_TYPES
}
"""Path to file and content type, for every file of the live page."""

RUNBOOKS = "runbooks"
"""A file `<alert>.md` for each alert; served as plain text, which reads well on a telephone at night."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

web_response.SERVER_SOFTWARE = "touchpoint"  # type: ignore[attr-defined] # not meant for others
"""What the header `Server` says: of whatever aiohttp answers by itself, too, and no version of anything."""


class _NotOfStrangers(logging.Filter):
    """What is no HTTP was answered with 400; a line in the log for each would be a stranger's to write."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


server_logger.addFilter(_NotOfStrangers())

IDLE_S = 75.0
"""After so long without a whole request's head a connection is closed; Prometheus asks more often."""


async def _nobody() -> list[Shown]:
    """Without journeys there is nobody to be helped."""
    return []


@dataclass(frozen=True, slots=True)
class Sources:
    """Where answers come from: the numbers, a stage's last failures, a journey by its id, the last journeys
    that an alert means, what bad encounters have in common, customers who can still be helped."""

    snapshot: Callable[[], Awaitable[Snapshot]]
    failures: Callable[[str], list[Shown] | None]
    journeys: JourneyLookup | None = None
    meant: Callable[[str, Mapping[str, str]], list[Shown]] = lambda _experience, _labels: []
    group: Group | None = None
    causes: Causes | None = None
    rescue: Callable[[], Awaitable[list[Shown]]] = _nobody


class HttpServer:
    """Serves snapshots that it asks for; knows nothing of Kafka."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._address = settings.http
        self._sources = sources
        self._guard = Guard(settings)
        self._ssl_context = http_ssl(settings)
        self._page = {
            path: (files("streams").joinpath("page", name).read_bytes(), content_type)
            for path, (name, content_type) in PAGE.items()
        }
        self._runbooks = {
            file.name.removesuffix(".md"): file.read_bytes()
            for file in files("streams").joinpath(RUNBOOKS).iterdir()
            if file.name.endswith(".md")
        }
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Bind and serve; returns the address, with the port that a port of 0 became."""
        app = web.Application(middlewares=[_secure, self._guard.middleware(), _without_body])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/api/stages", self._stages)
        app.router.add_get("/api/share", self._share)
        app.router.add_get("/api/stages/{stage}/failures", self._stage_failures)
        if (causes := self._sources.causes) is not None:
            app.router.add_get("/api/stages/{stage}/where", partial(self._where, causes))
        app.router.add_get("/api/journeys", self._journeys_meant)
        app.router.add_get("/api/rescue", self._rescue)
        if (journeys := self._sources.journeys) is not None:
            app.router.add_get(r"/api/journeys/{id:[\s\S]*}", partial(self._journey, journeys))
        app.router.add_get("/runbooks/{name}", self._runbook)
        for path in PAGE:
            app.router.add_get(path, self._static)
        self._runner, address = await serving(app, self._address, "serve HTTP", self._ssl_context)
        return address

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        snapshot = await self._sources.snapshot()
        # Rendering takes some 10 ms for 10,000 series: in a thread it does not hold up the stages.
        body, content_type = await asyncio.to_thread(render, snapshot, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        snapshot = await self._sources.snapshot()
        if snapshot.ready:
            return web.Response(text="ready\n")
        return web.Response(text="\n".join(snapshot.problems) + "\n", status=503)

    async def _whole(self, request: web.Request) -> tuple[Snapshot, list[Member]]:
        """What all workers count; what this one does for another that asks."""
        snapshot = await self._sources.snapshot()
        if self._sources.group is None or FORWARDED in request.headers:
            return snapshot, [Member(snapshot.worker)]
        return await self._sources.group.whole(snapshot, request.headers.get("Authorization"))

    async def _listed(
        self, request: web.Request, field: str, own: list[Shown]
    ) -> tuple[Snapshot, list[Member], list[Shown]]:
        """A list of all workers, in no order; what this one lists for another that asks."""
        snapshot = await self._sources.snapshot()
        if self._sources.group is None or FORWARDED in request.headers:
            return snapshot, [Member(snapshot.worker)], own
        authorization = request.headers.get("Authorization")
        return await self._sources.group.listed(snapshot, request.raw_path, field, own, authorization)

    async def _share(self, _: web.Request) -> web.Response:
        body = encode(share(await self._sources.snapshot()))
        return web.Response(body=body, content_type="application/msgpack")

    async def _stages(self, request: web.Request) -> web.Response:
        return _json(stages_answer(*await self._whole(request)))

    async def _stage_failures(self, request: web.Request) -> web.Response:
        stage = request.match_info["stage"]
        failures = self._sources.failures(stage)
        if failures is None:
            return _json({"error": "no such stage"}, status=404)
        snapshot, members, failures = await self._listed(request, "failures", failures)
        return _json(failures_answer(snapshot, members, stage, newest(failures)))

    async def _where(self, causes: Causes, request: web.Request) -> web.Response:
        return _passed(await causes.look_up(request.match_info["stage"], request.query))

    async def _journeys_meant(self, request: web.Request) -> web.Response:
        labels = {name: value for name, value in request.query.items() if value != ALL}
        experience = labels.pop("experience", "")
        try:
            journeys = self._sources.meant(experience, labels)
        except UserError as error:
            return _json({"error": str(error)}, status=400)
        snapshot, members, journeys = await self._listed(request, "journeys", journeys)
        return _json(meant_answer(snapshot, members, experience, newest(journeys)))

    async def _rescue(self, request: web.Request) -> web.Response:
        found = await self._sources.rescue()
        snapshot, members, journeys = await self._listed(request, "journeys", found)
        return _json(rescue_answer(snapshot, members, in_order(journeys)))

    async def _journey(self, journeys: JourneyLookup, request: web.Request) -> web.Response:
        answer = await journeys.look_up(
            request.match_info["id"],
            request.headers.get("Authorization"),
            is_forwarded=FORWARDED in request.headers,
        )
        return _passed(answer)

    async def _runbook(self, request: web.Request) -> web.Response:
        text = self._runbooks.get(request.match_info["name"])
        if text is None:
            return web.Response(text="no such runbook\n", status=404)
        return web.Response(body=text, content_type="text/plain", charset="utf-8")

    async def _static(self, request: web.Request) -> web.Response:
        body, content_type = self._page[request.path]
        return web.Response(body=body, content_type=content_type, charset="utf-8")


async def serving(
    app: web.Application, address: str, what: str, ssl_context: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, str]:
    """What runs an application, and its address, with the port that a port of 0 became.

    Its doors see a request before a body of it is read; none is inflated. UserError when it cannot do `what`.
    """
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, auto_decompress=False, keepalive_timeout=IDLE_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=ssl_context).start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(f"cannot {what} on {address}: {error.strerror or error}") from None
    return runner, f"{host}:{runner.addresses[0][1]}"


@web.middleware
async def _without_body(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.body_exists:
        raise web.HTTPBadRequest(text="a request carries no body here\n")
    response: web.StreamResponse = await handler(request)
    return response


@web.middleware
async def _secure(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:  # no such path, or not with this method
        error.headers.update(HEADERS)
        raise
    response.headers.update(HEADERS)
    return response


def _json(answer: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json", status=status)


def _passed(answer: Answer) -> web.Response:
    return web.Response(body=answer.body, content_type="application/json", status=answer.status)
