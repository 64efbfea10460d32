"""Tests of `monitor/rules`."""
