"""What Kafka's client raises, in words."""

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from streams.kafka.errors import in_words
from streams.settings import Settings


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            NodeNotReadyError("Attempt to send a request to node which is not ready (node id None)."),
            "does not answer",
        ),
        (RequestTimedOutError(), "does not answer"),
        (KafkaTimeoutError(), "does not answer"),
        (LeaderNotAvailableError(), "is not ready (LeaderNotAvailableError); it may be when asked again"),
    ],
)
def test_what_passes_says_which_kafka(error: KafkaError, words: str) -> None:
    """A slow Kafka is not told by the name of a class alone."""
    assert in_words(error, Settings(kafka="kafka:9092")) == f"Kafka at kafka:9092 {words}"


def test_what_does_not_pass_is_told_as_kafka_says_it() -> None:
    """Asking again changes nothing."""
    assert in_words(ClusterAuthorizationFailedError(), Settings()).startswith("[Error 31]")
