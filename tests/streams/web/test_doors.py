"""Strangers at the doors: what they send is refused before it costs anything."""

import asyncio
import base64
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from streams.settings import Secret, Settings
from streams.web.pager import MAX_BYTES, Pages
from streams.web.server import HttpServer, Sources
from tests.kit.programs import touchpoint
from tests.streams.web.test_security import BEARER, TOKEN, snapshot


async def asked(address: str, *lines: str, body: bytes = b"") -> tuple[int, str]:
    """Status and text of the answer to these header lines and bytes, which are sent as they stand."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        await writer.drain()
        async with asyncio.timeout(60):
            answer = (await reader.read()).decode()
    finally:
        writer.close()
    status = re.match(r"HTTP/1\.[01] (\d{3}) ", answer)
    assert status, answer
    return int(status[1]), answer


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[str]:
    """The address of a worker's HTTP server."""
    server = HttpServer(settings, Sources(snapshot, lambda _: None))
    try:
        yield await server.start()
    finally:
        await server.stop()


ON_LOOPBACK = Settings(http="127.0.0.1:0")


@pytest.mark.parametrize(
    "host", ["rebound.example.com", "127.0.0.1.example.com:8080", "10.0.0.1", "", "[::2]:1"]
)
async def test_a_rebound_name_is_refused(host: str) -> None:
    """A page whose name was led to loopback is not answered where anybody may ask; it is told what to do."""
    async with worker(ON_LOOPBACK) as address:
        status, said = await asked(address, "GET /livez HTTP/1.1", f"Host: {host}")
    assert status == 421
    assert "set TOUCHPOINT_ADVERTISED_URL" in said
    assert "example.com" not in said


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9", "LOCALHOST", "localhost:8080", "127.9.9.9", "[::1]:8080", "monitor.lan"]
)
async def test_names_of_its_own_are_answered(host: str) -> None:
    """Loopback by any name and port, for a tunnel has another; and where the worker says it is reached."""
    settings = Settings(http="127.0.0.1:0", advertised_url="https://monitor.lan:443")
    async with worker(settings) as address:
        assert (await asked(address, "GET /livez HTTP/1.1", f"Host: {host}"))[0] == 200


@pytest.mark.parametrize(
    "settings", [Settings(http="0.0.0.0:0"), Settings(http="127.0.0.1:0", http_token=Secret(TOKEN))]
)
async def test_any_name_is_answered_beyond_loopback_or_with_a_secret(settings: Settings) -> None:
    """There the worker cannot know its names, or no page knows the secret."""
    async with worker(settings) as address:
        local = f"127.0.0.1:{address.rpartition(':')[2]}"
        assert (await asked(local, "GET /livez HTTP/1.1", "Host: monitor.example.com"))[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/livez", "/metrics", "/nothing"])
async def test_a_body_is_refused_unread(method: str, path: str) -> None:
    """No request needs one. What inflates to 50 MB is not inflated."""
    async with worker(ON_LOOPBACK) as address:
        for body, coding in ((b"x" * 100, "identity"), (gzip.compress(b"\0" * 50_000_000), "gzip")):
            status, said = await asked(
                address,
                f"{method} {path} HTTP/1.1",
                "Host: localhost",
                f"Content-Encoding: {coding}",
                f"Content-Length: {len(body)}",
                body=body,
            )
            assert (status, said.partition("\r\n\r\n")[2]) == (400, "a request carries no body here\n")


async def test_a_secret_is_asked_for_before_anything_else() -> None:
    """Whoever has none learns nothing, also with a body."""
    async with worker(Settings(http="127.0.0.1:0", http_token=BEARER.http_token)) as address:
        lines = ("GET /metrics HTTP/1.1", "Host: x", "Content-Encoding: gzip", "Content-Length: 9")
        assert (await asked(address, *lines, body=b"no gzip!!"))[0] == 401
        given = (*lines, f"Authorization: Bearer {TOKEN}")
        assert (await asked(address, *given, body=b"no gzip!!"))[0] == 400


@pytest.mark.parametrize(
    "accept",
    [
        'text/plain;escaping=values;version="x',
        "text/plain;version=x",
        "application/openmetrics-text;version=1.x",
        "application/openmetrics-text;version=\u0661",
        "text/plain;version=" + "9" * 5000,
    ],
)
async def test_an_accept_header_that_makes_no_sense_gets_the_default(accept: str) -> None:
    """Prometheus' text format 0.0.4, as for no header at all."""
    async with worker(ON_LOOPBACK) as address:
        status, said = await asked(address, "GET /metrics HTTP/1.1", "Host: localhost", f"Accept: {accept}")
    assert status == 200
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in said


async def test_no_version_is_told() -> None:
    """Neither in an answer, nor in a refusal, nor in the answer to what is no HTTP."""
    async with worker(ON_LOOPBACK) as address:
        for line in ("GET /livez HTTP/1.1", "GET /nothing HTTP/1.1", "GET /livez HTTP/9.9", "\x00"):
            _, said = await asked(address, line, "Host: localhost")
            assert re.findall(r"(?im)^server: (.*)\r$", said) == ["touchpoint"]


# -- the pager ------------------------------------------------------------------------------------------

ALERT = {
    "status": "firing",
    "startsAt": "2026-11-21T21:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "labels": {"alertname": "StageDegraded", "stage": "store"},
    "annotations": {"summary": "forged"},
}
POSTED = orjson.dumps({"alerts": [ALERT]})
JSON = "Content-Type: application/json"


@asynccontextmanager
async def pager(told: list[str], settings: Settings) -> AsyncIterator[str]:
    """The address of a receiver that tells into the list."""
    listens, stop = asyncio.Event(), asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        listens.set()

    serving = asyncio.create_task(Pages(tell).serve(settings, stop))
    try:
        await asyncio.wait_for(listens.wait(), 20)
        yield told[0].rpartition("http://")[2]
    finally:
        stop.set()
        await serving


async def post(address: str, *lines: str, body: bytes = POSTED, host: str = "localhost") -> tuple[int, str]:
    """Status of a post to /page and what it says."""
    length = f"Content-Length: {len(body)}"
    first = ("POST /page HTTP/1.1", f"Host: {host}", length)
    status, said = await asked(address, *first, *lines, body=body)
    return status, said.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("lines", "host", "status"),
    [
        ([JSON, "Origin: https://example.com"], "localhost", 403),
        ([JSON, "Origin: null"], "localhost", 403),
        (["Content-Type: text/plain"], "localhost", 415),
        (["Content-Type: application/x-www-form-urlencoded"], "localhost", 415),
        ([], "localhost", 415),
        ([JSON], "rebound.example.com:9095", 421),
        ([JSON], "", 421),
        ([f"{JSON}; charset=utf-8"], "localhost:9095", 200),
        ([JSON], "127.0.0.1", 200),
    ],
)
async def test_a_page_in_a_browser_pages_nobody(lines: list[str], host: str, status: int) -> None:
    """What a browser can be made to send to loopback is refused in one line, and nothing is printed."""
    told: list[str] = []
    async with pager(told, ON_LOOPBACK) as address:
        found, said = await post(address, *lines, host=host)
    assert (found, said.count("\n")) == (status, int(status != 200))
    assert len(told) == (2 if status == 200 else 1)


