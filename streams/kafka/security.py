"""The way to Kafka, protected as `Settings` say; no message and no repr shows a secret."""

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


def _kafka_ssl(settings: Settings) -> ssl.SSLContext | None:
    if settings.kafka_security not in (SSL, SASL_SSL):
        return None
    context = trusting(settings.kafka_ca)
    if settings.kafka_cert is not None and settings.kafka_key is not None:
        present(context, settings.kafka_cert, settings.kafka_key)
    return context


class _Discreet(logging.Filter):
    """Keeps aiokafka's debug log from showing the password, which PLAIN sends as it stands."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "sasl" not in record.getMessage().lower() or record.levelno > logging.DEBUG


logging.getLogger("aiokafka.conn").addFilter(_Discreet())
