"""Coverage-guided fuzzing of the codec: `record` is what is put in, `holds` what must be true of it."""
