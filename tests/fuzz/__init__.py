"""Coverage-guided fuzzing. `record` is what is put in, `holds` what must be true of it, `fold` what a worker
does with many of them."""
