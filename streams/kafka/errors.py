"""What Kafka's client raises, in words for whoever runs a worker: one line that says what to change."""

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoBrokersAvailable,
    NodeNotReadyError,
    RequestTimedOutError,
)

from streams.kafka.groups import NameTakenError, NewProtocolError
from streams.settings import Settings


def in_words(error: BaseException | None, settings: Settings) -> str:
    """One line about an error; of errors that are not Kafka's, their name and what they say."""
    match error:
        case (
            KafkaConnectionError()
            | KafkaTimeoutError()
            | NoBrokersAvailable()
            | NodeNotReadyError()
            | RequestTimedOutError()
        ):
            return f"Kafka at {settings.kafka} does not answer"
        case InvalidSessionTimeoutError():
            return (
                f"Kafka refuses TOUCHPOINT_SESSION_TIMEOUT_S of {settings.session_timeout_s:g}; its brokers'"
                " group.min.session.timeout.ms and group.max.session.timeout.ms allow 6 to 1800 s unless they"
                " say otherwise"
            )
        case GroupAuthorizationFailedError():
            return (
                f"Kafka does not allow the group {settings.group}: its user needs READ on the group that"
                " TOUCHPOINT_GROUP names"
            )
        case InconsistentGroupProtocolError():
            return f"the group {settings.group} belongs to another program; TOUCHPOINT_GROUP names the group"
        case NewProtocolError():
            return (
                f"the group {settings.group} has members of Kafka's new consumer protocol, which no worker"
                " can join; TOUCHPOINT_GROUP names the group"
            )
        case NameTakenError():
            return (
                f"another worker of the group {settings.group} has the same TOUCHPOINT_INSTANCE_ID,"
                f" {settings.instance_id}; each needs one of its own"
            )
        case KafkaError(retriable=True):
            return (
                f"Kafka at {settings.kafka} is not ready ({type(error).__name__}); it may be when asked again"
            )
        case KafkaError():
            said = str(error)  # which begins with its name
        case None:
            said = "no error"
        case _:
            said = f"{type(error).__name__}: {error}"
    return said.partition("\n")[0]
