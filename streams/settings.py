"""The one reader of the environment: `TOUCHPOINT_*` variables to `Settings`, every error at once."""

import difflib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from monitor.errors import UserError

SHIPPED_JOURNEY = Path(__file__).parent.parent / "monitor" / "journey.yaml"

PREFIX = "TOUCHPOINT_"

IGNORED_PREFIXES = ("TOUCHPOINT_TEST_",)
"""Variables of the test suite, which are none of the product's settings."""


ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")

GROUP = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""It becomes part of topic names, of which Kafka allows 249 characters."""

LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(UserError):
    """Settings that cannot be used; one line each."""


def _address(text: str) -> str:
    match = ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise ValueError("must be HOST:PORT")
    return text


def _addresses(text: str) -> str:
    return ",".join(_address(part.strip()) for part in text.split(","))


def _seconds(text: str) -> float:
    value = float(text) if text.replace(".", "", 1).isdigit() else 0.0
    if not 0 < value < 86_400:
        raise ValueError("must be a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise ValueError("must be a whole number above 0")
    return int(text)


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


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _setting(default: Any, read: Callable[[str], Any], help_: str) -> Any:
    return field(default=default, metadata={"read": read, "help": help_})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. A field `http` is read from `TOUCHPOINT_HTTP`."""

    kafka: str = _setting("127.0.0.1:9092", _addresses, "Kafka bootstrap servers, HOST:PORT, comma-separated")
    journey: Path = _setting(SHIPPED_JOURNEY, _path, "journey file; the shipped chair journey unless set")
    http: str = _setting("127.0.0.1:8080", _address, "where the worker answers HTTP; 0.0.0.0:8080 opens it")
    group: str = _setting("touchpoint-monitor", _group, "consumer group; also the prefix of changelog topics")
    state_dir: Path = _setting(
        Path(tempfile.gettempdir()) / "touchpoint", _path, "directory of the worker's local files"
    )
    create_topics: bool = _setting(True, _truth, "whether missing topics are created")
    topic_partitions: int = _setting(4, _count, "partitions of a created topic whose stage names no count")
    replication_factor: int = _setting(1, _count, "copies of a created topic; 3 in production")
    session_timeout_s: float = _setting(30.0, _seconds, "Kafka takes a silent worker for dead after this")
    kafka_timeout_s: float = _setting(20.0, _seconds, "how long an unreachable broker is retried at start")
    log_level: str = _setting("warning", _log_level, "debug, info, warning or error")


def describe() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, for --help and the README."""
    return [
        (
            PREFIX + setting.name.upper(),
            "shipped" if setting.name == "journey" else str(setting.default),
            setting.metadata["help"],
        )
        for setting in fields(Settings)
    ]


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; SettingsError names every unknown variable and unusable value."""
    known = {PREFIX + setting.name.upper(): setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    errors = []
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name.startswith(IGNORED_PREFIXES):
            continue
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            errors.append(f"{name}: unknown setting{hint}")
            continue
        try:
            values[known[name].name] = known[name].metadata["read"](text)
        except ValueError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise SettingsError("\n".join(sorted(errors)))
    return Settings(**values)
