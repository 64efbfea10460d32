"""The command line: each command, its options, and what it prints."""
