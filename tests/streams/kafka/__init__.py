"""Tests of `streams/kafka`."""
