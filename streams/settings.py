"""The one reader of the environment: `TOUCHPOINT_*` variables to `Settings`, every error at once.

No error quotes a value: it could be a secret that stands in the wrong variable.
"""

import difflib
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from monitor.errors import UserError
from streams.secret import Secret as Secret  # settings hold it, so who reads them finds it here
from streams.secret import first_line

SHIPPED_JOURNEY = Path(__file__).parent.parent / "monitor" / "journey.yaml"

PREFIX = "TOUCHPOINT_"

IGNORED_PREFIXES = ("TOUCHPOINT_TEST_",)
"""Variables of the test suite, which are none of the product's settings."""


SERVICE_LINK = re.compile(
    r"TOUCHPOINT_(?:\w+?_)??"
    r"(?P<tail>SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""What Kubernetes puts into every pod of a namespace for each Service in it."""

PART_OF_ADDRESS = re.compile(r"TOUCHPOINT_(?:(HTTP|KAFKA)_)?(?:HOST|PORT|ADDRESS)")
"""What is half of a setting elsewhere."""

HOST = r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"

ADDRESS = re.compile(rf"({HOST}|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{{1,5}})")

URL = re.compile(rf"https?://({HOST}|\[(?P<ipv6>[0-9a-fA-F:.]+)\])(:(?P<port>[0-9]{{1,5}}))?")

GROUP = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""It becomes part of topic names, of which Kafka allows 249 characters."""

TOKEN = re.compile(r"[\x21-\x7e]+")
"""What an HTTP header can carry after `Bearer `."""

NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")

COUNT = re.compile(r"[0-9]{1,9}")

MAX_COUNT = 32_767
"""Of partitions and copies; Kafka writes the latter in two bytes."""

MAX_MB = 1_000_000
"""More than any machine has."""

LOG_LEVELS = ("debug", "info", "warning", "error")

MIN_SESSION_S, MAX_SESSION_S = 1, 90
"""Below, heartbeats come ten times a second and more, and a busy loop misses them. Above, the partitions of a
worker that hangs wait longer than Kafka's client waits for any answer, which Faust refuses."""

PLAINTEXT, SSL, SASL_SSL, SASL_PLAINTEXT = "plaintext", "ssl", "sasl_ssl", "sasl_plaintext"
KAFKA_SECURITY = (PLAINTEXT, SSL, SASL_SSL, SASL_PLAINTEXT)
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SettingsError(UserError):
    """Settings that cannot be used; one line each."""


def _address(text: str) -> str:
    match = ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise ValueError("must be HOST:PORT")
    return text


def worker_url(text: str) -> str:
    """A URL that a worker answers at, without a path; ValueError when it is none."""
    match = URL.fullmatch(text.removesuffix("/"))
    if not match or int(match["port"] or 0) > 65535 or not _is_ipv6(match["ipv6"] or "::"):
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    return match[0]


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _instance_id(text: str) -> str:
    name = socket.gethostname() if text == "host" else text
    if not GROUP.fullmatch(name):
        raise ValueError("must be 1 to 100 letters, digits, dots, hyphens or underscores")
    return name


def _addresses(text: str) -> str:
    return ",".join(_address(part.strip()) for part in text.split(","))


def _seconds(text: str) -> float:
    value = float(text) if NUMBER.fullmatch(text) else 0.0
    if not 0 < value < 86_400:
        raise ValueError("must be a number of seconds above 0")
    return value


def _session_seconds(text: str) -> float:
    value = _seconds(text)
    if not MIN_SESSION_S <= value <= MAX_SESSION_S:
        raise ValueError(f"must be a number of seconds from {MIN_SESSION_S} to {MAX_SESSION_S}")
    return value


def _count(text: str, most: int = MAX_COUNT) -> int:
    value = int(text) if COUNT.fullmatch(text) else 0
    if not 1 <= value <= most:
        raise ValueError(f"must be a whole number from 1 to {most}")
    return value


def _truth(text: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if text.lower() not in known:
        raise ValueError("must be true or false")
    return known[text.lower()]


def _group(text: str) -> str:
    if not GROUP.fullmatch(text):
        raise ValueError("must be letters, digits, `.`, `_` or `-`")
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError("must not be empty")
    return Path(text)


def _one_of(known: tuple[str, ...], text: str) -> str:
    found = next((one for one in known if one.lower() == text.lower()), None)
    if found is None:
        raise ValueError(f"must be one of {', '.join(known)}")
    return found


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be printable text")
    return text


def _http_user(text: str) -> str:
    if ":" in text:
        raise ValueError("must not contain `:`, which ends it in basic auth")
    return _text(text)


def _secret(text: str) -> Secret:
    return Secret(_text(text))


def token(text: str) -> Secret:
    """What an HTTP header can carry as a bearer token; ValueError for what it cannot."""
    if not TOKEN.fullmatch(text):
        raise ValueError("must be visible ASCII characters without spaces")
    return Secret(text)


def _setting(default: Any, read: Callable[[str], Any], help_: str) -> Any:
    return field(default=default, metadata={"read": read, "help": help_})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. A field `http` is read from `TOUCHPOINT_HTTP`."""

    kafka: str = _setting("127.0.0.1:9092", _addresses, "Kafka bootstrap servers, HOST:PORT, comma-separated")
    journey: Path = _setting(SHIPPED_JOURNEY, _path, "journey file; the shipped chair journey unless set")
    http: str = _setting(
        "127.0.0.1:8080", _address, "address of the worker's HTTP server; 0.0.0.0:8080 opens it"
    )
    advertised_url: str | None = _setting(
        None,
        worker_url,
        "URL at which other workers ask this one for journeys, e.g. http://10.0.0.7:8080; unless set, it is"
        " made from TOUCHPOINT_HTTP, with this machine's name for 0.0.0.0",
    )
    group: str = _setting("touchpoint-monitor", _group, "consumer group; also the prefix of changelog topics")
    instance_id: str | None = _setting(
        None,
        _instance_id,
        "name of this worker in the group (static membership), `host` for that of this machine; a worker"
        " restarted with the same name has its partitions back at once",
    )
    state_dir: Path = _setting(
        Path(tempfile.gettempdir()) / f"touchpoint-{os.getuid()}",
        _path,
        "directory of the worker's local files",
    )
    create_topics: bool = _setting(
        True, _truth, "whether to create missing topics, and partitions that a changelog lacks"
    )
    topic_partitions: int = _setting(4, _count, "partitions of a new topic, if its stage names no number")
    replication_factor: int = _setting(1, _count, "replicas of a new topic; 3 in production")
    session_timeout_s: float = _setting(
        30.0,
        _session_seconds,
        f"time without a heartbeat after which Kafka takes a worker for dead, {MIN_SESSION_S} to"
        f" {MAX_SESSION_S}; brokers accept no less than 6 by default",
    )
    kafka_timeout_s: float = _setting(20.0, _seconds, "how long to retry an unreachable broker at start")
    journeys_mb: int = _setting(
        1000,
        partial(_count, most=MAX_MB),
        "MB of memory for the open journeys of one worker; from 90 % it begins no new journey, at 100 % it"
        " takes no step",
    )
    watchdog_s: float = _setting(
        60.0,
        _seconds,
        "a worker that makes no progress for this time, with work waiting, ends with exit code 1",
    )
    log_level: str = _setting("warning", partial(_one_of, LOG_LEVELS), "debug, info, warning or error")
    refuse_personal_data: bool = _setting(
        True, _truth, "whether to refuse a customer_ref that looks like an e-mail address or phone number"
    )
    kafka_security: str = _setting(
        PLAINTEXT,
        partial(_one_of, KAFKA_SECURITY),
        "plaintext, ssl, sasl_ssl or sasl_plaintext (a secret in the clear)",
    )
    kafka_ca: Path | None = _setting(
        None, _path, "PEM file of the CAs to trust for Kafka; the system's unless set"
    )
    kafka_cert: Path | None = _setting(None, _path, "PEM file of this client's certificate (mutual TLS)")
    kafka_key: Path | None = _setting(
        None, _path, "PEM file of that certificate's private key, not encrypted"
    )
    kafka_sasl_mechanism: str = _setting(
        "SCRAM-SHA-512", partial(_one_of, SASL_MECHANISMS), ", ".join(SASL_MECHANISMS)
    )
    kafka_user: str | None = _setting(None, _text, "SASL user")
    kafka_password: Secret | None = _setting(None, _secret, "SASL password; better in a file")
    kafka_password_file: Path | None = _setting(None, _path, "file that holds the SASL password")
    http_cert: Path | None = _setting(
        None, _path, "PEM file of the HTTP server's certificate; switches TLS on"
    )
    http_key: Path | None = _setting(None, _path, "PEM file of that certificate's private key, not encrypted")
    http_ca: Path | None = _setting(
        None,
        _path,
        "PEM file of the CAs to trust when asking a worker over TLS; host names are checked; unless set, the"
        " system's and TOUCHPOINT_HTTP_CERT itself, so that workers can share one certificate",
    )
    http_user: str | None = _setting(
        None, _http_user, "user who may ask over HTTP (basic auth, for browsers)"
    )
    http_password: Secret | None = _setting(None, _secret, "password of that user; better in a file")
    http_password_file: Path | None = _setting(None, _path, "file that holds the password of that user")
    http_token: Secret | None = _setting(None, token, "bearer token that may ask over HTTP; better in a file")
    http_token_file: Path | None = _setting(None, _path, "file that holds the bearer token")
    pages_token: Secret | None = _setting(
        None,
        token,
        "bearer token that Alertmanager or Grafana must send to `touchpoint pages`; better in a file",
    )
    pages_token_file: Path | None = _setting(
        None, _path, "file that holds that token; without one `touchpoint pages` listens on loopback only"
    )
    gateway_tokens_file: Path | None = _setting(
        None,
        _path,
        "file of publishers, `NAME TOKEN` on each line; without one `touchpoint gateway` stays on loopback",
    )
    gateway_events_per_s: int = _setting(
        1000, partial(_count, most=MAX_MB), "events a second that each publisher may post to the gateway"
    )


SECRETS = ("kafka_password", "http_password", "http_token", "pages_token")
"""Each is given directly or in the file that `<name>_file` names."""


def _shown(default: object) -> str:
    return "unset" if default is None else str(default)


def describe() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, for --help and `deploy/README.md`."""
    return [
        (
            PREFIX + setting.name.upper(),
            "shipped" if setting.name == "journey" else _shown(setting.default),
            setting.metadata["help"],
        )
        for setting in fields(Settings)
    ]


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; SettingsError names every unknown variable and unusable value."""
    known = {PREFIX + setting.name.upper(): setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    errors = []
    environment = {name: text for name, text in environment.items() if text}  # Compose's ${VAR:-} is unset
    for name, text in environment.items():
        if not name.upper().startswith(PREFIX) or name.startswith(IGNORED_PREFIXES):
            continue
        if name not in known:
            if _is_service_link(name, text):
                continue
            errors.append(f"{name}: unknown setting{_hint(name.upper(), known)}")
            continue
        try:
            values[known[name].name] = known[name].metadata["read"](text)
        except ValueError as error:
            errors.append(f"{name}: {error}")
    for secret in SECRETS:
        file = values.get(f"{secret}_file")
        if file is not None:
            try:
                values[secret] = known[_variable(secret)].metadata["read"](first_line(file))
            except ValueError as error:
                errors.append(f"{_variable(secret)}_FILE: {error}")
    errors += _combination_errors({known[name].name for name in environment if name in known}, values)
    if errors:
        raise SettingsError("\n".join(sorted(errors)))
    return Settings(**values)


def _hint(name: str, known: Iterable[str]) -> str:
    """What was probably meant."""
    if part := PART_OF_ADDRESS.fullmatch(name):
        return f"; give {PREFIX}{part[1] or 'HTTP'}=HOST:PORT"
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes has set it for a Service called `touchpoint` or `touchpoint-…`."""
    found = SERVICE_LINK.fullmatch(name)
    return found is not None and (found["tail"] != "PORT" or "://" in text)


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _combination_errors(given: set[str], values: Mapping[str, Any]) -> list[str]:
    """What was given without what it needs: half a protection would be taken for a whole one."""
    wrong = [
        f"{_variable(one)}: give it or {_variable(one)}_FILE, not both"
        for one in SECRETS
        if {one, f"{one}_file"} <= given
    ]

    def needs(one: str, *others: str) -> None:
        if one in given and not given & set(others):
            wrong.append(f"{_variable(one)}: needs {' or '.join(map(_variable, others))}")

    for side in ("kafka", "http"):
        needs(f"{side}_cert", f"{side}_key")
        needs(f"{side}_key", f"{side}_cert")
    needs("http_user", "http_password", "http_password_file")
    needs("http_password", "http_user")
    needs("http_password_file", "http_user")
    if "kafka_security" in given and "kafka_security" not in values:
        return wrong  # which of the others fit it is not known
    security = values.get("kafka_security", PLAINTEXT)
    for protocols, names in (
        ((SSL, SASL_SSL), ("kafka_ca", "kafka_cert", "kafka_key")),
        (
            (SASL_SSL, SASL_PLAINTEXT),
            ("kafka_sasl_mechanism", "kafka_user", "kafka_password", "kafka_password_file"),
        ),
    ):
        if security not in protocols:
            fit = f"{_variable('kafka_security')} of {' or '.join(protocols)}"
            wrong += [f"{_variable(name)}: needs {fit}" for name in names if name in given]
    if security in (SASL_SSL, SASL_PLAINTEXT):
        needs("kafka_security", "kafka_user")
        needs("kafka_security", "kafka_password", "kafka_password_file")
    return wrong
