"""Any worker answers for any journey, as the one that keeps it does, or says in one line why it cannot."""

import asyncio
import base64
import contextlib
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from yarl import URL

from streams.certificates import CertificateError
from streams.settings import Settings, SettingsError, read
from streams.web import client
from streams.web.client import FORWARDED, NotAnsweredError, advertised_url, ask, client_ssl
from streams.web.lookup import JourneyLookup
from streams.web.server import HttpServer, Sources
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.streams.web.test_security import Certificates, snapshot

TOKEN = "t0ken-t0ken-t0ken"  # noqa: S105 - of nothing
BASIC = f"Basic {base64.b64encode(b'ops:pass').decode()}"
SECRETS = {"HTTP_TOKEN": TOKEN, "HTTP_USER": "ops", "HTTP_PASSWORD": "pass"}
TOPIC = "touchpoint.web-checkout.v1"
IDS = [f"j-{number}" for number in range(12)] + ["a/b ?#%2F..\u00e4"]
AGES = ("at", "last_step_age_s", "clock", "clock_behind_s")


class Told(NamedTuple):
    """What a worker answers."""

    status: int
    body: Any


def tell(worker: WorkerProcess, journey_id: str, authorization: str = f"Bearer {TOKEN}", **more: str) -> Told:
    """Ask a worker for a journey."""
    path = f"/api/journeys/{urllib.request.quote(journey_id, safe='')}"  # type: ignore[attr-defined]
    headers = {"Authorization": authorization, **more} if authorization else more
    request = urllib.request.Request(worker.url + path, headers=headers)  # noqa: S310 - our own loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return Told(answer.status, orjson.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
            is_json = error.headers.get_content_type() == "application/json"
            return Told(error.code, orjson.loads(body) if is_json else body)


def timeless(body: dict[str, Any]) -> dict[str, Any]:
    """An answer without what depends on when it was asked for."""
    stale = {name: value for name, value in body["staleness"].items() if name not in AGES}
    following = {name: value for name, value in (body["next"] or {}).items() if name != "in_s"}
    return {**body, "staleness": stale, "next": following}


def publish(bootstrap: str) -> None:
    """An order of each journey, with a promise, some 20 minutes ago; of half of them it is overdue.

    Then, in each partition, a visit of now: what comes is no longer late, so time passes.
    """
    now = datetime.now(UTC)
    ago = now - timedelta(minutes=20)
    about: dict[str, Any] = {"stage": "web_checkout", "outcome": "ok", "segment": "new", "partner": "klarna"}

    def order(number: int, journey_id: str) -> dict[str, Any]:
        due = ago + timedelta(minutes=5 if number % 2 else 500)
        promise = {"id": "p", "kind": "call_back", "due": due.isoformat()}
        when = {"id": f"e-{number}", "time": ago.isoformat(), "duration_s": 300}
        return {**about, **when, "journey_id": journey_id, "promise": promise}

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for number, journey_id in enumerate(IDS):
                await producer.send(TOPIC, orjson.dumps(order(number, journey_id)), partition=number % 4)
            for partition in range(4):
                visit = {**about, "id": f"v-{partition}", "time": now.isoformat()}
                await producer.send(TOPIC, orjson.dumps(visit), partition=partition)

    asyncio.run(produce())


@pytest.fixture(scope="module")
def pair() -> Iterator[list[WorkerProcess]]:
    """Two workers that have read the orders and found what is overdue. The last test kills one."""
    with running(TansuNode()) as broker, ExitStack() as stack:
        workers = [stack.enter_context(WorkerProcess(KAFKA=broker.bootstrap, **SECRETS)) for _ in range(2)]
        until(lambda: all(worker.is_ready() for worker in workers), "both ready")
        publish(broker.bootstrap)
        for number, journey_id in enumerate(IDS):
            until(lambda: is_judged(tell(workers[0], journey_id), number), f"{journey_id} known")  # noqa: B023
        yield workers


def is_judged(told: Told, number: int) -> bool:
    """Whether a journey is known, and that it is overdue if it is."""
    return told.status == 200 and (number % 2 == 0 or told.body["staleness"]["overdue"])


