"""Kafka's client: topics, security, publishing, reading back, errors in words."""

from streams.kafka.records import guard

guard()  # before anything here makes a consumer
