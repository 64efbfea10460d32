"""Tests of whole programs: demo, worker, command line, deployment, real data."""
