"""Publishes one event, as plain JSON, with confluent-kafka; exits 1 unless Kafka has acknowledged it."""

import json
import os
import sys
import uuid
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message, Producer

producer = Producer(
    {
        "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        "enable.idempotence": True,  # the client's retries write no second record; with it goes acks=all
        "delivery.timeout.ms": 30_000,  # afterwards the event is given up, and `delivered` says so
        "linger.ms": 20,
        "compression.type": "lz4",
    }
)

event = {
    "id": str(uuid.uuid4()),
    "time": datetime.now(UTC).isoformat(),
    "stage": "web_checkout",
    "outcome": "ok",
    "journey_id": "order-1001",
    "segment": "new",
    "duration_s": 34.2,
}
failures: list[KafkaError] = []


def delivered(error: KafkaError | None, message: Message) -> None:
    """Called for each event, once Kafka has it or it is given up."""
    if error is not None:
        failures.append(error)
    else:
        print(f"published {event['id']} to {message.topic()}, partition {message.partition()}")


producer.produce("touchpoint.web-checkout.v1", json.dumps(event), key=event["id"], on_delivery=delivered)
producer.flush()
if failures:
    sys.exit(f"not published: {failures[0]}")
