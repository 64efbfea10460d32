"""Asking another worker over HTTP: bounded in time and bytes, one line when no answer comes."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from monitor.errors import UserError
from streams.certificates import trusting
from streams.settings import Settings
from streams.web import bounded

FORWARDED = "Touchpoint-Forwarded"
"""Header of a request that one worker passes on to another; who sends it gets no other worker's answer."""

ASK_S = 5.0
"""How long an answer may take. A worker under load gives one within 0.1 s; one that hangs gives none."""

MAX_BYTES = 10_000_000
"""Of an answer. The longest journey there can be has 200 steps."""

NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL says of an answer that is no TLS, as plain HTTP is none; the second since its version 3.2
(https://github.com/urllib3/urllib3/pull/3405)."""


class NotAnsweredError(UserError):
    """A worker that cannot be asked; one line."""


class Answer(NamedTuple):
    """An HTTP status and a body of JSON."""

    status: int
    body: bytes


def refused(status: int, error: str) -> Answer:
    """An answer that says why there is none."""
    return Answer(status, orjson.dumps({"error": error}))


def path_of(journey_id: str) -> str:
    """Where the API shows a journey."""
    return f"/api/journeys/{quote(journey_id, safe='')}"


def forwarded(authorization: str | None) -> dict[str, str]:
    """Headers of a request that was asked of this worker with this secret, and is asked on once."""
    return {FORWARDED: "1"} | ({"Authorization": authorization} if authorization else {})


async def ask(
    url: str, path: str, headers: Mapping[str, str], context: ssl.SSLContext, most: int = MAX_BYTES
) -> Answer:
    """Ask the worker at a URL for a path, encoded, of its API; NotAnsweredError when it gives no answer, or
    one of more bytes."""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=bounded.PLAIN, auto_decompress=False) as session,
            # A redirect would take the secret along.
            session.get(
                URL(url + path, encoded=True), headers=headers, ssl=context, allow_redirects=False
            ) as response,
        ):
            return Answer(response.status, await bounded.body(response, most))
    except bounded.TooLongError:
        raise NotAnsweredError(f"{url} answers with more than any journey holds") from None
    except TimeoutError:
        raise NotAnsweredError(f"{url} has not answered within {ASK_S:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or "it cannot be vouched for"
        raise NotAnsweredError(f"{url} shows a certificate that is not trusted: {why}") from None
    except aiohttp.ClientConnectorSSLError as error:
        reason = getattr(error.os_error, "reason", None) or type(error.os_error).__name__
        if reason in NOT_TLS:
            raise NotAnsweredError(f"{url} does not speak TLS: ask {_with_scheme(url, 'http')}") from None
        raise NotAnsweredError(f"{url} cannot be reached: TLS fails ({reason})") from None
    except aiohttp.ClientConnectorError as error:
        raise NotAnsweredError(f"{url} cannot be reached: {_in_words(error.os_error)}") from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        other = _with_scheme(url, "https")
        if other != url and await _speaks_tls(other, context):
            raise NotAnsweredError(f"{url} speaks TLS: ask {other}") from None
        raise NotAnsweredError(f"{url} hung up without an answer") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotAnsweredError(f"{url} does not answer as a worker does ({type(error).__name__})") from None


def _with_scheme(url: str, scheme: str) -> str:
    return f"{scheme}://{url.partition('://')[2]}"


async def _speaks_tls(url: str, context: ssl.SSLContext) -> bool:
    """Whether anything answers there over TLS; it is told nothing, so it need not be trusted."""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=context, allow_redirects=False),
        ):
            return True
    except aiohttp.ClientConnectorCertificateError:
        return True
    except (aiohttp.ClientError, OSError):
        return False


def _in_words(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:  # else of looking up the name
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def client_ssl(settings: Settings) -> ssl.SSLContext:
    """Whom to trust when asking a worker over TLS; others of the group may share its certificate."""
    return trusting(settings.http_ca, settings.http_cert)


def advertised_url(settings: Settings, address: str) -> str:
    """Where other workers reach the one that answers at this HOST:PORT."""
    if settings.advertised_url is not None:
        return settings.advertised_url
    host, _, port = address.rpartition(":")
    if _is_everywhere(host.strip("[]")):
        host = socket.gethostname()
    return f"{'https' if settings.http_cert else 'http'}://{host}:{port}"


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