async def test_without_the_token_nobody_pages() -> None:
    """Where a token is set, whoever has none is refused, whatever else is right; a worker's opens nothing."""
    told: list[str] = []
    settings = Settings(http="0.0.0.0:0", pages_token=Secret(TOKEN), http_token=Secret("of-a-worker"))
    async with pager(told, settings) as address:
        local = f"127.0.0.1:{address.rpartition(':')[2]}"
        for given in ("Bearer wrong", "Bearer of-a-worker", f"Basic {TOKEN}", ""):
            assert await post(local, JSON, f"Authorization: {given}") == (401, "who are you?\n")
        assert len(told) == 1
        assert await post(local, JSON, f"Authorization: Bearer {TOKEN}", host="pages:9095") == (200, "")
        basic = base64.b64encode(f"touchpoint:{TOKEN}".encode()).decode()
        assert await post(local, JSON, f"Authorization: Basic {basic}", host="pages:9095") == (200, "")
    assert len(told) == 2  # the same alert again is no news


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.0.0.1:9095"])
def test_without_a_token_only_loopback_is_listened_on(address: str) -> None:
    """One line that names the setting, exit 1."""
    done = touchpoint("pages", "--http", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"touchpoint: on {address} anybody could post alerts: set TOUCHPOINT_PAGES_TOKEN_FILE, or listen on"
        " loopback\n"
    )


def altered(**changed: Any) -> bytes:
    """A post of the alert with other fields."""
    return orjson.dumps({"alerts": [ALERT | changed]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"alerts": null}',
        b'{"alerts": [null]}',
        b'{"alerts": ' + b"[" * 100_000,
        b'{"alerts": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"alerts": [], "x": "\\ud800',
        gzip.compress(POSTED, mtime=0),
        altered(labels={}),
        altered(labels=None),
        altered(labels=["alertname"]),
        altered(labels={"alertname": 1}),
        altered(labels={"alertname": "X", "stage": {"a": 1}}),
        altered(annotations={"summary": 7}),
        altered(annotations="x"),
        altered(startsAt=None),
        altered(startsAt=1),
        altered(status=["firing"]),
        altered(status="on fire"),
    ],
)
@pytest.mark.parametrize("severity", ["page", "heartbeat"])
async def test_a_malformed_post_is_told_in_one_line(severity: str, body: bytes) -> None:
    """400, never 500, and nothing is printed."""
    told: list[str] = []
    async with pager(told, ON_LOOPBACK) as address:
        first = (f"POST /{severity} HTTP/1.1", "Host: localhost", JSON, f"Content-Length: {len(body)}")
        status, answer = await asked(address, *first, body=body)
    said = answer.partition("\r\n\r\n")[2]
    assert (status, said.count("\n")) == (400, 1), said
    assert said.startswith("not an alert of Alertmanager or Grafana: ")
    assert len(told) == 1


async def test_a_post_beyond_its_bound_is_refused() -> None:
    """413, without waiting for the rest."""
    told: list[str] = []
    async with pager(told, ON_LOOPBACK) as address:
        status, _ = await post(address, JSON, body=b" " * (MAX_BYTES + 1))
    assert (status, len(told)) == (413, 1)
