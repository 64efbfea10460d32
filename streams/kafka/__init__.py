"""Kafka's client: topics, security, publishing, reading back, errors in words."""
