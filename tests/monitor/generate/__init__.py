"""Tests of `monitor/generate`."""
