"""Tests of `streams/journeys`."""
