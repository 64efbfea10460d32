"""The environment becomes `Settings` exactly, or every error in it is named at once."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.journey_file.grammar import parse
from streams.settings import SHIPPED_JOURNEY, Secret, Settings, SettingsError, describe, read

EXAMPLES: dict[str, tuple[str, Any]] = {
    "kafka": ("a:9092, b:9093,[::1]:9094", "a:9092,b:9093,[::1]:9094"),
    "journey": ("/etc/journey.yaml", Path("/etc/journey.yaml")),
    "http": ("0.0.0.0:0", "0.0.0.0:0"),
    "advertised_url": ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
    "http_ca": ("/etc/http-ca.pem", Path("/etc/http-ca.pem")),
    "instance_id": ("shop-2", "shop-2"),
    "group": ("monitor-2", "monitor-2"),
    "state_dir": ("/var/lib/touchpoint", Path("/var/lib/touchpoint")),
    "create_topics": ("False", False),
    "topic_partitions": ("12", 12),
    "replication_factor": ("3", 3),
    "session_timeout_s": ("4.5", 4.5),
    "kafka_timeout_s": ("60", 60.0),
    "journeys_mb": ("64", 64),
    "watchdog_s": ("90", 90.0),
    "log_level": ("DEBUG", "debug"),
    "refuse_personal_data": ("false", False),
    "kafka_security": ("SASL_SSL", "sasl_ssl"),
    "kafka_ca": ("/etc/ca.pem", Path("/etc/ca.pem")),
    "kafka_cert": ("/etc/client.pem", Path("/etc/client.pem")),
    "kafka_key": ("/etc/client.key", Path("/etc/client.key")),
    "kafka_sasl_mechanism": ("scram-sha-256", "SCRAM-SHA-256"),
    "kafka_user": ("monitor", "monitor"),
    "kafka_password": ("pass word", Secret("pass word")),
    "http_cert": ("/etc/http.pem", Path("/etc/http.pem")),
    "http_key": ("/etc/http.key", Path("/etc/http.key")),
    "http_user": ("ops", "ops"),
    "http_password": ("ä:b c", Secret("ä:b c")),
    "http_token": ("t0k/en==", Secret("t0k/en==")),
    "pages_token": ("p4ges", Secret("p4ges")),
    "gateway_tokens_file": ("/run/publishers", Path("/run/publishers")),
    "gateway_events_per_s": ("50", 50),
}
FILES = ["kafka_password_file", "http_password_file", "http_token_file", "pages_token_file"]
"""Files of secrets; they are read with the settings, so they have tests of their own."""

NEEDS = {
    "kafka_security": ["kafka_user", "kafka_password"],
    "kafka_ca": ["kafka_security", "kafka_user", "kafka_password"],
    "kafka_sasl_mechanism": ["kafka_security", "kafka_user", "kafka_password"],
    "kafka_user": ["kafka_security", "kafka_password"],
    "kafka_password": ["kafka_security", "kafka_user"],
    "kafka_cert": ["kafka_security", "kafka_user", "kafka_password", "kafka_key"],
    "kafka_key": ["kafka_security", "kafka_user", "kafka_password", "kafka_cert"],
    "http_cert": ["http_key"],
    "http_key": ["http_cert"],
    "http_user": ["http_password"],
    "http_password": ["http_user"],
}
"""Settings that are an error alone, and what they come with."""

NAMES = [field.name for field in dataclasses.fields(Settings)]


def lines_of(environment: dict[str, str]) -> list[str]:
    """The errors of an environment, a line each."""
    with pytest.raises(SettingsError) as caught:
        read(environment)
    return str(caught.value).splitlines()


def variable(name: str) -> str:
    """The variable a setting is read from."""
    return f"TOUCHPOINT_{name.upper()}"


@pytest.mark.parametrize("name", [*EXAMPLES, *(name for name in NAMES if name not in [*EXAMPLES, *FILES])])
def test_each_setting_is_read(name: str) -> None:
    """A variable sets its own setting, to a value other than the default, and nothing else."""
    text, value = EXAMPLES[name]
    others = [other for other in NEEDS.get(name, []) if other != name]
    environment = {variable(one): EXAMPLES[one][0] for one in others}
    changed = read(environment | {variable(name): text})
    assert getattr(changed, name) == value
    assert getattr(changed, name) != getattr(Settings(), name)
    defaults = {one: getattr(Settings(), one) for one in (name, *others)}
    assert dataclasses.replace(changed, **defaults) == Settings()


SERVICE_LINKS = {
    "TOUCHPOINT_PORT": "tcp://10.0.0.7:8080",
    "TOUCHPOINT_SERVICE_HOST": "10.0.0.7",
    "TOUCHPOINT_SERVICE_PORT": "8080",
    "TOUCHPOINT_SERVICE_PORT_HTTP": "8080",
    "TOUCHPOINT_PORT_8080_TCP": "tcp://10.0.0.7:8080",
    "TOUCHPOINT_PORT_8080_TCP_PROTO": "tcp",
    "TOUCHPOINT_PORT_8080_TCP_ADDR": "10.0.0.7",
    "TOUCHPOINT_KAFKA_SERVICE_HOST": "10.0.0.8",
    "TOUCHPOINT_KAFKA_PORT": "tcp://10.0.0.8:9092",
    "TOUCHPOINT_KAFKA_PORT_9092_TCP_PORT": "9092",
}
"""What Kubernetes sets in pods beside Services called `touchpoint` and `touchpoint-kafka`."""


def test_kubernetes_service_links_are_no_settings() -> None:
    """They change nothing; a port without a protocol is a misspelled setting all the same."""
    assert read(SERVICE_LINKS) == Settings()
    assert lines_of({"TOUCHPOINT_PORT": "8080"})[0].startswith("TOUCHPOINT_PORT: unknown setting")


def test_an_empty_variable_is_unset() -> None:
    """Compose's `${VAR:-}` gives one for what nobody has set, half of a pair among it."""
    assert read({variable(name): "" for name in NAMES}) == Settings()


