"""Faust, made exact and fast: batches in, acknowledgements in order, recovery, health."""