def test_all_workers_answer_alike(pair: list[WorkerProcess]) -> None:
    """Whoever is asked, with the token or the password, the worker that keeps the journey answers."""
    keepers = set()
    for journey_id in IDS:
        answers = [
            tell(worker, journey_id, secret) for worker in pair for secret in (BASIC, f"Bearer {TOKEN}")
        ]
        assert [one.status for one in answers] == [200] * 4
        first, *others = [timeless(one.body) for one in answers]
        assert all(one == first for one in others)
        assert first["journey_id"] == journey_id
        keepers.add(first["worker"])
    assert len(keepers) == 2


def test_what_is_told(pair: list[WorkerProcess]) -> None:
    """The order's step, its promise and how fresh this is come through two workers as they are."""
    late, timely = tell(pair[0], IDS[1]).body, tell(pair[0], IDS[2]).body
    assert (late["state"], late["goal"], late["weakest"]) == ("open", "not yet", "web_checkout")
    assert late["steps"][0]["bad_for"] == ["checkout_fast"]
    assert [one["state"] for one in (*late["promises"], *timely["promises"])] == ["overdue", "pending"]
    assert (late["next"], timely["next"]["kind"]) == (None, "call_back")
    assert (late["staleness"]["overdue"], timely["staleness"]["overdue"]) == (True, False)
    assert 1200 <= late["staleness"]["last_step_age_s"] < 1600
    assert 0 < late["staleness"]["clock_behind_s"] < 400


@pytest.mark.parametrize("path", ["nobody", "%ff", "%ed%a0%80", "..", "%2e%2e", "x" * 200])
def test_an_unknown_journey_is_not_found(pair: list[WorkerProcess], path: str) -> None:
    """404 and a sentence, from either worker, whatever is asked for."""
    for worker in pair:
        request = urllib.request.Request(  # noqa: S310 - our own loopback
            f"{worker.url}/api/journeys/{path}", headers={"Authorization": BASIC}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)  # noqa: S310
        with caught.value as error:
            assert error.code == 404
            assert orjson.loads(error.read())["error"].startswith("no such journey")


@pytest.mark.parametrize("secret", ["", "Bearer wrong", "Basic b3BzOndyb25n"])
def test_who_may_not_ask_is_told_nothing(pair: list[WorkerProcess], secret: str) -> None:
    """Without the right secret no journey is told, neither one's own nor another's, nor as a worker."""
    for worker in pair:
        for journey_id in IDS[:4]:
            assert tell(worker, journey_id, secret).status == 401
            assert tell(worker, journey_id, secret, **{FORWARDED: "1"}).status == 401


def test_what_was_passed_on_is_not_passed_on_again(pair: list[WorkerProcess]) -> None:
    """A request that came from a worker is answered from here or not at all: by one of the two."""
    for journey_id in IDS:
        answers = [tell(worker, journey_id, **{FORWARDED: "1"}) for worker in pair]
        assert sorted(one.status for one in answers) == [200, 503]
        (refused,) = (one.body for one in answers if one.status == 503)
        assert "does not keep this journey now" in refused["error"]


