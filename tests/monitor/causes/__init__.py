"""Tests of `monitor/causes`."""
