"""Tests of `streams/publish`."""
