"""A journey file from history: names, order, rhythm, limits and targets as they were seen."""
