"""The journey file: YAML in, an immutable model out, every error at once."""
