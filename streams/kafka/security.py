"""The way to Kafka, protected as `Settings` say; no message and no repr shows a secret."""

import asyncio
import logging
import ssl
from typing import Any

from aiokafka import errors
from aiokafka.conn import create_conn

from streams.certificates import present, trusting
from streams.settings import PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL, Settings

REFUSALS = (
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.IllegalSaslStateError,
)
"""Answers that stay the same however often Kafka is asked again."""

PROBE_S = 5.0
"""How long it may take to hear whether TLS is spoken."""


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
            "sasl_plain_password": settings.kafka_password.reveal() if settings.kafka_password else None,
        }
    return options


def broker_credentials(settings: Settings) -> Any:
    """The same for Faust: its `broker_credentials`, with our own TLS context."""
    import faust  # takes most of a second, and only a worker needs it

    options = kafka_options(settings)
    if not options:
        return None
    if settings.kafka_security == SSL:
        return faust.SSLCredentials(options["ssl_context"])
    return faust.SASLCredentials(
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        mechanism=options["sasl_mechanism"],
        ssl_context=options["ssl_context"],
    )


async def kafka_refusal(settings: Settings, options: dict[str, Any]) -> str | None:
    """Why Kafka will not let us in, in one line; None when it is merely not there.

    aiokafka's clients say only that they could not connect, so one connection is made by hand.
    """
    for address in settings.kafka.split(","):
        host, _, port = address.rpartition(":")
        said = await _answer(settings, options, host.strip("[]"), int(port))
        if said is not None:
            return f"Kafka at {address} {said}"
    return None


async def _answer(settings: Settings, options: dict[str, Any], host: str, port: int) -> str | None:
    if settings.kafka_security in (PLAINTEXT, SASL_PLAINTEXT) and await _speaks_tls(host, port):
        return f"speaks TLS: TOUCHPOINT_KAFKA_SECURITY must be {SSL} or {SASL_SSL}"
    if not options:
        return None
    try:
        one = await create_conn(
            host, port, request_timeout_ms=round(settings.kafka_timeout_s * 1000), **options
        )
    except (errors.KafkaError, OSError, ValueError) as error:
        said = _refusal(settings, error)
        if said is None and options["ssl_context"] is not None and await _speaks_plainly(host, port):
            said = f"does not speak TLS, as TOUCHPOINT_KAFKA_SECURITY of {settings.kafka_security} wants it"
        return said
    one.close()
    return None


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether anything answers there over TLS; it is told nothing, so it need not be trusted."""
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        return True
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def _speaks_plainly(host: str, port: int) -> bool:
    """Whether a Kafka answers there without TLS; it is told nothing."""
    try:
        one = await create_conn(host, port, request_timeout_ms=round(PROBE_S * 1000))
    except (errors.KafkaError, OSError, ValueError):
        return False
    one.close()
    return True


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


_contexts: dict[Settings, ssl.SSLContext] = {}
"""One for all clients of the same settings: a certificate that was renewed is shown by those that run, too,
once any client reads it, such as the one that looks whether Kafka is there (`streams.engine.cluster`)."""


def _kafka_ssl(settings: Settings) -> ssl.SSLContext | None:
    if settings.kafka_security not in (SSL, SASL_SSL):
        return None
    context = _contexts.setdefault(settings, trusting(settings.kafka_ca))
    if settings.kafka_cert is not None and settings.kafka_key is not None:
        present(context, settings.kafka_cert, settings.kafka_key)
    return context


class _Discreet(logging.Filter):
    """Keeps aiokafka's debug log from showing the password, which PLAIN sends as it stands."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "sasl" not in record.getMessage().lower() or record.levelno > logging.DEBUG


logging.getLogger("aiokafka.conn").addFilter(_Discreet())
