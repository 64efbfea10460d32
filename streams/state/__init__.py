"""The state of each partition, and the order in which it is written."""