def commands(*runs: tuple[tuple[str, ...], dict[str, str]]) -> list[CompletedProcess[str]]:
    """Runs of `touchpoint journey`, each with its arguments and settings, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda one: touchpoint("journey", *one[0], **one[1]), runs))


def test_the_command_shows_a_journey(pair: list[WorkerProcess]) -> None:
    """In words for people, as it came for programs; with the token or the password of the settings.

    Without --worker it asks TOUCHPOINT_HTTP, or what that worker is advertised as.
    """
    first, second = (worker.url for worker in pair)
    odd = IDS[-1]
    shown, shown_next, raw = commands(
        ((IDS[1],), {"HTTP": first.removeprefix("http://"), "HTTP_TOKEN": TOKEN}),
        ((IDS[2],), {"HTTP": "127.0.0.1:0", "ADVERTISED_URL": first, "HTTP_TOKEN": TOKEN}),
        ((odd, "--worker", second, "--json"), {"HTTP_USER": "ops", "HTTP_PASSWORD": "pass"}),
    )
    assert [(done.returncode, done.stderr) for done in (shown, shown_next, raw)] == [(0, "")] * 3
    assert shown.stdout.startswith(f"journey {IDS[1]}: open, goal not yet, kept by ")
    for text in ("weakest at web_checkout", "last step ", "OVERDUE", "klarna", "call_back", "ends by itself"):
        assert text in shown.stdout
    assert "next promise call_back, due " in shown_next.stdout
    assert timeless(orjson.loads(raw.stdout)) == timeless(tell(pair[0], odd).body)


def test_the_command_fails_in_one_line(pair: list[WorkerProcess]) -> None:
    """An unknown journey, a wrong secret, nobody there, no address: one line each, exit 1, no output."""
    url, gone = pair[0].url, "http://127.0.0.1:9"
    tls = url.replace("http", "https")
    failing = [
        (("nobody", "--worker", url), {"HTTP_TOKEN": TOKEN}, f"{url}: no such journey"),
        (("j-1", "--worker", url), {"HTTP_TOKEN": "wrong"}, f"{url} refuses to answer (401)"),
        (("j-1", "--worker", gone), {}, f"{gone} cannot be reached: Connection refused"),
        (("j-1", "--worker", tls), {}, f"{tls} does not speak TLS: ask {url}"),
        (("j-1", "--worker", "127.0.0.1:9"), {}, "--worker: must be http://HOST:PORT"),
        (("j-1",), {"HTTP": "127.0.0.1:0"}, "TOUCHPOINT_HTTP names no port; give --worker"),
    ]
    for done, (_, _, line) in zip(commands(*[one[:2] for one in failing]), failing, strict=True):
        assert (done.returncode, done.stdout) == (1, "")
        (said,) = done.stderr.splitlines()
        assert said.startswith(f"touchpoint: {line}")


# -- where a worker is, and whom it trusts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), "http://127.0.0.1:81"),
        (Settings(http_cert=Path("x")), "https://127.0.0.1:81"),
        (Settings(advertised_url="https://w-0.example.com"), "https://w-0.example.com"),
    ],
)
def test_where_a_worker_is_reached(settings: Settings, url: str) -> None:
    """As the settings say; else where it listens, in the scheme that it speaks."""
    assert advertised_url(settings, "127.0.0.1:81") == url


def test_a_worker_open_to_the_network_is_reached_by_name() -> None:
    """Nobody can be sent to 0.0.0.0."""
    for address in ("0.0.0.0:81", "[::]:81"):
        host = advertised_url(Settings(), address).removeprefix("http://").removesuffix(":81")
        assert host not in ("0.0.0.0", "[::]")  # noqa: S104
        assert host
    assert advertised_url(Settings(), "[::1]:81") == "http://[::1]:81"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("https://[fd00::7]:1/", "https://[fd00::7]:1"),
        ("https://w-0.example.com", "https://w-0.example.com"),
    ],
)
def test_an_advertised_url_is_read(text: str, value: str) -> None:
    """A scheme, a host and perhaps a port."""
    assert read({"TOUCHPOINT_ADVERTISED_URL": text}).advertised_url == value


@pytest.mark.parametrize(
    "text",
    ["10.0.0.7:80", "ftp://a:1", "http://a:65536", "http://a/b", "http://u:p@a:1", "http://[1:2]:3"],
)
def test_a_wrong_advertised_url_is_an_error(text: str) -> None:
    """Anything else, above all one that holds a password, is an error that does not quote it."""
    with pytest.raises(SettingsError) as caught:
        read({"TOUCHPOINT_ADVERTISED_URL": text})
    line = "must be http://HOST:PORT or https://HOST:PORT"
    assert str(caught.value) == f"TOUCHPOINT_ADVERTISED_URL: {line}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Ours."""
    return Certificates(tmp_path_factory.mktemp("ours"), "ours")


@asynccontextmanager
async def serving(
    settings: Settings, keeper: str | None = None, owned: frozenset[int] | None = frozenset()
) -> AsyncIterator[str]:
    """A worker's server without Kafka, of a group that says where its journeys are kept."""
    journeys = SimpleNamespace(owned=owned, keeps=lambda _: False, partition_of=lambda _: 0)
    app: Any = SimpleNamespace(
        journeys=journeys, keeper_url=lambda _: app.url if keeper == "itself" else keeper, url=""
    )
    lookup = JourneyLookup(settings, "w", lambda: app)
    server = HttpServer(replace(settings, http="127.0.0.1:0"), Sources(snapshot, lambda _: None, lookup))
    app.url = f"{'https' if settings.http_cert else 'http'}://{await server.start()}"
    try:
        yield app.url
    finally:
        await server.stop()


