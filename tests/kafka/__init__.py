"""One contract for every broker."""
