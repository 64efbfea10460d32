"""Tests of `monitor/journeys`."""