async def asked(url: str, context: ssl.SSLContext | None = None) -> Told:
    """What it answers to a client with more patience than a worker has."""
    headers = {"Authorization": "Bearer x"}
    async with (
        aiohttp.ClientSession(url, headers=headers) as session,
        session.get("/api/journeys/j-1", ssl=context or True) as answer,
    ):
        return Told(answer.status, await answer.json())


async def test_workers_that_share_a_certificate_trust_each_other(certificates: Certificates) -> None:
    """Nothing more has to be set; the certificate of another CA, or of another worker, ends the asking."""
    cert, key = certificates.sign("shared")
    other_cert, other_key = certificates.sign("another")
    shared = Settings(http_cert=cert, http_key=key)
    other = Settings(http_cert=other_cert, http_key=other_key)
    async with serving(shared) as there, serving(other) as stranger:
        for settings in (shared, replace(other, http_ca=certificates.ca)):
            context = client_ssl(settings)
            assert (await asked(there, context)).status == 503
            async with serving(settings, keeper=there) as here:
                assert "the worker that was asked does not keep" in (await asked(here, context)).body["error"]
        async with serving(shared, keeper=stranger) as here:
            said = (await asked(here, client_ssl(shared))).body["error"]
            assert f"{stranger} shows a certificate that is not trusted: " in said


async def test_no_secret_leaves_tls(certificates: Certificates) -> None:
    """A worker that speaks TLS passes nothing on to one that does not."""
    cert, key = certificates.sign("shared")
    shared = Settings(http_cert=cert, http_key=key)
    async with serving(Settings()) as there, serving(shared, keeper=there) as here:
        told = await asked(here, client_ssl(shared))
        assert (told.status, "without TLS" in told.body["error"]) == (503, True)


