"""Journeys of each partition: kept, counted once, written, and found again when they are over."""
