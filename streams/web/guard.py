"""Who may ask over HTTP, and how it is protected on its way; no message and no repr shows a secret."""

import base64
import hmac
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streams.certificates import present
from streams.settings import Settings

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

PROBES = frozenset({"/livez", "/readyz"})
"""Open to everybody: what asks them, an orchestrator, often cannot carry a secret."""

STRANGE_HOST = (
    "this is another host than was asked for: set TOUCHPOINT_ADVERTISED_URL to the name it is reached by,"
    " or have it ask for a secret\n"
)


def http_ssl(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the HTTP server; None when it speaks plain HTTP."""
    if settings.http_cert is None or settings.http_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    present(context, settings.http_cert, settings.http_key)
    return context


def exposure(settings: Settings) -> str | None:
    """A warning when anybody on the network may read what HTTP answers."""
    if Guard(settings).challenges or is_loopback(host_of(settings.http)):
        return None
    return (
        f"HTTP on {settings.http} answers anybody: set TOUCHPOINT_HTTP_TOKEN_FILE, or TOUCHPOINT_HTTP_USER"
        " and TOUCHPOINT_HTTP_PASSWORD_FILE"
    )


def host_of(address: str) -> str:
    """The name or number of HOST:PORT, or of a Host header, whose port may be missing."""
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdecimal() else address).strip("[]")


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Who may ask over HTTP: whoever carries the token, or the user's password; anybody if neither is set.

    Where anybody on this machine may ask, a browser on it could be made to: a page's own name may be led to
    loopback (DNS rebinding). So there a request must name this machine, or what the settings advertise.
    """

    def __init__(self, settings: Settings) -> None:
        self._token = settings.http_token
        self._user, self._password = settings.http_user, settings.http_password
        self._advertised = urlsplit(settings.advertised_url or "").hostname
        self.is_on_loopback = is_loopback(host_of(settings.http))
        self.challenges: list[str] = []
        if self._password is not None:
            self.challenges.append('Basic realm="touchpoint", charset="UTF-8"')
        if self._token is not None:
            self.challenges.append('Bearer realm="touchpoint"')

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header opens the door. Takes as long for an almost right secret."""
        if not self.challenges:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and self._token is not None:
            shown = given.strip().encode(errors="surrogateescape")
            return hmac.compare_digest(shown, self._token.reveal().encode())
        if scheme.lower() == "basic" and self._password is not None:
            try:
                shown = base64.b64decode(given.strip(), validate=True)
            except ValueError:
                return False
            return hmac.compare_digest(shown, f"{self._user}:{self._password.reveal()}".encode())
        return False

    def is_named(self, host: str) -> bool:
        """Whether a Host header names this machine, where that matters."""
        if self.challenges or not self.is_on_loopback:
            return True
        name = host_of(host).lower()
        return is_loopback(name) or (bool(name) and name == self._advertised)

    def middleware(self) -> "Middleware":
        """Answers 421 to who asks for another host, and 401 to whoever may not ask, whatever the path, unless
        it is a probe's. No body has been read then, nor inflated."""
        from aiohttp import web  # takes a third of a second, and only a server needs it

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            if not self.is_named(request.headers.get("Host", "")):
                raise web.HTTPMisdirectedRequest(text=STRANGE_HOST)
            resource = request.match_info.route.resource
            is_probe = resource is not None and resource.canonical in PROBES
            if not is_probe and not self.allows(request.headers.get("Authorization", "")):
                refused = web.HTTPUnauthorized(text="who are you?\n")
                for challenge in self.challenges:
                    refused.headers.add("WWW-Authenticate", challenge)
                raise refused
            response: web.StreamResponse = await handler(request)
            return response

        return guard
