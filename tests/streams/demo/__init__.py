"""Tests of `streams/demo`."""