def test_all_settings_together() -> None:
    """All variables at once set all settings."""
    settings = read({variable(name): text for name, (text, _) in EXAMPLES.items()})
    assert {name: getattr(settings, name) for name in EXAMPLES} == {
        name: value for name, (_, value) in EXAMPLES.items()
    }


def test_defaults() -> None:
    """Nothing set means this machine's Kafka, answers to this machine only, the shipped journey."""
    settings = read({})
    assert settings == Settings()
    assert (settings.kafka, settings.http) == ("127.0.0.1:9092", "127.0.0.1:8080")
    assert settings.group == "touchpoint-monitor"
    assert settings.journey == SHIPPED_JOURNEY
    assert parse(SHIPPED_JOURNEY.read_text()).name == "chair"


def test_defaults_are_readable() -> None:
    """A default, written into its variable, is read as itself."""
    written = {variable(name): str(getattr(Settings(), name)) for name in NAMES}
    written = {name: default for name, default in written.items() if default != "None"}
    del written["TOUCHPOINT_KAFKA_SASL_MECHANISM"]  # needs a user
    assert read(written) == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "TOUCHPOINT",
        "TOUCHPOINT_TEST_KAFKA",
        "TOUCHPOINT_TEST_",
        "touchpointhttp",
        "my_touchpoint_http",
    ],
)
def test_other_variables_are_ignored(name: str) -> None:
    """Other programs' variables and those of the test suite are none of ours."""
    assert read({name: "anything"}) == Settings()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("TOUCHPOINT_KAFKAA", "TOUCHPOINT_KAFKAA: unknown setting; did you mean TOUCHPOINT_KAFKA?"),
        ("TOUCHPOINT_HTPP", "TOUCHPOINT_HTPP: unknown setting; did you mean TOUCHPOINT_HTTP?"),
        ("TOUCHPOINT_GRUOP", "TOUCHPOINT_GRUOP: unknown setting; did you mean TOUCHPOINT_GROUP?"),
        (
            "TOUCHPOINT_STATEDIR",
            "TOUCHPOINT_STATEDIR: unknown setting; did you mean TOUCHPOINT_STATE_DIR?",
        ),
        (
            "TOUCHPOINT_TOPIC_PARTITION",
            "TOUCHPOINT_TOPIC_PARTITION: unknown setting; did you mean TOUCHPOINT_TOPIC_PARTITIONS?",
        ),
        ("TOUCHPOINT_PORT", "TOUCHPOINT_PORT: unknown setting; give TOUCHPOINT_HTTP=HOST:PORT"),
        ("TOUCHPOINT_HTTP_PORT", "TOUCHPOINT_HTTP_PORT: unknown setting; give TOUCHPOINT_HTTP=HOST:PORT"),
        ("TOUCHPOINT_HOST", "TOUCHPOINT_HOST: unknown setting; give TOUCHPOINT_HTTP=HOST:PORT"),
        ("TOUCHPOINT_KAFKA_PORT", "TOUCHPOINT_KAFKA_PORT: unknown setting; give TOUCHPOINT_KAFKA=HOST:PORT"),
        ("touchpoint_kafka", "touchpoint_kafka: unknown setting; did you mean TOUCHPOINT_KAFKA?"),
        ("Touchpoint_Htpp", "Touchpoint_Htpp: unknown setting; did you mean TOUCHPOINT_HTTP?"),
    ],
)
def test_a_typo_is_an_error_with_the_nearest_name(name: str, line: str) -> None:
    """A misspelt variable is not ignored, and the error says which one was probably meant."""
    assert lines_of({name: "1"}) == [line]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("http", "8080"),
        ("http", ":8080"),
        ("http", "localhost:"),
        ("http", "localhost:65536"),
        ("http", "a..b:1"),
        ("kafka", "127.0.0.1:9092,.:9092"),
        ("kafka", f"{'a' * 64}:9092"),
        ("http", "localhost:-1"),
        ("http", "localhost:http"),
        ("kafka", "a:9092,"),
        ("create_topics", "perhaps"),
        ("topic_partitions", "0"),
        ("topic_partitions", "-1"),
        ("topic_partitions", "1.5"),
        ("topic_partitions", "²"),
        ("replication_factor", "all"),
        ("session_timeout_s", "0"),
        ("session_timeout_s", "nan"),
        ("session_timeout_s", "inf"),
        ("session_timeout_s", "30s"),
        ("session_timeout_s", "0.9"),
        ("session_timeout_s", "90.1"),
        ("kafka_timeout_s", "86400"),
        ("kafka", "a:9092;b:9092"),
        ("group", "my group"),
        ("log_level", "loud"),
    ],
)
def test_an_unusable_value_is_an_error(name: str, text: str) -> None:
    """A value that cannot be meant is refused in one line that starts with its variable."""
    (line,) = lines_of({variable(name): text})
    assert line.startswith(variable(name))
    assert len(line) > len(f"{variable(name)}: ")


