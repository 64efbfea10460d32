"""The files that other programs read, written from the rules."""
