"""Tests of `streams/engine`."""