def test_every_error_at_once() -> None:
    """Three mistakes give three lines, sorted, whatever the order of the environment."""
    wrong = {"TOUCHPOINT_HTTP": "x", "TOUCHPOINT_CREATE_TOPICS": "maybe", "TOUCHPOINT_GRUOP": "g"}
    lines = [
        "TOUCHPOINT_CREATE_TOPICS: must be true or false",
        "TOUCHPOINT_GRUOP: unknown setting; did you mean TOUCHPOINT_GROUP?",
        "TOUCHPOINT_HTTP: must be HOST:PORT",
    ]
    assert lines_of({**wrong, "TOUCHPOINT_KAFKA": "a:1"}) == lines
    assert lines_of(dict(reversed(wrong.items()))) == lines


def test_every_setting_is_described() -> None:
    """The table for --help and `deploy/README.md` has a line with a meaning for every setting, in order."""
    assert [name for name, _, _ in describe()] == [variable(name) for name in NAMES]
    assert all(meaning and default for _, default, meaning in describe())
    assert ("TOUCHPOINT_JOURNEY", "shipped") in [(name, default) for name, default, _ in describe()]


@given(
    st.dictionaries(
        st.sampled_from([variable(name) for name in NAMES]) | st.text().map("TOUCHPOINT_".__add__),
        st.text(),
    )
)
def test_any_environment(environment: dict[str, str]) -> None:
    """Any environment gives settings or a `SettingsError`, never anything else."""
    try:
        read(environment)
    except SettingsError as error:
        named = str(error)
    else:
        return
    assert any(variable in named for variable in environment)