def test_a_wrong_ca_is_one_line(tmp_path: Path) -> None:
    """A file that is not there, or holds no certificate, is named."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    missing = tmp_path / "missing.pem"
    for file, why in ((nonsense, "holds no certificate in PEM form"), (missing, "No such file or directory")):
        with pytest.raises(CertificateError, match=f"^{file}: {why}$"):
            client_ssl(Settings(http_ca=file))


ID_RULE = "a journey id is 1 to 200 printable characters"


@pytest.mark.parametrize("path", ["", "a%00b", "a%0Ab", "%0A", "a%1B%5B2J", "a%C2%85", "x" * 201])
async def test_what_is_no_id_is_told(path: str) -> None:
    """400 and what an id is, whether or not this worker would keep it, and before it is ready."""
    async with serving(Settings()) as here, aiohttp.ClientSession() as session:
        url = URL(f"{here}/api/journeys/{path}", encoded=True)
        async with session.get(url) as answer:
            assert (answer.status, await answer.json()) == (400, {"error": ID_RULE})


@pytest.mark.parametrize("journey_id", ["", "a\nb", "a\x1b[2J", "a\x85", "x" * 201, "\udcff"])
def test_the_command_asks_nobody_for_what_is_no_id(journey_id: str) -> None:
    """One line, as for any other mistake, though nobody is there to be asked."""
    done = touchpoint("journey", "--worker", "http://127.0.0.1:9", "--", journey_id)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"touchpoint: {ID_RULE}\n")


async def test_whether_the_other_side_speaks_tls_is_told(certificates: Certificates) -> None:
    """Either way round, and whether or not its certificate is trusted: one line with the URL to use."""
    cert, key = certificates.sign("shared")
    shared = Settings(http_cert=cert, http_key=key)
    async with serving(shared) as tls, serving(Settings()) as plain:
        without, within = tls.replace("https", "http"), plain.replace("http", "https")
        for context in (client_ssl(shared), client_ssl(Settings())):
            with pytest.raises(NotAnsweredError) as caught:
                await ask(without, "/api/journeys/j-1", {}, context)
            assert str(caught.value) == f"{without} speaks TLS: ask {tls}"
            with pytest.raises(NotAnsweredError) as caught:
                await ask(within, "/api/journeys/j-1", {}, context)
            assert str(caught.value) == f"{within} does not speak TLS: ask {plain}"


async def test_who_hangs_up_is_not_taken_for_one_that_speaks_tls() -> None:
    """A server that closes every connection, whatever comes, is told as that."""
    calls = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NotAnsweredError) as caught:
            await ask(url, "/api/journeys/j-1", {}, client_ssl(Settings()))
    assert str(caught.value) == f"{url} hung up without an answer"
    assert len(calls) > 1


# -- when nobody can be asked ----------------------------------------------------------------------------

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """A server in the place of the worker that keeps all journeys."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def endless(request: web.Request) -> web.StreamResponse:
    """Never stops answering."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 10_000)
    return response


async def test_a_keeper_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs, is gone, refuses, redirects or fails is 503 with the reason, and is asked once."""
    monkeypatch.setattr(client, "ASK_S", 0.3)
    requests: list[web.Request] = []
    statuses = iter((401, 302, 500))

    async def refuse(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return web.Response(status=next(statuses), headers={"Location": "/elsewhere"})

    tired = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await tired.wait()
        return web.Response()

    async with answering(refuse) as url, serving(Settings(), keeper=url) as here:
        for status in (401, 302, 500):
            told = await asked(here)
            assert told.status == 503
            assert told.body["error"] == f"the worker that keeps this journey, {url}, answered {status}"
    assert [one.path for one in requests] == ["/api/journeys/j-1"] * 3
    assert {one.headers["Authorization"] for one in requests} == {"Bearer x"}
    async with answering(hang) as url, serving(Settings(), keeper=url) as here:
        told = await asked(here)
        tired.set()
        assert (told.status, f"{url} has not answered within 0.3 s" in told.body["error"]) == (503, True)
    async with serving(Settings(), keeper="http://127.0.0.1:9") as here:
        told = await asked(here)
        assert (told.status, "http://127.0.0.1:9 cannot be reached: " in told.body["error"]) == (503, True)


async def test_a_keeper_that_never_stops_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer longer than any journey's is not read to its end."""
    monkeypatch.setattr(client, "MAX_BYTES", 100_000)

    async with answering(endless) as url, serving(Settings(), keeper=url) as here:
        told = await asked(here)
    assert told.status == 503
    assert f"{url} answers with more than any journey holds" in told.body["error"]


async def test_nobody_is_known_to_keep_it() -> None:
    """While the group has assigned nothing, or a worker is sent to itself, no request goes round."""
    async with serving(Settings()) as here:
        assert "no worker is known" in (await asked(here)).body["error"]


@pytest.mark.parametrize(
    ("owned", "reason"), [(None, "is recovering it or waits"), (frozenset(), "TOUCHPOINT_ADVERTISED_URL")]
)
async def test_a_worker_is_not_sent_to_itself(owned: frozenset[int] | None, reason: str) -> None:
    """What it is said to keep and does not is being recovered, or another worker's with the same URL."""
    async with serving(Settings(), keeper="itself", owned=owned) as here:
        told = await asked(here)
        assert (told.status, reason in told.body["error"]) == (503, True)


async def test_before_kafka_is_reached_and_without_journeys() -> None:
    """Not yet is 503; a journey file that keeps no journeys is 404, for good."""
    for app, status, reason in (
        (None, 503, "has not reached Kafka"),
        (SimpleNamespace(journeys=None), 404, "the journey file has no `journeys`"),
    ):
        lookup = JourneyLookup(Settings(), "w", lambda: app)  # type: ignore[arg-type,return-value] # noqa: B023
        answer = await lookup.look_up("j-1", None, is_forwarded=False)
        assert answer.status == status
        assert reason in orjson.loads(answer.body)["error"]


def test_the_survivor_takes_over(pair: list[WorkerProcess]) -> None:
    """A worker that keeps journeys is killed: of these the other says why not, and then what they are."""
    victim, survivor = pair
    before = {one: tell(survivor, one).body for one in IDS}
    kept = [one for one in IDS if tell(victim, one, **{FORWARDED: "1"}).status == 200]
    victim.process.kill()
    victim.process.wait()
    told = tell(survivor, kept[0])
    assert told.status == 503
    assert told.body["error"].startswith("the worker that keeps this journey cannot be asked: ")

    def answered(number: int, journey_id: str) -> Any:
        told = tell(survivor, journey_id)
        assert told.status in (200, 503)
        return told.body if is_judged(told, number) else None

    for number, one in enumerate(IDS):
        after = until(partial(answered, number, one), f"{one} taken over and judged")
        known = {**timeless(before[one]), "worker": after["worker"]}
        assert timeless(after) == known
    assert len({tell(survivor, one).body["worker"] for one in IDS}) == 1
