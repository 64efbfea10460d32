"""Tests of `streams/letters`."""
