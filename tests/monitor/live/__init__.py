"""Tests of `monitor/live`."""
