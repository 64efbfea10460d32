"""History in, alerts out, without Kafka and in event time."""
