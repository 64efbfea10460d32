"""Tests of `monitor/boards`."""
