"""Tests of `streams/web`."""
