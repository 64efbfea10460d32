"""Tests of `monitor/report`."""
