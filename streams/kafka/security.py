"""The one place that turns `Settings` into protection: of the way to Kafka, and of what HTTP answers.

No message names a secret, and none of the objects made here shows one in its repr.
"""

import base64
import hmac
import ipaddress
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiokafka import errors
from aiokafka.conn import create_conn

from monitor.errors import UserError
from streams.settings import PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL, Settings

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

PROBES = frozenset({"/livez", "/readyz"})
"""Open to everybody: what asks them, an orchestrator, often cannot carry a secret."""

STRANGE_HOST = (
    "this is another host than was asked for: set TOUCHPOINT_ADVERTISED_URL to the name it is reached by,"
    " or have it ask for a secret\n"
)

REFUSALS = (
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.IllegalSaslStateError,
)
"""Answers that stay the same however often Kafka is asked again."""


class CertificateError(UserError):
    """A certificate or key file that cannot be used; one line that names it."""


# -- Kafka ----------------------------------------------------------------------------------------------


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's clients; their repr would show the password, so they are not kept."""
    if settings.kafka_security == PLAINTEXT:
        return {}
    options: dict[str, Any] = {
        "security_protocol": settings.kafka_security.upper(),
        "ssl_context": _kafka_ssl(settings),
    }
    if settings.kafka_security in (SASL_SSL, SASL_PLAINTEXT):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": _kafka_password(settings),
        }
    return options


def broker_credentials(settings: Settings) -> Any:
    """The same for Faust: its `broker_credentials`, with our own TLS context."""
    import faust  # takes most of a second, and only a worker needs it

    if settings.kafka_security == PLAINTEXT:
        return None
    context = _kafka_ssl(settings)
    if settings.kafka_security == SSL:
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.kafka_user,
        password=_kafka_password(settings),
        mechanism=settings.kafka_sasl_mechanism,
        ssl_context=context,
    )


async def kafka_refusal(settings: Settings, options: dict[str, Any]) -> str | None:
    """Why Kafka will not let us in, in one line; None when it is merely not there.

    aiokafka's clients say only that they could not connect, so one connection is made by hand.
    """
    if not options:
        return None
    for address in settings.kafka.split(","):
        host, _, port = address.rpartition(":")
        timeout_ms = round(settings.kafka_timeout_s * 1000)
        try:
            one = await create_conn(host.strip("[]"), int(port), request_timeout_ms=timeout_ms, **options)
        except (errors.KafkaError, OSError, ValueError) as error:
            said = _refusal(settings, error)
            if said is not None:
                return f"Kafka at {address} {said}"
        else:
            one.close()
    return None


def _refusal(settings: Settings, error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            ca = settings.kafka_ca or "the system's CAs"
            return f"shows a certificate that {ca} cannot vouch for: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return f"ends the TLS connection: {error.reason or type(error).__name__}"
        if isinstance(error, REFUSALS):
            return f"refuses user {settings.kafka_user} ({type(error).__name__})"
        error = error.__cause__ or error.__context__
    return None


def _kafka_password(settings: Settings) -> str | None:
    return settings.kafka_password.reveal() if settings.kafka_password else None


def _kafka_ssl(settings: Settings) -> ssl.SSLContext | None:
    if settings.kafka_security not in (SSL, SASL_SSL):
        return None
    context = ssl.create_default_context()  # host names are checked
    if settings.kafka_ca is not None:
        _require(settings.kafka_ca, "CERTIFICATE-----", "certificate")
        context = _only_trusting(settings.kafka_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some builds of Python leave it to OpenSSL
    if settings.kafka_cert is not None and settings.kafka_key is not None:
        _present(context, settings.kafka_cert, settings.kafka_key)
    return context


def _only_trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{ca}: holds no usable certificate ({_reason(error)})") from None


def _present(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    _require(cert, "CERTIFICATE-----", "certificate")
    if "ENCRYPTED" in _require(key, "PRIVATE KEY-----", "private key"):
        raise CertificateError(f"{key}: the private key is encrypted, which a worker cannot open")
    try:
        context.load_cert_chain(cert, key, password="")  # or OpenSSL would ask at the terminal
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: is not the private key of {cert}") from None
        raise CertificateError(f"{cert} or {key}: cannot be used ({_reason(error)})") from None


def _require(file: Path, marker: str, what: str) -> str:
    """The text of a PEM file that holds what it must."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError) as error:
        raise CertificateError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    if marker not in text:
        raise CertificateError(f"{file}: holds no {what} in PEM form")
    return text


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


class _Discreet(logging.Filter):
    """Keeps aiokafka's debug log from showing the password, which PLAIN sends as it stands."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "sasl" not in record.getMessage().lower() or record.levelno > logging.DEBUG


logging.getLogger("aiokafka.conn").addFilter(_Discreet())


# -- HTTP -----------------------------------------------------------------------------------------------


def http_ssl(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the HTTP server; None when it speaks plain HTTP."""
    if settings.http_cert is None or settings.http_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _present(context, settings.http_cert, settings.http_key)
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
