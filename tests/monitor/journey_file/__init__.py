"""Tests of `monitor/journey_file`."""
