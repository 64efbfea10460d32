"""Benchmarks: reports, not tests. Timings on shared machines are compared within one run, as ratios."""
