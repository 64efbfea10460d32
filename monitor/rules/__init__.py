"""How bad is too bad: the limits and alerts of a journey file, compiled once."""
