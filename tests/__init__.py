"""Tests: one file per module; `kafka/` holds brokers to a contract, `bench/` measures."""
