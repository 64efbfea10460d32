"""Tests of `monitor/counting`."""
