"""What is published to Kafka beside counts: traffic, changes, findings."""
