"""Tests of `streams/commands`."""
