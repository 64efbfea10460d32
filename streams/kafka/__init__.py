"""Kafka's client: topics, security, publishing, reading back, errors in words."""

from streams.kafka import bootstrap, records

bootstrap.guard()  # before anything here makes a client
records.guard()
