"""Tests of `monitor/backtest`."""
