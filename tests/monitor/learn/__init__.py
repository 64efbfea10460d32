"""Tests of `monitor/learn`."""
